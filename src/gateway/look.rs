//! A question that was read, and whose pictures are open, before anybody is asked: who has many of them wants to know
//! first what it would cost, and whether the same was asked before.

use tokio::time::Instant;
use vision_providers::estimate::Estimate;
use vision_providers::price::{MicroUsd, Price};
use vision_providers::wire::Delivery;

use super::wanted::{shown, wanted};
use super::{Ask, Asker, Gateway, Given, Read};
use crate::failure::Result;
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

    /// What one call costs at most, whoever of its plan answers; `None` when that cannot be told.
    pub(super) fn most(&self, ask: &Ask, asker: &Asker, read: &Read) -> Option<MicroUsd> {
        let wanted = wanted(ask, asker, &read.question, &self.settings, Delivery::Whole);
        let wanted = shown(wanted, &read.pictures, ask.region.as_ref(), self.settings.total);
        let Ok(plan) = self.roster.outlook(&wanted) else { return Some(MicroUsd::default()) };
        let most = |candidate: &Candidate| {
            // What costs nothing by any measure needs no count of tokens.
            if candidate.card.price == Some(Price::default()) {
                return Some(MicroUsd::default());
            }
            Estimate::from_outline(&wanted.outline.fitted(&candidate.card), &candidate.card)?.most
        };
        let dearest = plan.candidates.iter().map(most).collect::<Option<Vec<_>>>()?.into_iter().max()?;
        // Two may be asked at once.
        Some(if plan.hedge.is_some() { MicroUsd(dearest.0.saturating_mul(2)) } else { dearest })
    }
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

    /// What the answer costs at most, by estimates of one call; `None` when that cannot be told. Who cannot be asked at
    /// all costs nothing.
    #[must_use]
    pub fn most(&self) -> Option<MicroUsd> {
        self.gateway.most(self.ask, self.asker, &self.read)
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
