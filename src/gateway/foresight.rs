//! What a question would come to: who would be asked, what would be sent, and what it would take. Nobody is asked.

use vision_providers::estimate::Estimate;
use vision_providers::wire::Delivery;

use super::call::{Call, Stop};
use super::{Ask, Asker, Gateway, Opened, accounts};
use crate::failure::Result;
use crate::reply::ImageAccount;
use crate::router::plan::Plan;
use crate::router::roster::Candidate;
use crate::speech::Audience;

/// A plan, and what each of its candidates would take, where that can be told.
#[derive(Debug, Clone)]
pub struct Explained {
    pub plan: Plan,
    pub estimates: Vec<Option<Estimate>>,
}

/// What asking one candidate would take.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreseen {
    /// `provider/model`.
    pub model: String,
    pub prospect: Result<Prospect>,
    /// Why it would not be asked as things are.
    pub note: Option<String>,
}

/// What would be sent, and what it would cost at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Prospect {
    /// Absent where nobody outside the vendor can tell.
    pub estimate: Option<Estimate>,
    pub images: Vec<ImageAccount>,
}

impl Gateway {
    /// What asking would take, candidate by candidate, without asking.
    ///
    /// # Errors
    /// The codes of bad input; a candidate that the images cannot be made to fit is one of the results.
    pub async fn foresee(&self, ask: &Ask, asker: &Asker) -> Result<Vec<Foreseen>> {
        let opened = self.open(ask, asker, "foresee".into(), Delivery::Whole, self.given()).await?;
        let call = Call::new(self, ask, &opened, Audience::Nobody);
        let mut foreseen = Vec::new();
        let passed_over = opened
            .plan
            .skipped
            .iter()
            .filter_map(|skipped| Some((self.roster.resolve(&skipped.model).ok()?, Some(skipped.warning()))));
        let candidates = opened.plan.candidates.iter().cloned().map(|candidate| (candidate, None));
        for (candidate, note) in passed_over.chain(candidates) {
            let prospect = match call.fit(&opened.ctx, &candidate).await {
                Ok(ready) => Ok(Prospect {
                    estimate: Estimate::of(&call.request(&candidate, &ready), &candidate.card),
                    images: accounts(&opened.pictures, &ready),
                }),
                Err(Stop::Fit(failure)) => Err(failure),
                Err(Stop::Input(failure)) => return Err(failure),
                Err(Stop::Backend(error) | Stop::Spoken(error)) => return Err(error.into()),
            };
            foreseen.push(Foreseen { model: candidate.name(), prospect, note });
        }
        Ok(foreseen)
    }

    /// Who would be asked in which order, why others would not, and what it would take. Nobody is asked, and no image is
    /// made to fit.
    ///
    /// # Errors
    /// The codes of bad input and of plans that nobody is left in.
    pub async fn explain(&self, ask: &Ask, asker: &Asker, delivery: Delivery) -> Result<Explained> {
        let Opened { plan, outline, .. } = self.open(ask, asker, "explain".into(), delivery, self.given()).await?;
        let estimate =
            |candidate: &Candidate| Estimate::from_outline(&outline.fitted(&candidate.card), &candidate.card);
        let estimates = plan.candidates.iter().map(estimate).collect();
        Ok(Explained { plan, estimates })
    }
}
