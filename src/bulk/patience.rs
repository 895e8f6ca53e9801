//! Patience with backends that have no time: what a run waits for, and what it gives up on.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::failure::{Code, Failure, Result};
use crate::gateway::Look;
use crate::reply::Reply;

/// Waits before a question is asked again that nobody had the time for; longer when a backend says so.
const WAITS: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(40)];
/// Longer nobody waits in all, whatever a backend says.
const LONGEST: Duration = Duration::from_mins(2);
/// A backend that rests because it failed rests for 20 s at most; what rests longer has a wrong key, or no credit.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Asks, and again when nobody had the time and nothing was paid; until the run ends, or nobody hopes for this model any
/// more.
pub(super) async fn patiently(look: &Look<'_>, stop: &CancellationToken, hope: &CancellationToken) -> Result<Reply> {
    let began = Instant::now();
    let mut outcome = look.ask().await;
    for wait in WAITS {
        let Err(failure) = &outcome else { break };
        let wait = failure.retry_after.unwrap_or(wait).max(wait);
        // Asking takes its time, too, when a backend holds everybody back.
        if began.elapsed() + wait > LONGEST {
            break;
        }
        // Money was set aside for asking once.
        if !failure.retryable || !is_busy(failure) || wait > longest(failure) || failure.spent.is_some() {
            break;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = hope.cancelled() => break,
            () = sleep(wait) => outcome = look.ask().await,
        }
    }
    outcome
}

/// Whether other questions would fail in the same way, and for longer than anybody waits. Who had no time for a question
/// in spite of all patience has none for the next.
pub(super) fn is_hopeless(failure: &Failure) -> bool {
    let is_passing = failure.retryable && failure.retry_after.is_none_or(|wait| wait <= longest(failure));
    match failure.code {
        Code::UpstreamAuth | Code::BudgetExceeded | Code::ModelNotFound => !is_passing,
        Code::RateLimited | Code::Overloaded | Code::NoProvider => failure.spent.is_none(),
        _ => false,
    }
}

fn is_busy(failure: &Failure) -> bool {
    matches!(failure.code, Code::RateLimited | Code::Overloaded | Code::NoProvider)
}

/// How long is waited at most after this.
fn longest(failure: &Failure) -> Duration {
    if failure.code == Code::NoProvider { LONGEST_REST } else { LONGEST }
}
