//! Many questions in one request: so many at once, each with an outcome of its own, and an end to the time they take.

use futures_util::stream::{Stream, StreamExt as _, iter};
use tokio::time::Instant;

use crate::failure::{Code, Failure, Result};
use crate::gateway::{Ask, Asker, Gateway};
use crate::reply::Reply;

/// Questions in one request.
pub const MOST_ITEMS: usize = 100;
/// Questions asked at once. What a provider takes at once is its own matter.
const AT_ONCE: usize = 8;
const AGAIN: &str = "ask for this item again, with fewer others";

/// Asks all of these; outcomes come as they are there, each with the place of its question.
///
/// Nobody is asked after `deadline`, and what has no answer by then is a timeout. Whoever asks for it again gets what was
/// answered from memory.
pub fn answers<'a>(
    gateway: &'a Gateway,
    asks: &'a [Ask],
    asker: &'a Asker,
    deadline: Instant,
) -> impl Stream<Item = (usize, Result<Reply>)> + 'a {
    let asking = iter(asks.iter().enumerate()).map(move |(index, ask)| async move {
        if Instant::now() >= deadline {
            return (index, Err(late()));
        }
        let outcome = gateway.ask_until(ask, asker, deadline).await;
        let is_late = |failure: &Failure| failure.code == Code::UpstreamTimeout && Instant::now() >= deadline;
        let again = |failure: Failure| if is_late(&failure) { failure.advise(AGAIN) } else { failure };
        (index, outcome.map_err(again))
    });
    asking.buffer_unordered(AT_ONCE)
}

fn late() -> Failure {
    Failure::new(Code::UpstreamTimeout, "the time for the whole batch was over before this item was asked about")
        .retryable()
        .advise(AGAIN)
}

/// Whether so many questions can be asked in one request.
///
/// # Errors
/// `INVALID_INPUT` for none and for too many.
pub fn check(count: usize) -> Result<()> {
    if count == 0 {
        return Err(Failure::invalid("the batch has no items"));
    }
    if count > MOST_ITEMS {
        let message = format!("the batch has {count} items: at most {MOST_ITEMS} are taken at once");
        return Err(Failure::invalid(message).advise("split it"));
    }
    Ok(())
}
