//! The same question to several models: read once, its pictures opened once, and then put to each on its own.
//!
//! Nobody answers in another's place, and all of them share one budget of time.

use tokio::time::Instant;
use vision_providers::price::MicroUsd;
use vision_providers::request::CacheMode;
use vision_providers::wire::Delivery;

use super::{Ask, Asker, Gateway, Given, Read, wanted};
use crate::failure::{Code, Failure, Result};
use crate::reply::Reply;
use crate::router::plan::Fallback;
use crate::speech::Audience;

/// A question that was read, and whose pictures were opened, for several models.
#[derive(Debug)]
pub struct Round<'a> {
    gateway: &'a Gateway,
    asker: &'a Asker,
    asks: Vec<Ask>,
    /// Whether this caller may ask each of them now.
    counted: Vec<Result<()>>,
    given: Given,
}

impl Gateway {
    /// Reads a question for these models, and opens its pictures. Nobody is asked yet.
    ///
    /// # Errors
    /// The codes of bad input, names that nothing has among them, and `RATE_LIMITED` when this caller may ask none of them.
    pub async fn round<'a>(&'a self, ask: &Ask, models: &[String], asker: &'a Asker) -> Result<Round<'a>> {
        let deadline = Instant::now() + self.settings.total;
        let question = self.question(ask).await?;
        // What was remembered says nothing of how long a model takes, so whoever wants it has to say so.
        let cache = Some(ask.cache.unwrap_or(CacheMode::Bypass));
        // What images are named by may be megabytes, and is not needed once they are open.
        let images = vec![String::new(); ask.images.len()].into();
        let bare = Ask { images, fallback: Fallback::Never, cache, ..ask.clone() };
        let asks = models.iter().map(|model| Ask { model: Some(model.clone()), ..bare.clone() });
        let asks: Vec<Ask> = asks.collect();
        for ask in &asks {
            self.roster.check_name(&wanted(ask, asker, &question, &self.settings, Delivery::Whole))?;
        }
        // Each model is a question, and fetching what all of them look at is work already.
        let counted: Vec<Result<()>> = asks.iter().map(|_| asker.rights.count()).collect();
        if counted.iter().all(Result::is_err) {
            counted.iter().cloned().collect::<Result<()>>()?;
        }
        let pictures = self.pictures(ask, asker, deadline).await?;
        let given = Given { deadline, read: Some(Read { question, pictures }), counted: None };
        Ok(Round { gateway: self, asker, asks, counted, given })
    }
}

impl Round<'_> {
    /// What asking all of them costs at most, by estimates. Who cannot be asked at all costs nothing.
    ///
    /// # Errors
    /// `BUDGET_EXCEEDED` naming the models whose cost nobody can tell beforehand.
    pub fn most(&self) -> Result<MicroUsd> {
        let (mut sum, mut unknown) = (MicroUsd::default(), Vec::new());
        let Some(read) = &self.given.read else { return Ok(sum) };
        for ask in &self.asks {
            match self.gateway.costs(ask, self.asker, read) {
                Some(costs) => sum.0 = sum.0.saturating_add(costs.most.0),
                None => unknown.extend(ask.model.as_deref()),
            }
        }
        if unknown.is_empty() {
            return Ok(sum);
        }
        let message = format!("what {} costs is not known beforehand", unknown.join(", "));
        let advice =
            "leave these models out, or the limit on the cost; the operator can give them `price` and `tokens`";
        Err(Failure::new(Code::BudgetExceeded, message).advise(advice))
    }

    /// Asks one of them, by its place.
    ///
    /// # Errors
    /// As [`Gateway::ask`].
    pub async fn ask(&self, index: usize, audience: Audience<'_>) -> Result<Reply> {
        let nobody = || Failure::new(Code::Internal, format!("the comparison has no model {index}"));
        let ask = self.asks.get(index).ok_or_else(nobody)?;
        let given = Given { counted: self.counted.get(index).cloned(), ..self.given.clone() };
        self.gateway.observed(ask, self.asker, audience, given).await
    }
}
