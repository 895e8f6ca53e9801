//! Tokens of an issuer that lives on loopback, good and bad, and the issuer's own good and bad days.

mod days;
mod discovery;
mod door;
mod realm;
mod rotation;
mod signer;
mod tokens;

use std::time::Duration;

use tokio::time::{Instant, advance, pause, resume};
use visiongate::oauth::{Principal, Rejection, Verifier};

/// What the clock says that tokens are held against.
const NOW: u64 = 1_800_000_000;

/// What is said of a token when there is time.
async fn verified(verifier: &Verifier, token: &str) -> Result<Principal, Rejection> {
    verifier.verify(token, Instant::now() + Duration::from_secs(30)).await
}

/// Lets this much time pass at once. Sockets need the clock to run, so it stands still only for that long.
async fn pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
}
