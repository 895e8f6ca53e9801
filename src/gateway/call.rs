//! A request on its way through the candidates of its plan: fitted anew for each, asked of one after the other until one
//! answers, with an account of what became of all.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use tokio::time::{Instant, timeout};
use tracing::debug;
use vision_providers::answer::{Answer, AnswerStream, Chunk, Try};
use vision_providers::error::{Error, ErrorKind};
use vision_providers::estimate::Estimate;
use vision_providers::price::MicroUsd;
use vision_providers::request::{CallCtx, Message, Part, VisionRequest};

use super::{Ask, Gateway, Opened, Said, wanted};
use crate::clean;
use crate::failure::{Code, Failure, Result, Spent};
use crate::intake::fit::Wish;
use crate::intake::{Picture, Ready};
use crate::metrics::Stage;
use crate::reply::{Attempt, Outcome};
use crate::router::plan::{Reason, Skipped};
use crate::router::roster::Candidate;
use crate::speech::{Audience, Speech};

/// A request on its way through the candidates.
pub(super) struct Call<'a> {
    gateway: &'a Gateway,
    ask: &'a Ask,
    opened: &'a Opened,
    audience: Audience<'a>,
    /// Calls that were made once more.
    retried: usize,
    failures: Vec<(String, Failure)>,
    pub(super) attempts: Vec<Attempt>,
    /// What was billed for answers of no use, as far as prices are known.
    pub(super) lost: MicroUsd,
    /// What calls that were cut off are likely to have cost: their vendors may bill them.
    pub(super) cut: MicroUsd,
}

impl<'a> Call<'a> {
    pub(super) fn new(gateway: &'a Gateway, ask: &'a Ask, opened: &'a Opened, audience: Audience<'a>) -> Self {
        let (attempts, failures, lost) = (Vec::new(), Vec::new(), MicroUsd::default());
        Self { gateway, ask, opened, audience, retried: 0, failures, attempts, lost, cut: MicroUsd::default() }
    }

    /// What was paid although nobody answered.
    pub(super) fn spent(&self) -> Option<Spent> {
        let cost = MicroUsd(self.lost.0.saturating_add(self.cut.0));
        (cost > MicroUsd::default()).then_some(Spent { cost, is_estimate: self.cut > MicroUsd::default() })
    }

    fn candidate(&self, index: usize) -> &'a Candidate {
        &self.opened.plan.candidates[index]
    }
}

/// What became of asking two candidates at once.
struct Race {
    /// Who came to an end, in this order: which, when it began, and how it ended.
    ended: Vec<(usize, Instant, Result<Begun, Stop>)>,
    /// Who was left when the other one answered, and when it began.
    left: Option<(usize, Instant)>,
}

/// A candidate that has answered, or has begun to.
struct Begun {
    ready: Vec<Ready>,
    estimate: Option<Estimate>,
    said: Speaking,
}

enum Speaking {
    Whole(Box<Answer>),
    Beginning(AnswerStream),
}

impl Call<'_> {
    /// Tries the candidates in turn, or two of them at once where the plan says so.
    pub(super) async fn first_answer(&mut self) -> Result<Outcome> {
        let mut next = 0;
        if let Some(after) = self.opened.plan.hedge {
            let Race { ended, left } = self.race(after).await;
            let is_saved = ended.iter().any(|(.., first_words)| first_words.is_ok());
            for (index, began, first_words) in ended {
                next = next.max(index + 1);
                let outcome = self.finished(index, first_words).await;
                match self.settle(index, began, outcome) {
                    Ok(Some(outcome)) => return Ok(self.leaving(outcome, left)),
                    Err(failure) if !is_saved => return Err(failure),
                    Err(_) | Ok(None) => {}
                }
            }
        }
        for index in next..self.opened.plan.candidates.len() {
            let began = Instant::now();
            let first_words = self.begin(index).await;
            let outcome = self.finished(index, first_words).await;
            if let Some(outcome) = self.settle(index, began, outcome)? {
                return Ok(outcome);
            }
        }
        Err(self.summed_up())
    }

    /// Asks the first, and the second as well when the first takes longer than it usually does.
    async fn race(&self, after: Duration) -> Race {
        let began = Instant::now();
        let first = self.begin(0);
        tokio::pin!(first);
        if let Ok(outcome) = timeout(after, &mut first).await {
            return Race { ended: vec![(0, began, outcome)], left: None };
        }
        let later = Instant::now();
        let second = self.begin(1);
        tokio::pin!(second);
        let ((index, outcome), other) = tokio::select! {
            outcome = &mut first => ((0, outcome), 1),
            outcome = &mut second => ((1, outcome), 0),
        };
        let times = [began, later];
        if outcome.is_ok() {
            return Race { ended: vec![(index, times[index], outcome)], left: Some((other, times[other])) };
        }
        let last = if other == 0 { first.await } else { second.await };
        Race { ended: vec![(index, times[index], outcome), (other, times[other], last)], left: None }
    }

    /// Notes that somebody was left when another one answered.
    fn leaving(&mut self, outcome: Outcome, left: Option<(usize, Instant)>) -> Outcome {
        let Some((index, began)) = left else { return outcome };
        self.note(self.candidate(index), &[], "cancelled", began);
        Outcome { overtaken: Some(index), ..outcome }
    }

    /// Takes down how a candidate ended. `None` when somebody else may be asked.
    fn settle(&mut self, index: usize, began: Instant, outcome: Result<Outcome, Stop>) -> Result<Option<Outcome>> {
        let candidate = self.candidate(index);
        let stop = match outcome {
            Ok(outcome) => {
                let answer = &outcome.answer;
                self.count_cut(candidate, cut_off(&answer.tries));
                self.note(candidate, &answer.tries, if answer.cached { "cached" } else { "ok" }, began);
                return Ok(Some(outcome));
            }
            Err(stop) => stop,
        };
        let is_final = self.is_final(candidate, &stop);
        match stop {
            Stop::Input(failure) => return Err(failure),
            Stop::Fit(failure) => {
                self.note(candidate, &[], "does_not_fit", began);
                self.failures.push((candidate.name(), failure));
            }
            Stop::Backend(error) | Stop::Spoken(error) => {
                self.note(candidate, error.tries(), error.kind().name(), began);
                self.account_for(candidate, &error);
                self.failures.push((candidate.name(), error.into()));
            }
        }
        if is_final { Err(self.summed_up()) } else { Ok(None) }
    }

    /// Adds what was paid to a candidate that failed.
    fn account_for(&mut self, candidate: &Candidate, error: &Error) {
        let price = candidate.card.price;
        let costs = error.spent().iter().filter_map(|usage| usage.billed.or_else(|| Some(price?.of(usage))));
        let lost = MicroUsd(costs.map(|cost| cost.0).sum());
        self.lost.0 += lost.0;
        self.gateway.metrics.cost(candidate.provider.id(), lost);
        let cut = cut_off(error.tries());
        // Whoever waits for an answer may give up before the account of its tries is there; and what is no answer of the
        // dialect was one to somebody.
        let is_one = match error.kind() {
            ErrorKind::TimedOut => true,
            kind => (kind == ErrorKind::Garbled || error.is_maybe_billed()) && error.spent().is_empty(),
        };
        self.count_cut(candidate, if is_one { cut.max(1) } else { cut });
    }

    /// Adds what so many calls of a candidate are likely to cost that were cut off.
    fn count_cut(&mut self, candidate: &Candidate, calls: usize) {
        if calls > 0 {
            let outline = self.opened.outline.fitted(&candidate.card);
            let likely = Estimate::from_outline(&outline, &candidate.card).and_then(|estimate| estimate.likely);
            self.cut.0 += likely.unwrap_or_default().0.saturating_mul(calls as u64);
        }
    }

    /// What of the time and of the retries one candidate gets, so that those who come after it get something too.
    fn share(&self, index: usize) -> CallCtx {
        let ctx = &self.opened.ctx;
        let left = ctx.retries.saturating_sub(u32::try_from(self.retried).unwrap_or(u32::MAX));
        let candidates_left = self.opened.plan.candidates.len() - index;
        let last = candidates_left == 1;
        let deadline = share_of_time(ctx.deadline, candidates_left);
        CallCtx { retries: if last { left } else { left.min(1) }, last, ..ctx.until(deadline) }
    }

    /// Asks a candidate, until it has answered or begun to.
    async fn begin(&self, index: usize) -> Result<Begun, Stop> {
        let (ctx, candidate) = (self.share(index), self.candidate(index));
        let ready = self.fit(&ctx, candidate).await?;
        let req = self.request(candidate, &ready);
        let estimate = Estimate::of(&req, &candidate.card);
        let said = match self.audience {
            Audience::Nobody => {
                candidate.provider.complete(&ctx, &req).await.map(|answer| Speaking::Whole(Box::new(answer)))
            }
            _ => candidate.provider.stream(&ctx, &req).await.map(Speaking::Beginning),
        };
        Ok(Begun { ready, estimate, said: said.map_err(Stop::Backend)? })
    }

    /// Hears out a candidate that has begun to answer.
    async fn finished(&self, index: usize, begun: Result<Begun, Stop>) -> Result<Outcome, Stop> {
        let Begun { ready, estimate, said } = begun?;
        let answer = match (said, self.audience) {
            (Speaking::Whole(answer), _) => *answer,
            (Speaking::Beginning(stream), Audience::Listener(listener) | Audience::Onlooker(listener)) => {
                // What one candidate left half said is nothing to the next.
                let mut speech = Speech::new(listener, self.opened.question.task);
                let heard = aloud(stream, &mut speech, self.opened.ctx.deadline).await;
                let is_heard = matches!(self.audience, Audience::Listener(_)) && speech.has_begun();
                heard.map_err(|error| if is_heard { Stop::Spoken(error) } else { Stop::Backend(error) })?
            }
            (Speaking::Beginning(_), Audience::Nobody) => return Err(Stop::Backend(broken_off())),
        };
        if let (Some(estimate), Some(usage), false) = (estimate, answer.usage, answer.cached) {
            // Where the two drift apart, a rule of the catalog has gone stale.
            let (request, model) = (&*self.opened.ctx.request_id, self.candidate(index).name());
            debug!(request, model, estimated = estimate.input_tokens, reported = usage.input_tokens, "input tokens");
        }
        Ok(Outcome { index, overtaken: None, ready, answer, estimate })
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
        let began = Instant::now();
        let pictures = self.opened.pictures.iter();
        let fitting = pictures.map(|picture| self.gateway.intake.fit(picture, wish.clone(), ctx.deadline));
        let fitted = try_join_all(fitting).await;
        self.gateway.metrics.stage(Stage::Fit, began.elapsed());
        fitted.map_err(|failure| match failure.code {
            Code::ImageTooLarge | Code::Overloaded | Code::CapabilityMissing => Stop::Fit(failure),
            _ => Stop::Input(failure),
        })
    }

    pub(super) fn request(&self, candidate: &Candidate, ready: &[Ready]) -> VisionRequest {
        VisionRequest {
            model: candidate.model.clone(),
            task: self.opened.question.task,
            system: wanted::system(self.ask),
            messages: self.messages(ready),
            output: self.opened.question.output.clone(),
            detail: self.ask.detail,
            sampling: wanted::sampling(self.ask, &self.gateway.settings),
        }
    }

    fn messages(&self, ready: &[Ready]) -> Vec<Message> {
        let mut pictures = ready.iter().map(Ready::part);
        if !self.ask.is_conversation() {
            return vec![Message::question(pictures.collect(), self.opened.question.prompt.clone())];
        }
        // The pictures come in the order in which the conversation names them.
        let mut part = |said: &Said| match said {
            Said::Text(text) => Some(Part::Text(text.clone())),
            Said::Picture(_) => pictures.next(),
        };
        let turns = self.ask.conversation.iter();
        turns.map(|turn| Message { role: turn.role, parts: turn.said.iter().filter_map(&mut part).collect() }).collect()
    }

    /// Whether nobody else is asked after this. What the caller got wrong, and what a model refused, is not carried
    /// around until somebody takes it; and nobody continues what another one has begun to say.
    fn is_final(&self, candidate: &Candidate, stop: &Stop) -> bool {
        match stop {
            Stop::Input(_) | Stop::Spoken(_) => true,
            Stop::Fit(_) => false,
            Stop::Backend(error) => match error.kind() {
                ErrorKind::InvalidRequest
                | ErrorKind::TooLarge
                | ErrorKind::Corrupt
                | ErrorKind::Refused
                | ErrorKind::Truncated => true,
                // Whoever names a model that its vendor does not know should learn of it.
                ErrorKind::UnknownModel => self.opened.plan.named == Some(candidate.name()),
                _ => false,
            },
        }
    }

    fn summed_up(&mut self) -> Failure {
        summed_up(std::mem::take(&mut self.failures), &self.opened.plan.skipped)
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

/// How many of these calls ended without an answer because the time was over.
fn cut_off(tries: &[Try]) -> usize {
    tries.iter().filter(|one| one.error == Some(ErrorKind::TimedOut)).count()
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
        // Whoever is ready first is worth asking again.
        first.retryable |= other.retryable;
        first.maybe_billed |= other.maybe_billed;
        first.retry_after = [first.retry_after, other.retry_after].into_iter().flatten().min();
    }
    for passed_over in skipped.iter().filter(|skipped| !matches!(skipped.reason, Reason::Unable(_))) {
        first.message = format!("{}; {}", first.message, passed_over.warning());
    }
    first.message = clean::text(&first.message);
    first
}

/// Passes on what is said.
async fn aloud(mut stream: AnswerStream, speech: &mut Speech<'_>, deadline: Instant) -> Result<Answer, Error> {
    while let Some(chunk) = stream.next().await {
        match chunk? {
            Chunk::Delta(text) => speech.say(&text, deadline).await,
            Chunk::End(answer) => {
                speech.end(deadline).await;
                return Ok(*answer);
            }
        }
    }
    Err(broken_off())
}

fn broken_off() -> Error {
    Error::new(ErrorKind::Internal, "the answer broke off inside this program")
}

/// Why a candidate did not answer.
pub(super) enum Stop {
    /// The images cannot be used: nobody else could either.
    Input(Failure),
    /// The images cannot be made to fit this model, or not in the time it was given.
    Fit(Failure),
    Backend(Error),
    /// The same, after something was passed on to the caller.
    Spoken(Error),
}

/// Leaves a quarter of the time that remains to those who come after.
fn share_of_time(deadline: Instant, candidates_left: usize) -> Instant {
    if candidates_left == 1 {
        return deadline;
    }
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) * 3 / 4
}
