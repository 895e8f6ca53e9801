//! The measures by name: what each is called, which way is better, and what its figures are.

use std::fmt;
use std::str::FromStr;

use rapidfuzz::distance::damerau_levenshtein;

use crate::failure::Failure;

/// A measure of one answer against its truth. The names are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    Exact,
    /// Contains any of the truths.
    Contains,
    ContainsAll,
    Regex,
    Numeric,
    RelaxedAccuracy,
    Anls,
    Cer,
    CerNormalized,
    Wer,
    WerNormalized,
    TokenF1,
    Similarity,
    JsonValid,
    SchemaValid,
    FieldAccuracy,
    FieldF1,
    BoxIou,
    BoxHit,
}

/// What the figures of a measure are, which decides the statistics that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figures {
    /// 0 or 1 for each item: Wilson's interval, the test of `McNemar`.
    Proportion,
    /// Anything from 0 to 1: the mean and its interval.
    Share,
    /// Errors for each true unit, from 0, and above 1 where much was invented.
    Rate,
}

/// Whether more or less of it is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

impl Metric {
    /// Every measure there is.
    pub const ALL: [Self; 19] = [
        Self::Exact,
        Self::Contains,
        Self::ContainsAll,
        Self::Regex,
        Self::Numeric,
        Self::RelaxedAccuracy,
        Self::Anls,
        Self::Cer,
        Self::CerNormalized,
        Self::Wer,
        Self::WerNormalized,
        Self::TokenF1,
        Self::Similarity,
        Self::JsonValid,
        Self::SchemaValid,
        Self::FieldAccuracy,
        Self::FieldF1,
        Self::BoxIou,
        Self::BoxHit,
    ];

    fn row(self) -> (&'static str, Figures) {
        match self {
            Self::Exact => ("exact", Figures::Proportion),
            Self::Contains => ("contains", Figures::Proportion),
            Self::ContainsAll => ("contains_all", Figures::Proportion),
            Self::Regex => ("regex", Figures::Proportion),
            Self::Numeric => ("numeric", Figures::Proportion),
            Self::RelaxedAccuracy => ("relaxed_accuracy", Figures::Proportion),
            Self::Anls => ("anls", Figures::Share),
            Self::Cer => ("cer", Figures::Rate),
            Self::CerNormalized => ("cer_normalized", Figures::Rate),
            Self::Wer => ("wer", Figures::Rate),
            Self::WerNormalized => ("wer_normalized", Figures::Rate),
            Self::TokenF1 => ("token_f1", Figures::Share),
            Self::Similarity => ("similarity", Figures::Share),
            Self::JsonValid => ("json_valid", Figures::Proportion),
            Self::SchemaValid => ("schema_valid", Figures::Proportion),
            Self::FieldAccuracy => ("field_accuracy", Figures::Share),
            Self::FieldF1 => ("field_f1", Figures::Share),
            Self::BoxIou => ("box_iou", Figures::Share),
            Self::BoxHit => ("box_hit", Figures::Proportion),
        }
    }

    /// The name that people write.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    #[must_use]
    pub fn figures(self) -> Figures {
        self.row().1
    }

    #[must_use]
    pub fn better(self) -> Better {
        match self.figures() {
            Figures::Rate => Better::Lower,
            Figures::Proportion | Figures::Share => Better::Higher,
        }
    }

    /// What a call counts for that brought no answer: as wrong as nothing is. A rate can be worse where too much is
    /// said.
    #[must_use]
    pub fn of_no_answer(self) -> f64 {
        match self.better() {
            Better::Higher => 0.0,
            Better::Lower => 1.0,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = Failure;

    /// Reads a name; `-` for `_` and British spelling are understood.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let plain = text.trim().to_ascii_lowercase().replace('-', "_").replace("normalised", "normalized");
        if let Some(metric) = Self::ALL.into_iter().find(|metric| metric.name() == plain) {
            return Ok(metric);
        }
        let slips = |metric: &Self| match plain.len() {
            0..=40 => damerau_levenshtein::distance(metric.name().chars(), plain.chars()),
            _ => usize::MAX,
        };
        let nearest = Self::ALL.into_iter().min_by_key(slips).filter(|metric| slips(metric) <= 3);
        let advice = match nearest {
            Some(metric) => format!("did you mean `{metric}`?"),
            None => format!("metrics are {}", Self::ALL.map(Self::name).join(", ")),
        };
        let named: String = text.chars().take(40).collect();
        Err(Failure::invalid(format!("there is no metric called `{named}`")).advise(advice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_found_by_its_name() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse::<Metric>().expect("a metric"), metric);
        }
        assert_eq!("CER-normalised".parse::<Metric>().expect("a metric"), Metric::CerNormalized);
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        let advice = |name: &str| name.parse::<Metric>().expect_err("no metric").advice.expect("advice");
        assert_eq!(advice("anlss"), "did you mean `anls`?");
        assert_eq!(advice("boxiou"), "did you mean `box_iou`?");
        assert!(advice("quality of the answer").starts_with("metrics are exact, contains"));
        assert!(advice(&"x".repeat(1_000_000)).starts_with("metrics are"));
    }
}
