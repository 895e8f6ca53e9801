//! The calls of an evaluation: of the models that are compared, and of the one that judges.

use std::collections::HashMap;

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use vision_providers::price::MicroUsd;

use super::plan::Plan;
use super::{RESULTS, VERDICTS};
use crate::bulk::journal::Journal;
use crate::bulk::{Files, Job, Run, Tally, Terms};
use crate::eval::dataset::Item;
use crate::eval::manifest::Judging;
use crate::eval::{asking, judge, results};
use crate::failure::{Code, Failure, Result};
use crate::gateway::{Asker, Gateway};
use crate::intake::Door;
use crate::reply::Reply;
use crate::surface::batch::told;
use crate::surface::cli::tell;
use crate::surface::progress::Progress;

/// Who makes the calls of a plan.
pub(super) struct Calls<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) plan: &'a Plan,
    /// Ends them.
    pub(super) stop: &'a CancellationToken,
    pub(super) quiet: bool,
}

impl Calls<'_> {
    /// Asks every model what it was not asked yet.
    pub(super) async fn of_models(&self) -> Result<(Tally, usize)> {
        let plan = self.plan;
        let jobs = asking::jobs(&plan.dataset, &plan.protocol);
        if plan.args.max_cost.is_some() {
            self.check_costs(&jobs).await?;
        }
        let asks = jobs.iter().map(|job| &job.ask).filter(|_| plan.args.resume);
        let now = Files::of(self.gateway, &Asker::local(Door::CommandLine), asks).await;
        let prepared = asking::prepare(&plan.args.out.join(RESULTS), jobs, plan.args.resume.then_some(&now))?;
        if prepared.changed > 0 && !self.quiet {
            tell(&format!(
                "note: {} questions or their pictures are not what they were: they are asked again",
                prepared.changed
            ));
        }
        let judged = judge::spent(&plan.args.out.join(VERDICTS))?;
        let (answered, spent) = (prepared.answered, MicroUsd(prepared.spent.0 + judged.0));
        let tally = self.made(prepared.jobs, prepared.journal, spent, told).await?;
        Ok((tally, answered))
    }

    /// Refuses models whose cost nobody can tell beforehand, by the first question that each can be asked: no limit could hold.
    async fn check_costs(&self, jobs: &[Job]) -> Result<()> {
        let asker = Asker::local(Door::CommandLine);
        for model in &self.plan.protocol.models {
            for job in jobs.iter().filter(|job| job.ask.model.as_ref() == Some(model)) {
                let Ok(look) = self.gateway.look(&job.ask, &asker).await else { continue };
                if look.costs().is_some() {
                    break;
                }
                let message = format!("what `{model}` costs is not known beforehand, so --max-cost cannot hold");
                return Err(Failure::new(Code::BudgetExceeded, message).advise(
                    "give the model `price` and `tokens` in the configuration, leave it out, or leave --max-cost out",
                ));
            }
        }
        Ok(())
    }

    /// Has every answer judged that was not.
    pub(super) async fn of_judge(&self, judging: &Judging, spent: MicroUsd) -> Result<Tally> {
        let plan = self.plan;
        let records = results::records(&plan.args.out.join(RESULTS))?;
        let records = asking::of_the_run(records, &asking::jobs(&plan.dataset, &plan.protocol));
        let items: HashMap<&str, &Item> = plan.dataset.items.iter().map(|item| (item.id.as_str(), item)).collect();
        let answers = records.iter().filter_map(|record| Some((*items.get(record.item.as_str())?, record)));
        let court = judge::prepare(&plan.args.out.join(VERDICTS), answers, &judging.model, &judging.prompt)?;
        self.made(court.jobs, court.journal, spent, judge::told).await
    }

    async fn made(
        &self,
        jobs: Vec<Job>,
        mut journal: Journal,
        spent: MicroUsd,
        tell: fn(&Result<Reply>) -> Map<String, Value>,
    ) -> Result<Tally> {
        let args = &self.plan.args;
        let terms = Terms { at_once: usize::from(args.jobs), most: args.max_cost, spent, twins: false };
        let asker = Asker::local(Door::CommandLine);
        let run = Run { gateway: self.gateway, asker: &asker, terms, tell, stop: self.stop.clone() };
        let progress = Progress::of(jobs.len(), self.quiet);
        let tally = run.carry_out(&jobs, Vec::new(), &mut journal, |tally| progress.show(tally)).await;
        progress.end();
        journal.close().await?;
        tally
    }
}
