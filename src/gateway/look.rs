//! A question that was read, and whose pictures are open, before anybody is asked: who has many of them wants to know
//! first what it would cost, and whether the same was asked before.

use tokio::time::Instant;
use vision_providers::estimate::Estimate;
use vision_providers::price::MicroUsd;
use vision_providers::wire::Delivery;

use super::{Ask, Asker, Gateway, Given, Opened, Read};
use crate::failure::Result;
use crate::reply::Reply;
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
        let question = self.question(ask)?;
        let pictures = self.pictures(ask, asker, Instant::now() + self.settings.total).await?;
        Ok(Look { gateway: self, asker, ask, read: Read { question, pictures } })
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

    /// What the answer costs at most, whoever of those who may be asked gives it; `None` where a price or a count is
    /// not known.
    ///
    /// # Errors
    /// Those of plans that nobody is left in.
    pub async fn most_cost(&self) -> Result<Option<MicroUsd>> {
        let Opened { plan, outline, .. } =
            self.gateway.open(self.ask, self.asker, "foresee".into(), Delivery::Whole, self.given()).await?;
        let costs = plan.candidates.iter().map(|candidate| {
            let card = &candidate.card;
            Estimate::from_outline(&outline.fitted(card), card).and_then(|estimate| estimate.most)
        });
        Ok(costs.collect::<Option<Vec<_>>>().and_then(|costs| costs.into_iter().max()))
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
        Given { deadline: Instant::now() + self.gateway.settings.total, read: Some(self.read.clone()) }
    }
}
