//! The calls of an evaluation: of the models that are compared, and of the one that judges.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use vision_providers::price::MicroUsd;

use super::plan::Plan;
use super::{RESULTS, VERDICTS};
use crate::bulk::journal::Journal;
use crate::bulk::{self, Files, Job, Run, Tally, Terms, line_id, question_digest};
use crate::eval::dataset::Item;
use crate::eval::manifest::Judging;
use crate::eval::{asking, judge, results};
use crate::failure::{Code, Failure, Result};
use crate::gateway::{Ask, Asker, Gateway};
use crate::intake::Door;
use crate::reply::Reply;
use crate::surface::batch::told;
use crate::surface::cli::tell;
use crate::surface::progress::Progress;

/// All calls of a plan. What a question is depends on which model its name means now.
pub(super) fn jobs(gateway: &Gateway, plan: &Plan) -> Vec<Job> {
    let digest = |ask: &Ask| {
        let meant = ask.model.as_deref().and_then(|model| gateway.roster.resolve(model).ok());
        question_digest(gateway, ask, meant.map(|candidate| candidate.name()).as_deref())
    };
    asking::jobs(&plan.dataset, &plan.protocol, &digest)
}

/// Who makes the calls of a plan.
pub(super) struct Calls<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) plan: &'a Plan,
    pub(super) jobs: &'a [Job],
    /// Ends them.
    pub(super) stop: &'a CancellationToken,
    pub(super) quiet: bool,
}

impl Calls<'_> {
    /// Asks every model what it was not asked yet.
    pub(super) async fn of_models(&self) -> Result<(Tally, usize)> {
        let plan = self.plan;
        if plan.args.max_cost.is_some() {
            self.check_costs().await?;
        }
        let asks = self.jobs.iter().map(|job| &job.ask).filter(|_| plan.args.resume);
        let now = Files::of(self.gateway, &Asker::local(Door::CommandLine), asks).await;
        let prepared =
            asking::prepare(&plan.args.out.join(RESULTS), self.jobs.to_vec(), plan.args.resume.then_some(&now))?;
        let notes = [
            (prepared.changed, "questions are about other pictures now: they are asked again"),
            (
                prepared.others,
                "calls of the file asked something else, or another model by this name: they count for nothing here",
            ),
        ];
        for (count, note) in notes.into_iter().filter(|(count, _)| *count > 0 && !self.quiet) {
            tell(&format!("note: {count} {note}"));
        }
        let judged = judge::spent(&plan.args.out.join(VERDICTS))?;
        let (answered, spent) = (prepared.answered, MicroUsd(prepared.spent.0 + judged.0));
        let tally = self.made(prepared.jobs, prepared.journal, asking::line_key, spent, told).await?;
        Ok((tally, answered))
    }

    /// Refuses models whose cost nobody can tell beforehand, by the first question that each can be asked: no limit could hold.
    async fn check_costs(&self) -> Result<()> {
        let asker = Asker::local(Door::CommandLine);
        let (plan, mut seen) = (self.plan, HashSet::new());
        let first = self.jobs.iter().filter(|job| seen.insert(job.head["item"].clone()));
        let asks: Vec<&Ask> = first.map(|job| &job.ask).collect();
        for model in plan.protocol.models.iter().chain(plan.judge.iter().map(|judge| &judge.model)) {
            for ask in &asks {
                let ask = Ask { model: Some(model.clone()), ..(*ask).clone() };
                let Ok(look) = self.gateway.look(&ask, &asker).await else { continue };
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
        let records = asking::of_the_run(records, self.jobs);
        let items: HashMap<&str, &Item> = plan.dataset.items.iter().map(|item| (item.id.as_str(), item)).collect();
        let answers = records.iter().filter_map(|record| Some((*items.get(record.item.as_str())?, record)));
        let court = judge::prepare(&plan.args.out.join(VERDICTS), answers, &judging.model, &judging.prompt)?;
        self.made(court.jobs, court.journal, line_id, spent, judge::told).await
    }

    async fn made(
        &self,
        jobs: Vec<Job>,
        mut journal: Journal,
        key: fn(&Value) -> Option<String>,
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
        bulk::end(journal, &jobs, key).await?;
        tally
    }
}
