//! Which parameters of generation a model takes: what it does not take is left out and said, never sent and never
//! dropped in silence.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::request::{Effort, Sampling};

/// Whether temperature and `top_p` are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SamplingRule {
    Always,
    /// Only while the model does not think.
    WithoutReasoning,
    Never,
}

/// The parameters that a model takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    pub sampling: SamplingRule,
    /// Vendors refuse a higher one.
    pub max_temperature: f64,
    pub seed: bool,
    /// The most stop sequences.
    pub stop: usize,
    /// The vendor's own words for how hard to think, the least first. Empty when it cannot be chosen.
    pub reasoning: Vec<String>,
}

impl Parameters {
    /// The vendor's word for this much effort; `None` when nothing is to be sent.
    #[must_use]
    pub fn reasoning(&self, effort: Effort) -> Option<&str> {
        let last = self.reasoning.len().checked_sub(1)?;
        let index = match effort {
            Effort::Least => 0,
            Effort::Low => self.named("low").unwrap_or(last / 3),
            Effort::Medium => self.named("medium").unwrap_or(last * 2 / 3),
            Effort::High => self.named("high").unwrap_or(last),
        };
        self.reasoning.get(index).map(String::as_str)
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.reasoning.iter().position(|word| word.eq_ignore_ascii_case(name))
    }

    /// Tokens that thinking this hard may take, which count against the limit on the answer's length everywhere: so much
    /// more is allowed, that an answer is not cut for thoughts that nobody sees.
    #[must_use]
    pub fn headroom(&self, effort: Effort) -> u32 {
        const NOT_AT_ALL: [&str; 6] = ["none", "off", "disabled", "false", "minimal", "0"];
        let Some(word) = self.reasoning(effort).map(str::to_lowercase) else { return 0 };
        match word.as_str() {
            word if NOT_AT_ALL.contains(&word) => 0,
            "low" => 4096,
            "medium" => 8192,
            word => word.parse().unwrap_or(16_384),
        }
    }

    /// What of the wanted parameters can be sent, and a sentence for each that cannot.
    #[must_use]
    pub fn fit(&self, wanted: &Sampling) -> (Sampling, Vec<String>) {
        let mut sent = wanted.clone();
        let mut notes = Vec::new();
        let thinks = self.reasoning(wanted.effort) != self.reasoning(Effort::Least);
        let samples = match self.sampling {
            SamplingRule::Always => true,
            SamplingRule::WithoutReasoning => !thinks,
            SamplingRule::Never => false,
        };
        let mut left_out = Vec::new();
        if !samples {
            left_out.extend(sent.temperature.take().map(|_| "temperature"));
            left_out.extend(sent.top_p.take().map(|_| "top_p"));
        }
        // Some vendors refuse what is negative or longer than 31 bits.
        if !self.seed || sent.seed.is_some_and(|seed| !(0..=i64::from(i32::MAX)).contains(&seed)) {
            left_out.extend(sent.seed.take().map(|_| "seed"));
        }
        if sent.stop.len() > self.stop {
            sent.stop.truncate(self.stop);
            left_out.push(if self.stop == 0 { "stop" } else { "some of stop" });
        }
        let least = self.reasoning.first().is_some_and(|word| word.eq_ignore_ascii_case(wanted.effort.name()));
        if wanted.effort != Effort::Least && !thinks && !least {
            left_out.push("effort");
        }
        if !left_out.is_empty() {
            notes.push(format!("the model does not take {}: not sent", left_out.join(", ")));
        }
        if let Some(temperature) = sent.temperature.filter(|temperature| *temperature > self.max_temperature) {
            sent.temperature = Some(self.max_temperature);
            notes.push(format!("a temperature of {temperature} was lowered to the model's {}", self.max_temperature));
        }
        (sent, notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(sampling: SamplingRule, reasoning: &[&str]) -> Parameters {
        let reasoning = reasoning.iter().map(|word| (*word).to_owned()).collect();
        Parameters { sampling, max_temperature: 1.5, seed: false, stop: 1, reasoning }
    }

    #[test]
    fn what_a_model_does_not_take_is_left_out_and_said() {
        let wanted = Sampling {
            temperature: Some(1.9),
            top_p: Some(0.5),
            seed: Some(7),
            stop: vec!["a".into(), "b".into()],
            ..Sampling::default()
        };
        let (sent, notes) = parameters(SamplingRule::Always, &[]).fit(&wanted);
        assert_eq!((sent.temperature, sent.top_p, sent.seed, sent.stop.len()), (Some(1.5), Some(0.5), None, 1));
        assert_eq!(notes.len(), 2);
        assert!(notes[0].contains("seed, some of stop"), "{notes:?}");
        let (sent, notes) = parameters(SamplingRule::Never, &[]).fit(&wanted);
        assert_eq!((sent.temperature, sent.top_p), (None, None));
        assert!(notes[0].contains("temperature, top_p, seed"), "{notes:?}");
        let (_, notes) = parameters(SamplingRule::Never, &[]).fit(&Sampling::default());
        assert!(notes.is_empty());
    }

    #[test]
    fn sampling_may_hang_on_not_thinking() {
        let thinker = parameters(SamplingRule::WithoutReasoning, &["none", "low", "medium", "high"]);
        let wanted = |effort| Sampling { temperature: Some(0.2), effort, ..Sampling::default() };
        assert_eq!(thinker.fit(&wanted(Effort::Least)).0.temperature, Some(0.2));
        assert_eq!(thinker.fit(&wanted(Effort::High)).0.temperature, None);
    }

    #[test]
    fn effort_finds_the_vendors_word() {
        let words = |reasoning: &[&str]| {
            let parameters = parameters(SamplingRule::Always, reasoning);
            [Effort::Least, Effort::Low, Effort::Medium, Effort::High]
                .map(|effort| parameters.reasoning(effort).unwrap_or("-").to_owned())
        };
        assert_eq!(words(&[]), ["-", "-", "-", "-"]);
        assert_eq!(words(&["none", "low", "medium", "high"]), ["none", "low", "medium", "high"]);
        assert_eq!(words(&["low", "medium", "high"]), ["low", "low", "medium", "high"]);
        assert_eq!(words(&["none", "high"]), ["none", "none", "none", "high"]);
        assert_eq!(words(&["0", "1024", "8192", "24576"]), ["0", "1024", "8192", "24576"]);
        let headroom = |reasoning: &[&str]| parameters(SamplingRule::Always, reasoning).headroom(Effort::High);
        assert_eq!(
            [headroom(&[]), headroom(&["none"]), headroom(&["0", "24576"]), headroom(&["low", "high"])],
            [0, 0, 24_576, 16_384]
        );
        assert_eq!(words(&["LOW", "HIGH"]), ["LOW", "LOW", "LOW", "HIGH"]);
        for (reasoning, effort, noted) in [
            (&[][..], Effort::High, true),
            (&["none", "high"], Effort::Medium, true),
            (&["low", "high"], Effort::Low, false),
            (&["none", "high"], Effort::High, false),
        ] {
            let (_, notes) =
                parameters(SamplingRule::Always, reasoning).fit(&Sampling { effort, ..Sampling::default() });
            assert_eq!(notes.iter().any(|note| note.contains("effort")), noted, "{reasoning:?} {effort:?} {notes:?}");
        }
    }
}
