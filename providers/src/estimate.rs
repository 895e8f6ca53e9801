//! What a request will take and cost, before it is sent: images by the vendors' own formulas, words by a rule of thumb.
//!
//! An estimate is for budgets and for people who choose; what a call took is what the vendor reports.

use crate::answer::Usage;
use crate::model::ModelCard;
use crate::price::MicroUsd;
use crate::request::{Detail, Output, Sampling, Task, VisionRequest};
use crate::tokens::Basis;

/// As much of a request as an estimate needs: known before its images are made to fit anybody.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    pub task: Task,
    pub detail: Detail,
    pub sampling: Sampling,
    /// Width and height of the images in pixels.
    pub sizes: Vec<(u32, u32)>,
    /// Whether there are documents too.
    pub documents: bool,
    /// Tokens of everything that is said in words, about.
    pub words: u64,
}

impl Outline {
    /// The outline of a request as it will be sent.
    #[must_use]
    pub fn of(req: &VisionRequest) -> Self {
        let schema = match &req.output {
            Output::Text => 0,
            Output::Json(schema) => words(&schema.value.to_string()),
        };
        let system = req.system.as_deref().map_or(0, words);
        Self {
            task: req.task,
            detail: req.detail,
            sampling: req.sampling.clone(),
            sizes: req.images().map(|image| (image.width(), image.height())).collect(),
            documents: req.documents().next().is_some(),
            words: req.texts().map(words).sum::<u64>() + system + schema,
        }
    }

    /// The same with the images at the sizes at which this model would get them.
    #[must_use]
    pub fn fitted(&self, card: &ModelCard) -> Self {
        let sizes = self.sizes.iter().map(|(width, height)| card.target(*width, *height, self.detail)).collect();
        Self { sizes, ..self.clone() }
    }
}

/// Tokens of an answer, where it is to be guessed: a paragraph and some text that was read.
const USUAL_ANSWER: u64 = 400;

/// Tokens and cost of a request that was not sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    pub input_tokens: u64,
    /// The part of the input that images take.
    pub image_tokens: u64,
    /// Tokens that the answer may have, where there is a limit.
    pub longest: Option<u64>,
    /// What one call costs at most: with an answer as long as it may be. One that breaks its schema is asked for twice.
    /// Absent when the price is unknown.
    pub most: Option<MicroUsd>,
    /// What it costs with an answer of usual length: the measure for comparing models. Absent when the price is unknown.
    pub likely: Option<MicroUsd>,
    /// How sure the count of the images is. Words are always a guess.
    pub basis: Basis,
}

impl Estimate {
    /// The estimate for a request to this model; `None` where nobody outside the vendor can tell, as for documents.
    #[must_use]
    pub fn of(req: &VisionRequest, card: &ModelCard) -> Option<Self> {
        Self::from_outline(&Outline::of(req), card)
    }

    /// The same from an outline whose images have the sizes at which they are sent.
    #[must_use]
    pub fn from_outline(outline: &Outline, card: &ModelCard) -> Option<Self> {
        if outline.documents {
            return None;
        }
        let counts = outline.sizes.iter().map(|(width, height)| card.tokens.tokens(*width, *height, outline.detail));
        let image_tokens = counts.sum::<Option<u64>>()?;
        let input_tokens = image_tokens + outline.words;
        let longest = card.parameters_for(&outline.sampling).0.max_output_tokens.or(card.limits.max_output_tokens);
        let cost = |output_tokens: u64| {
            let pages = outline.sizes.len() as u64;
            let (pages, annotated_pages) = if outline.task == Task::Extract { (0, pages) } else { (pages, 0) };
            let usage = Usage { input_tokens, output_tokens, pages, annotated_pages, ..Usage::default() };
            Some(card.price?.of(&usage))
        };
        let longest = longest.map(u64::from);
        let most = longest.and_then(cost);
        let likely = cost(longest.map_or(USUAL_ANSWER, |longest| longest.min(USUAL_ANSWER)));
        Some(Self { input_tokens, image_tokens, longest, most, likely, basis: card.basis })
    }

    /// What a call took, where the vendor does not say: this, and the words of the answer.
    #[must_use]
    pub fn usage(&self, answer: &str) -> Usage {
        Usage { input_tokens: self.input_tokens, output_tokens: words(answer), ..Usage::default() }
    }
}

/// Tokens of a text, about: four letters of English make one, and other scripts take one for each character.
#[must_use]
pub fn words(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count() as u64;
    let others = text.chars().filter(|c| !c.is_ascii()).count() as u64;
    ascii.div_ceil(4) + others
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Price;
    use crate::testkit::{about, card, image, request};
    use crate::tokens::TokenRule;

    #[test]
    fn images_are_counted_by_the_models_rule_and_words_about() {
        let mut card = card("m");
        card.tokens = TokenRule::Rows { largest_side: 1540, cell: 28 };
        let mut req = request("m", Task::Ask);
        req.messages = vec![about(vec![image(56, 28, 1), image(28, 28, 2)], "What is it?")];
        req.sampling.max_output_tokens = Some(100);
        let estimate = Estimate::of(&req, &card).expect("a rule");
        // 3 + 2 for the images; "Image 1:" and "Image 2:" 2 each, the question 3.
        assert_eq!((estimate.image_tokens, estimate.input_tokens), (5, 12));
        assert_eq!((estimate.most, estimate.likely), (Some(MicroUsd(12 + 200)), Some(MicroUsd(12 + 200))));
        assert_eq!(estimate.usage("漢字 four").output_tokens, 4);
        card.tokens = TokenRule::Unknown;
        assert_eq!(Estimate::of(&req, &card), None);
    }

    #[test]
    fn a_page_costs_what_its_vendor_takes_for_it() {
        let mut card = card("ocr");
        card.tokens = TokenRule::Free;
        card.price = Some(Price { page: 4000, annotated_page: 5000, ..Price::default() });
        let mut req = request("ocr", Task::Ocr);
        req.sampling.max_output_tokens = Some(100);
        assert_eq!(Estimate::of(&req, &card).expect("a rule").most, Some(MicroUsd(4000)));
    }
}
