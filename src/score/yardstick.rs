//! A measure made ready for one item: what of its truth the measure needs, checked before anybody is asked.

use serde_json::Value;

use super::boxes::{self, Rectangle};
use super::date::DateOrder;
use super::fields::{self, Fields};
use super::json::{self, Schema};
use super::metric::Metric;
use super::number::{self, Number, Tolerance};
use super::pattern::Pattern;
use super::{reading, text};
use crate::failure::{Failure, Result};

/// What is right for one item.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Truth {
    /// Any of these is right; patterns, for `regex`.
    pub texts: Vec<String>,
    /// Expected data, or boxes.
    pub data: Option<Value>,
    /// What `schema_valid` holds answers to.
    pub schema: Option<Value>,
}

/// What a data set can set about measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Below this similarity, ANLS is 0. From 0 to 1.
    pub anls_threshold: f64,
    /// Of `numeric`.
    pub numeric: Tolerance,
    /// Of `relaxed_accuracy`.
    pub relaxed: Tolerance,
    pub dates: DateOrder,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            anls_threshold: 0.5,
            numeric: Tolerance::EXACT,
            relaxed: Tolerance::RELAXED,
            dates: DateOrder::default(),
        }
    }
}

/// A measure with one item's truth.
#[derive(Debug, Clone)]
pub struct Yardstick {
    metric: Metric,
    settings: Settings,
    right: Right,
}

/// What of a truth a measure needs.
#[derive(Debug, Clone)]
enum Right {
    Texts(Vec<String>),
    Patterns(Vec<Pattern>),
    Numbers(Vec<Number>),
    Data(Value),
    Boxes(Vec<Rectangle>),
    Schema(Schema),
    Anything,
}

impl Yardstick {
    /// Makes a measure ready.
    ///
    /// # Errors
    /// `INVALID_INPUT` where the truth lacks what the measure needs, or has what it cannot use.
    pub fn new(metric: Metric, truth: &Truth, settings: Settings) -> Result<Self> {
        let right = match metric {
            Metric::JsonValid => Right::Anything,
            Metric::SchemaValid => Right::Schema(Schema::new(needed(metric, truth.schema.as_ref(), "a schema")?)?),
            Metric::FieldAccuracy | Metric::FieldF1 => Right::Data(data(metric, truth)?),
            Metric::BoxIou | Metric::BoxHit => {
                let read = boxes::read(&data(metric, truth)?);
                Right::Boxes(needed(metric, read, "boxes of four numbers, [x0, y0, x1, y1],")?)
            }
            Metric::Regex => {
                Right::Patterns(texts(metric, truth)?.iter().map(|it| Pattern::new(it)).collect::<Result<_>>()?)
            }
            Metric::Numeric => {
                let read = texts(metric, truth)?.iter().map(|text| number::read(text)).collect();
                Right::Numbers(needed(metric, read, "numbers")?)
            }
            _ => Right::Texts(texts(metric, truth)?.to_vec()),
        };
        Ok(Self { metric, settings, right })
    }

    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// What an answer is worth: by its best truth, where there are several.
    #[must_use]
    pub fn measure(&self, answer: &str) -> f64 {
        match &self.right {
            Right::Anything => flag(json::is_valid(answer)),
            Right::Schema(schema) => flag(schema.accepts(answer)),
            Right::Patterns(patterns) => flag(patterns.iter().any(|pattern| pattern.matches(answer))),
            Right::Numbers(numbers) => flag(
                number::read_within(answer)
                    .is_some_and(|answer| numbers.iter().any(|truth| answer.is_near(*truth, self.settings.numeric))),
            ),
            Right::Data(truth) => json::read(answer).map_or(0.0, |answer| self.data(&self.fields(truth, &answer))),
            Right::Boxes(truth) => json::read(answer).and_then(|answer| boxes::read(&answer)).map_or(0.0, |answer| {
                let overlap = boxes::compare(truth, &answer);
                if self.metric == Metric::BoxHit { flag(overlap.is_hit) } else { overlap.mean }
            }),
            Right::Texts(texts) => self.texts(texts, answer),
        }
    }

    /// Which fields of an answer differ; nothing for other measures, and for an answer that is no data.
    #[must_use]
    pub fn differing(&self, answer: &str) -> Option<Fields> {
        match &self.right {
            Right::Data(truth) => json::read(answer).map(|answer| self.fields(truth, &answer)),
            _ => None,
        }
    }

    fn fields(&self, truth: &Value, answer: &Value) -> Fields {
        fields::compare(truth, answer, self.settings.dates)
    }

    fn data(&self, fields: &Fields) -> f64 {
        if self.metric == Metric::FieldF1 { fields.f1() } else { fields.accuracy() }
    }

    fn texts(&self, truths: &[String], answer: &str) -> f64 {
        let any = |is_right: &dyn Fn(&str) -> bool| flag(truths.iter().any(|truth| is_right(truth)));
        let best = |worth: &dyn Fn(&str) -> f64| truths.iter().map(|truth| worth(truth)).fold(0.0, f64::max);
        let least = |errors: &dyn Fn(&str) -> f64| truths.iter().map(|truth| errors(truth)).fold(f64::MAX, f64::min);
        match self.metric {
            Metric::Contains => any(&|truth| reading::contains(truth, answer)),
            Metric::ContainsAll => flag(truths.iter().all(|truth| reading::contains(truth, answer))),
            Metric::RelaxedAccuracy => any(&|truth| self.is_nearly(truth, answer)),
            Metric::Anls => best(&|truth| reading::anls(truth, answer, self.settings.anls_threshold)),
            Metric::Cer => least(&|truth| reading::cer(truth, answer)),
            Metric::CerNormalized => least(&|truth| reading::cer_normalised(truth, answer)),
            Metric::Wer => least(&|truth| reading::wer(truth, answer)),
            Metric::WerNormalized => least(&|truth| reading::wer_normalised(truth, answer)),
            Metric::TokenF1 => best(&|truth| reading::token_f1(truth, answer)),
            Metric::Similarity => best(&|truth| text::similarity(truth, answer)),
            _ => any(&|truth| reading::is_exact(truth, answer)),
        }
    }

    /// Relaxed accuracy: numbers within a share of the truth, everything else exactly. It suits what is read off a
    /// scale; years are nearly all within 5 % of each other, and want `exact`.
    fn is_nearly(&self, truth: &str, answer: &str) -> bool {
        match (number::read(truth), number::read(answer)) {
            (Some(truth), Some(answer)) => answer.is_near(truth, self.settings.relaxed),
            _ => reading::is_exact(truth, answer),
        }
    }
}

fn flag(is_right: bool) -> f64 {
    f64::from(u8::from(is_right))
}

fn texts(metric: Metric, truth: &Truth) -> Result<&[String]> {
    needed(metric, (!truth.texts.is_empty()).then_some(truth.texts.as_slice()), "an expected text")
}

/// Expected data, which may be written as a text.
fn data(metric: Metric, truth: &Truth) -> Result<Value> {
    let written = || truth.texts.first().and_then(|text| serde_json::from_str(text).ok());
    needed(metric, truth.data.clone().or_else(written), "expected data in JSON")
}

fn needed<T>(metric: Metric, found: Option<T>, what: &str) -> Result<T> {
    found.ok_or_else(|| {
        Failure::invalid(format!("the metric {metric} needs {what} as the truth of every item"))
            .advise("add it to the item, or choose another metric")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn measured(metric: Metric, truth: &Truth, answer: &str) -> f64 {
        Yardstick::new(metric, truth, Settings::default()).expect("a yardstick").measure(answer)
    }

    fn texts(texts: &[&str]) -> Truth {
        Truth { texts: texts.iter().map(|&text| text.into()).collect(), ..Truth::default() }
    }

    #[test]
    fn every_metric_measures() {
        let data = |data: Value| Truth { data: Some(data), ..Truth::default() };
        let schema = Truth { schema: Some(json!({"type": "object"})), ..Truth::default() };
        for (metric, truth, answer, expected) in [
            (Metric::Exact, texts(&["x", "Paris"]), "paris.", 1.0),
            (Metric::Contains, texts(&["x", "25.41"]), "Total 25.41", 1.0),
            (Metric::ContainsAll, texts(&["total", "25.41"]), "Total 25.41", 1.0),
            (Metric::ContainsAll, texts(&["x", "25.41"]), "Total 25.41", 0.0),
            (Metric::Regex, texts(&["^x", r"\d+\.\d\d"]), "Total 25.41", 1.0),
            (Metric::Numeric, texts(&["25.41"]), "It is 25,41 or 26 EUR", 0.0),
            (Metric::Numeric, texts(&["25.41"]), "It is 25,41 EUR.", 1.0),
            (Metric::RelaxedAccuracy, texts(&["100"]), "104", 1.0),
            (Metric::RelaxedAccuracy, texts(&["Norway"]), "norway", 1.0),
            (Metric::Anls, texts(&["zzz", "hello"]), "hellp", 0.8),
            (Metric::Cer, texts(&["zzzz", "abcd"]), "abcx", 0.25),
            (Metric::CerNormalized, texts(&["ABCD"]), "abcx", 0.25),
            (Metric::Wer, texts(&["a b"]), "a c", 0.5),
            (Metric::WerNormalized, texts(&["A b"]), "a c", 0.5),
            (Metric::TokenF1, texts(&["x y"]), "the y z", 0.5),
            (Metric::Similarity, texts(&["abcd"]), "abce", 0.75),
            (Metric::JsonValid, Truth::default(), "{}", 1.0),
            (Metric::SchemaValid, schema, "[]", 0.0),
            (Metric::FieldAccuracy, data(json!({"a": 1, "b": 2})), "```\n{\"a\": 1}\n```", 0.5),
            (Metric::FieldF1, data(json!({"a": 1, "b": 2})), "{\"a\": 1}", 2.0 / 3.0),
            (Metric::FieldAccuracy, data(json!({})), "no data", 0.0),
            (Metric::BoxIou, data(json!([0, 0, 2, 2])), "[0, 0, 2, 1]", 0.5),
            (Metric::BoxHit, data(json!([0, 0, 2, 2])), "[0, 0, 2, 1]", 1.0),
        ] {
            let found = measured(metric, &truth, answer);
            assert!((found - expected).abs() < 1e-9, "{metric} of {answer}: {found}");
        }
    }

    #[test]
    fn a_truth_that_lacks_what_is_needed_is_refused_before_anybody_is_asked() {
        let nothing = Truth::default();
        for metric in Metric::ALL.into_iter().filter(|metric| *metric != Metric::JsonValid) {
            let refused = Yardstick::new(metric, &nothing, Settings::default()).expect_err("nothing to measure by");
            assert!(refused.message.contains(metric.name()), "{refused}");
        }
        for (metric, truth) in [(Metric::Numeric, "many"), (Metric::Regex, "("), (Metric::BoxIou, "[1, 2]")] {
            assert!(Yardstick::new(metric, &texts(&[truth]), Settings::default()).is_err(), "{metric}");
        }
    }
}
