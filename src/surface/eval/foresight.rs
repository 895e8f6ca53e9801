//! What an evaluation would take, by estimates. Nobody is asked.

use std::collections::HashSet;
use std::process::ExitCode;

use serde_json::{Value, json};
use vision_providers::price::MicroUsd;

use super::RESULTS;
use super::calls::jobs;
use super::plan::Plan;
use super::show::harmless;
use crate::bulk::Job;
use crate::eval::{asking, results};
use crate::failure::Result;
use crate::gateway::{Asker, Gateway};
use crate::intake::Door;
use crate::surface::cli::{print, print_json, tell};

/// Says what would be asked, and what it would cost by estimates.
pub(super) async fn foretell(gateway: &Gateway, plan: &Plan) -> Result<ExitCode> {
    let asker = Asker::local(Door::CommandLine);
    let jobs = left(plan, jobs(gateway, plan))?;
    let (mut models, mut faults) = (Vec::new(), Vec::new());
    for model in &plan.protocol.models {
        let (mut calls, mut likely, mut most, mut unknown) = (0, 0, 0, 0);
        for job in jobs.iter().filter(|job| job.ask.model.as_ref() == Some(model)) {
            match gateway.look(&job.ask, &asker).await {
                Ok(look) => match look.costs() {
                    Some(costs) => {
                        likely += costs.likely.0;
                        most += costs.most.0;
                    }
                    None => unknown += 1,
                },
                Err(failure) => faults.push(format!("{}: {failure}", job.head["item"])),
            }
            calls += 1;
        }
        models.push((model, calls, MicroUsd(likely).dollars(), MicroUsd(most).dollars(), unknown));
    }
    faults.sort();
    faults.dedup();
    if plan.args.json {
        let shown: Vec<Value> = models
            .iter()
            .map(|(model, calls, likely, most, unknown)| {
                json!({"model": model, "calls": calls, "likely_cost_usd": likely, "max_cost_usd": most,
                    "calls_of_unknown_cost": unknown})
            })
            .collect();
        print_json(&json!({"items": plan.dataset.items.len(), "models": shown, "faults": faults}));
    } else {
        for (model, calls, likely, most, unknown) in &models {
            let open = if *unknown > 0 { format!(", and {unknown} calls of unknown cost") } else { String::new() };
            print(&format!("{model}: {calls} calls, about ${likely:.4}, at most ${most:.4}{open}"));
        }
        if plan.judge.is_some() {
            tell("note: what the judge takes is not in it: that depends on what is answered");
        }
        for fault in &faults {
            tell(&harmless(&format!("error: {fault}")));
        }
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Of these calls those that are still to be made: a run that goes on asks only what has no answer.
fn left(plan: &Plan, jobs: Vec<Job>) -> Result<Vec<Job>> {
    let file = plan.args.out.join(RESULTS);
    if !plan.args.resume || !file.exists() {
        return Ok(jobs);
    }
    let records = asking::of_the_run(results::records(&file)?, &jobs);
    let said = records.iter().filter(|record| record.said().is_some());
    let answered: HashSet<String> = said.map(asking::record_key).collect();
    Ok(jobs.into_iter().filter(|job| !answered.contains(&job.id)).collect())
}
