//! Conditions that a run must meet, for pipelines: a figure that every model reaches, a loss that none exceeds.

use std::str::FromStr;

use super::measured::Measure;
use super::summary::{ModelSummary, Summary, is_lower_better};
use crate::failure::Failure;

/// Means of decimal figures miss what they would be on paper by less than this: no run fails for that.
const NOISE: f64 = 1e-9;

/// A measure and a figure: `anls=0.8`. `score` is whatever decides about each item.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    measure: String,
    figure: f64,
}

impl FromStr for Condition {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let wrong = || Failure::invalid(format!("`{text}` is no condition")).advise("write it as score=0.8 or cer=0.1");
        let (measure, figure) = text.split_once('=').ok_or_else(wrong)?;
        let figure: f64 = figure.trim().parse().map_err(|_| wrong())?;
        let measure = match measure.trim() {
            word @ ("score" | "judged") => word.to_owned(),
            name => name.parse::<crate::score::Metric>()?.name().to_owned(),
        };
        if figure.is_finite() { Ok(Self { measure, figure }) } else { Err(wrong()) }
    }
}

impl Condition {
    /// The name of the measure, or `score`.
    #[must_use]
    pub fn measure(&self) -> &str {
        &self.measure
    }
}

/// What a run falls short of, in words; nothing when it meets every condition.
#[must_use]
pub fn unmet(summary: &Summary, least: &[Condition], most_loss: &[Condition]) -> Vec<String> {
    let mut unmet = Vec::new();
    for condition in least {
        let Condition { measure, figure } = condition;
        for model in &summary.models {
            if let Some(why) = open(model, measure) {
                unmet.push(why);
                continue;
            }
            let Some(found) = model.figure(measure) else {
                unmet.push(format!("{}: nothing was measured by {measure}", model.name));
                continue;
            };
            let (is_short, bound) = if found.is_lower_better {
                (found.mean > *figure + NOISE, "more")
            } else {
                (found.mean < *figure - NOISE, "less")
            };
            if is_short {
                unmet.push(format!("{}: {measure} is {:.4}, {bound} than {figure}", model.name, found.mean));
            }
        }
    }
    unmet.extend(most_loss.iter().flat_map(|condition| losses(summary, condition)));
    unmet
}

/// Why nothing can be said of a model by a measure yet: verdicts that are missing may be either way.
fn open(model: &ModelSummary, measure: &str) -> Option<String> {
    let missing = model.calls.unjudged;
    // Only where a judge decides can its verdicts be missing, and then it decides about the score.
    let is_open = missing > 0 && matches!(measure, "score" | "judged");
    is_open
        .then(|| format!("{}: {measure} is not known while verdicts are missing (of answers: {missing})", model.name))
}

/// Where models are worse by more than a condition allows: than themselves in the earlier run, where there is one, else than
/// the baseline. Both are compared on the same questions.
fn losses(summary: &Summary, Condition { measure, figure }: &Condition) -> Vec<String> {
    let has_earlier = summary.earlier.iter().any(Option::is_some);
    let baseline = summary.models.get(summary.baseline).map_or("", |model| model.name.as_str());
    let (than, with) = if has_earlier {
        ("in the earlier run".to_owned(), "the earlier run".to_owned())
    } else {
        (format!("the baseline {baseline}"), format!("the baseline {baseline}"))
    };
    let too_great = |(place, model): (usize, &ModelSummary)| {
        let compared = summary.models.get(summary.baseline).filter(|_| !has_earlier);
        if let Some(why) = [Some(model), compared].into_iter().flatten().find_map(|model| open(model, measure)) {
            return Some(why);
        }
        let loss = match summary.earlier.get(place).and_then(Option::as_ref) {
            Some(earlier) => earlier.loss(measure),
            None => to_baseline(model, measure),
        };
        match loss {
            Some((loss, questions)) => (loss > *figure + NOISE).then(|| {
                format!(
                    "{}: {measure} is worse by {loss:.4} than {than}, by more than {figure} (questions compared: {questions})",
                    model.name
                )
            }),
            None => Some(format!("{}: no question can be compared by {measure} with {with}", model.name)),
        }
    };
    let compared = summary.models.iter().enumerate().filter(|(place, _)| has_earlier || *place != summary.baseline);
    compared.filter_map(too_great).collect()
}

/// By how much a model is worse than the baseline, and on how many questions.
fn to_baseline(model: &ModelSummary, name: &str) -> Option<(f64, usize)> {
    if name == "score" {
        return model.versus.map(|difference| (-difference.mean, difference.items));
    }
    let (measure, gap): (&Measure, _) = model.gaps.iter().find(|(measure, _)| measure.name() == name)?;
    Some((if is_lower_better(*measure) { gap.mean } else { -gap.mean }, gap.items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let condition = "CER-normalised = 0.1".parse::<Condition>().expect("a condition");
        assert_eq!(condition, Condition { measure: "cer_normalized".into(), figure: 0.1 });
        for wrong in ["anls", "anls=much", "anlss=1", "score=NaN"] {
            assert!(wrong.parse::<Condition>().is_err(), "{wrong}");
        }
    }
}
