//! A question that was read, and whose pictures are open, before anybody is asked: who has many of them wants to know
//! first what it would cost, and whether the same was asked before.

use tokio::time::Instant;
use vision_providers::estimate::{Estimate, Outline};
use vision_providers::price::{MicroUsd, Price};
use vision_providers::request::Output;
use vision_providers::wire::Delivery;

use super::wanted::{shown, wanted};
use super::{Ask, Asker, Gateway, Given, Read};
use crate::failure::Result;
use crate::layers::validate::repair_words;
use crate::reply::Reply;
use crate::router::roster::Candidate;
use crate::speech::Audience;

/// A question and its pictures.
#[derive(Debug)]
pub struct Look<'a> {
    gateway: &'a Gateway,
    asker: &'a Asker,
    ask: &'a Ask,
    read: Read,
}

impl Gateway {
    /// Reads a question, and opens its pictures.
    ///
    /// # Errors
    /// The codes of bad input, names that nothing has among them.
    pub async fn look<'a>(&'a self, ask: &'a Ask, asker: &'a Asker) -> Result<Look<'a>> {
        let question = self.question(ask).await?;
        let pictures = self.pictures(ask, asker, Instant::now() + self.settings.total).await?;
        Ok(Look { gateway: self, asker, ask, read: Read { question, pictures } })
    }

    /// What a question costs, whoever of its plan is asked; `None` when that cannot be told.
    pub(super) fn costs(&self, ask: &Ask, asker: &Asker, read: &Read) -> Option<Costs> {
        let wanted = wanted(ask, asker, &read.question, &self.settings, Delivery::Whole);
        let wanted = shown(wanted, &read.pictures, ask.region.as_ref(), self.settings.total);
        let Ok(plan) = self.roster.outlook(&wanted) else { return Some(Costs::default()) };
        let costs = |candidate: &Candidate| {
            // What costs nothing by any measure needs no count of tokens.
            if candidate.card.price == Some(Price::default()) {
                return Some(Costs::default());
            }
            self.costs_of(&wanted.outline.fitted(&candidate.card), candidate, &read.question.output)
        };
        let all = plan.candidates.iter().map(costs).collect::<Option<Vec<_>>>()?;
        // Each may be billed for an answer of no use before the next one is asked.
        let most = all.iter().fold(0, |sum: u64, costs| sum.saturating_add(costs.most.0));
        Some(Costs { likely: all.first()?.likely, most: MicroUsd(most) })
    }

    /// What asking one of them costs: an answer that breaks its form is asked for once more, and a call that broke off is
    /// made again and may be billed all the same.
    fn costs_of(&self, outline: &Outline, candidate: &Candidate, output: &Output) -> Option<Costs> {
        let of_a_call = |outline: &Outline| {
            let estimate = Estimate::from_outline(outline, &candidate.card)?;
            let (likely, most) = (estimate.likely?, estimate.most?);
            let calls = 1 + u64::from(self.settings.retries.min(1));
            Some((Costs { likely, most: most.max(MicroUsd(likely.0.saturating_mul(calls))) }, estimate.longest?))
        };
        let (first, longest) = of_a_call(outline)?;
        if *output == Output::Text {
            return Some(first);
        }
        let (again, _) = of_a_call(&Outline { words: outline.words + repair_words(longest), ..outline.clone() })?;
        Some(Costs { most: MicroUsd(first.most.0.saturating_add(again.most.0)), ..first })
    }
}

/// What a question costs, by estimates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Costs {
    /// When the first who may be asked gives an answer of usual length.
    pub likely: MicroUsd,
    /// When everybody who may be asked is, and gives the longest answers, as often as they are asked for.
    pub most: MicroUsd,
}

impl Look<'_> {
    /// The same for the same files in the same order, wherever they came from.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for picture in &self.read.pictures {
            hasher.update(blake3::hash(picture.encoded()).as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// What the answer costs, by estimates; `None` when that cannot be told. Who cannot be asked at all costs nothing.
    #[must_use]
    pub fn costs(&self) -> Option<Costs> {
        self.gateway.costs(self.ask, self.asker, &self.read)
    }

    /// Asks.
    ///
    /// # Errors
    /// As [`Gateway::ask`].
    pub async fn ask(&self) -> Result<Reply> {
        self.gateway.observed(self.ask, self.asker, Audience::Nobody, self.given()).await
    }

    /// The time begins when somebody is asked, not when the pictures were opened.
    fn given(&self) -> Given {
        Given { read: Some(self.read.clone()), ..self.gateway.given() }
    }
}
