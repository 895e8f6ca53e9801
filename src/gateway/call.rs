//! A request on its way through the candidates of its plan: fitted anew for each, asked of one after the other until one
//! answers, with an account of what became of all.

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use tokio::time::Instant;
use tracing::debug;
use vision_providers::answer::{Answer, Chunk, Try};
use vision_providers::error::{Error, ErrorKind};
use vision_providers::estimate::Estimate;
use vision_providers::price::MicroUsd;
use vision_providers::provider::Provider;
use vision_providers::request::{CallCtx, Message, VisionRequest};

use super::{Ask, Gateway, Opened};
use crate::clean;
use crate::failure::{Code, Failure, Result};
use crate::intake::fit::Wish;
use crate::intake::{Picture, Ready};
use crate::reply::{Attempt, Outcome};
use crate::router::plan::{Candidate, Reason, Skipped};
use crate::speech::{Listener, Speech};
use crate::tasks;

/// A request on its way through the candidates.
pub(super) struct Call<'a> {
    gateway: &'a Gateway,
    ask: &'a Ask,
    opened: &'a Opened,
    listener: Option<&'a Listener>,
    /// Something was passed on to the listener.
    spoke: bool,
    /// Calls that were made once more.
    retried: usize,
    pub(super) attempts: Vec<Attempt>,
    /// What was billed for answers of no use, as far as prices are known.
    pub(super) lost: MicroUsd,
}

impl<'a> Call<'a> {
    pub(super) fn new(gateway: &'a Gateway, ask: &'a Ask, opened: &'a Opened, listener: Option<&'a Listener>) -> Self {
        let (attempts, lost) = (Vec::new(), MicroUsd::default());
        Self { gateway, ask, opened, listener, spoke: false, retried: 0, attempts, lost }
    }
}

impl Call<'_> {
    /// Tries the candidates in turn. Yields the index of the one that answered.
    pub(super) async fn first_answer(&mut self) -> Result<Outcome> {
        let mut failures: Vec<(String, Failure)> = Vec::new();
        let Opened { plan, ctx, .. } = self.opened;
        for (index, candidate) in plan.candidates.iter().enumerate() {
            let ctx = self.share(ctx, plan.candidates.len() - index);
            let began = Instant::now();
            match self.ask_one(&ctx, index, candidate).await {
                Ok(outcome) => {
                    let answer = &outcome.answer;
                    self.note(candidate, &answer.tries, if answer.cached { "cached" } else { "ok" }, began);
                    return Ok(outcome);
                }
                Err(Stop::Input(failure)) => return Err(failure),
                Err(Stop::Fit(failure)) => {
                    self.note(candidate, &[], "does_not_fit", began);
                    failures.push((candidate.name(), failure));
                }
                Err(Stop::Backend(error)) => {
                    self.note(candidate, error.tries(), error.kind().name(), began);
                    let final_word = !self.moves_on(error.kind()) || self.spoke;
                    if let Some(price) = candidate.card.price {
                        self.lost.0 += error.spent().iter().map(|usage| price.of(usage).0).sum::<u64>();
                    }
                    failures.push((candidate.name(), error.into()));
                    if final_word {
                        break;
                    }
                }
            }
        }
        Err(summed_up(failures, &plan.skipped))
    }

    /// What of the time and of the retries one candidate gets, so that those who come after it get something too.
    fn share(&self, ctx: &CallCtx, candidates_left: usize) -> CallCtx {
        let left = ctx.retries.saturating_sub(u32::try_from(self.retried).unwrap_or(u32::MAX));
        let last = candidates_left == 1;
        let deadline = share_of_time(ctx.deadline, candidates_left);
        CallCtx { retries: if last { left } else { left.min(1) }, last, ..ctx.until(deadline) }
    }

    async fn ask_one(&mut self, ctx: &CallCtx, index: usize, candidate: &Candidate) -> Result<Outcome, Stop> {
        let ready = self.fit(ctx, candidate).await?;
        let req = self.request(candidate, &ready);
        let estimate = Estimate::of(&req, &candidate.card);
        let answer = match self.listener {
            None => candidate.provider.complete(ctx, &req).await,
            Some(listener) => {
                // What one candidate left half said is nothing to the next.
                let mut speech = Speech::new(listener, req.task);
                let answer = aloud(&candidate.provider, ctx, &req, &mut speech).await;
                self.spoke |= speech.has_begun();
                answer
            }
        };
        let answer = answer.map_err(Stop::Backend)?;
        if let (Some(estimate), Some(usage), false) = (estimate, answer.usage, answer.cached) {
            // Where the two drift apart, a rule of the catalog has gone stale.
            let (request, model) = (&*ctx.request_id, candidate.name());
            debug!(request, model, estimated = estimate.input_tokens, reported = usage.input_tokens, "input tokens");
        }
        Ok(Outcome { index, ready, answer, estimate })
    }

    /// The pictures as this candidate should see them.
    pub(super) async fn fit(&self, ctx: &CallCtx, candidate: &Candidate) -> Result<Vec<Ready>, Stop> {
        let limits = &candidate.card.limits;
        let pictures = &self.opened.pictures;
        // Documents go as they are; images share what is left.
        let (images, documents): (Vec<&Picture>, Vec<&Picture>) = pictures.iter().partition(|it| it.size().is_some());
        let taken: usize = documents.iter().map(|document| document.bytes()).sum();
        let left = limits.max_total_bytes.checked_sub(taken).ok_or_else(|| {
            let message = format!(
                "the documents have {taken} bytes together: {} takes {}",
                candidate.name(),
                limits.max_total_bytes
            );
            Stop::Fit(Failure::new(Code::ImageTooLarge, message).advise("ask about fewer documents at once"))
        })?;
        let wish = Wish {
            card: candidate.card.clone(),
            max_bytes: limits.max_bytes.min(left / images.len().max(1)),
            detail: self.ask.detail,
            region: self.ask.region,
        };
        let pictures = self.opened.pictures.iter();
        let fitting = pictures.map(|picture| self.gateway.intake.fit(picture, wish.clone(), ctx.deadline));
        try_join_all(fitting).await.map_err(|failure| match failure.code {
            Code::ImageTooLarge | Code::Overloaded | Code::CapabilityMissing => Stop::Fit(failure),
            _ => Stop::Input(failure),
        })
    }

    pub(super) fn request(&self, candidate: &Candidate, ready: &[Ready]) -> VisionRequest {
        let mut sampling = self.ask.sampling.clone();
        sampling.max_output_tokens.get_or_insert(self.gateway.settings.max_output_tokens);
        let own = self.ask.system.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let system = own.map_or_else(|| tasks::STANDING.to_owned(), |own| format!("{}\n\n{own}", tasks::STANDING));
        let pictures = ready.iter().map(Ready::part).collect();
        VisionRequest {
            model: candidate.model.clone(),
            task: self.opened.question.task,
            system: Some(system),
            messages: vec![Message::question(pictures, self.opened.question.prompt.clone())],
            output: self.opened.question.output.clone(),
            detail: self.ask.detail,
            sampling,
        }
    }

    /// Whether another candidate may be asked after such an error. What the caller got wrong, and what a model
    /// refused, is not carried around until somebody takes it.
    fn moves_on(&self, kind: ErrorKind) -> bool {
        match kind {
            ErrorKind::InvalidRequest
            | ErrorKind::TooLarge
            | ErrorKind::Corrupt
            | ErrorKind::Refused
            | ErrorKind::Truncated => false,
            ErrorKind::UnknownModel => self.ask.model.is_none(),
            _ => true,
        }
    }

    fn note(&mut self, candidate: &Candidate, tries: &[Try], outcome: &'static str, began: Instant) {
        let model = candidate.name();
        if tries.is_empty() {
            self.attempts.push(Attempt { model, outcome, latency: began.elapsed() });
            return;
        }
        self.retried += tries.len() - 1;
        self.attempts.extend(tries.iter().map(|one| Attempt {
            model: model.clone(),
            // A call may have been answered, and its answer found wanting.
            outcome: one.error.map_or(outcome, ErrorKind::name),
            latency: one.latency,
        }));
    }
}

/// Asks, and passes on what is said.
async fn aloud(
    provider: &Provider,
    ctx: &CallCtx,
    req: &VisionRequest,
    speech: &mut Speech<'_>,
) -> Result<Answer, Error> {
    let mut stream = provider.stream(ctx, req).await?;
    while let Some(chunk) = stream.next().await {
        match chunk? {
            Chunk::Delta(text) => speech.say(&text, ctx.deadline).await,
            Chunk::End(answer) => {
                speech.end(ctx.deadline).await;
                return Ok(*answer);
            }
        }
    }
    Err(Error::new(ErrorKind::Internal, "the answer broke off inside this program"))
}

/// Why a candidate did not answer.
pub(super) enum Stop {
    /// The images cannot be used: nobody else could either.
    Input(Failure),
    /// The images cannot be made to fit this model, or not in the time it was given.
    Fit(Failure),
    Backend(Error),
}

/// Leaves a quarter of the time that remains to those who come after.
fn share_of_time(deadline: Instant, candidates_left: usize) -> Instant {
    if candidates_left == 1 {
        return deadline;
    }
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) * 3 / 4
}

/// The error of the first candidate, with what became of the others, and who was not asked for want of a key.
fn summed_up(failures: Vec<(String, Failure)>, skipped: &[Skipped]) -> Failure {
    let mut failures = failures.into_iter();
    let Some((name, mut first)) = failures.next() else {
        return Failure::new(Code::Internal, "no candidate was asked");
    };
    first.message = format!("{name}: {}", first.message);
    for (name, other) in failures {
        first.message = format!("{}; then {name}: {}", first.message, other.message);
    }
    for keyless in skipped.iter().filter(|skipped| matches!(skipped.reason, Reason::NoKey(_))) {
        first.message = format!("{}; {}", first.message, keyless.warning());
    }
    first.message = clean::text(&first.message);
    first
}
