//! Conditions that a run must meet, for pipelines: a figure that every model reaches, a loss that none exceeds.

use std::str::FromStr;

use super::summary::Summary;
use crate::failure::Failure;

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

/// What a run falls short of, in words; nothing when it meets every condition.
#[must_use]
pub fn unmet(summary: &Summary, least: &[Condition], most_loss: &[Condition]) -> Vec<String> {
    let mut unmet = Vec::new();
    for condition in least {
        let Condition { measure, figure } = condition;
        for model in &summary.models {
            let Some(found) = model.figure(measure) else {
                unmet.push(format!("{}: nothing was measured by {measure}", model.name));
                continue;
            };
            let (is_short, bound) =
                if found.is_lower_better { (found.mean > *figure, "more") } else { (found.mean < *figure, "less") };
            if is_short {
                unmet.push(format!("{}: {measure} is {:.4}, {bound} than {figure}", model.name, found.mean));
            }
        }
    }
    for condition in most_loss {
        let Condition { measure, figure } = condition;
        for (model, loss) in summary.losses(measure) {
            match loss {
                Some(loss) if loss > *figure => {
                    unmet.push(format!("{model}: {measure} is worse by {loss:.4} than before, by more than {figure}"));
                }
                Some(_) => {}
                None => unmet.push(format!("{model}: nothing to compare its {measure} with")),
            }
        }
    }
    unmet
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
