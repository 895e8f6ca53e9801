//! What a request will take and cost, before it is sent: images by the vendors' own formulas, words by a rule of thumb.
//!
//! An estimate is for budgets and for people who choose; what a call took is what the vendor reports.

use crate::answer::Usage;
use crate::model::ModelCard;
use crate::price::MicroUsd;
use crate::request::{Output, Task, VisionRequest};
use crate::tokens::Basis;

/// Tokens and cost of a request that was not sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    pub input_tokens: u64,
    /// The part of the input that images take.
    pub image_tokens: u64,
    /// What one call costs at most: with an answer as long as it may be. One that breaks its schema is asked for twice. Absent when the price is unknown.
    pub most: Option<MicroUsd>,
    /// How sure the count of the images is. Words are always a guess.
    pub basis: Basis,
}

impl Estimate {
    /// The estimate for a request to this model; `None` where nobody outside the vendor can tell, as for documents.
    #[must_use]
    pub fn of(req: &VisionRequest, card: &ModelCard) -> Option<Self> {
        if req.documents().next().is_some() {
            return None;
        }
        let counts = req.images().map(|image| card.tokens.tokens(image.width(), image.height(), req.detail));
        let image_tokens = counts.sum::<Option<u64>>()?;
        let schema = match &req.output {
            Output::Text => 0,
            Output::Json(schema) => words(&schema.value.to_string()),
        };
        let system = req.system.as_deref().map_or(0, words);
        let input_tokens = image_tokens + req.texts().map(words).sum::<u64>() + system + schema;
        let longest = card.parameters_for(&req.sampling).0.max_output_tokens.or(card.limits.max_output_tokens);
        let most = longest.zip(card.price).map(|(output, price)| {
            let pages = req.images().count() as u64;
            let (pages, annotated_pages) = if req.task == Task::Extract { (0, pages) } else { (pages, 0) };
            let output_tokens = u64::from(output);
            price.of(&Usage { input_tokens, output_tokens, pages, annotated_pages, ..Usage::default() })
        });
        Some(Self { input_tokens, image_tokens, most, basis: card.basis })
    }

    /// What a call took, where the vendor does not say: this, and the words of the answer.
    #[must_use]
    pub fn usage(&self, answer: &str) -> Usage {
        Usage { input_tokens: self.input_tokens, output_tokens: words(answer), ..Usage::default() }
    }
}

/// Tokens of a text, about: four letters of English make one, and other scripts take one for each character.
fn words(text: &str) -> u64 {
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
        assert_eq!(estimate.most, Some(MicroUsd(12 + 200)));
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
