//! What a scripted server does with one request: good and bad manners as data, which plays combine.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::Received;

/// What the server does with one request.
#[derive(Debug, Clone)]
pub enum Play {
    /// A complete reply: status, further header lines, body.
    Reply(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes exactly, then the connection closes.
    Raw(Vec<u8>),
    /// A head with these header lines, then these pieces as packets of their own.
    Pieces(Vec<(&'static str, String)>, Vec<Vec<u8>>, Then),
    /// These bytes exactly, one after the other with this pause between them; all at once when there is none.
    Drip(Vec<u8>, Duration, Then),
    /// The first bytes once and the second ones for ever, with this pause between them, until the client leaves.
    Endless(Vec<u8>, Vec<u8>, Duration),
    /// Nothing, until the client leaves.
    Silence,
    /// A head and a first byte, and then nothing until the client leaves.
    Stall,
    /// The connection breaks without a reply.
    Reset,
    /// The play behind it, after a pause.
    Late(Duration, Box<Play>),
    /// The play behind it, and then the connection closes although nothing said that it would.
    Last(Box<Play>),
    /// The play behind it, although the body of the request was not read.
    Unread(Box<Play>),
    /// What is decided when the request is there.
    Decide(Decide),
}

/// What follows the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The reply ends as it should.
    End,
    /// The connection breaks.
    Break,
    /// Nothing, until the client leaves.
    Hang,
}

/// Chooses a play by the request and by how many came before it.
#[derive(Clone)]
pub struct Decide(pub(super) Arc<Choice>);

type Choice = dyn Fn(&Received, usize) -> Play + Send + Sync;

impl fmt::Debug for Decide {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Decide")
    }
}

impl Play {
    /// A stream of server-sent events that ends as it should.
    #[must_use]
    pub fn events(pieces: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        let kind = ("content-type", "text/event-stream".to_owned());
        Self::Pieces(vec![kind], pieces.into_iter().map(Into::into).collect(), Then::End)
    }

    /// A JSON reply.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::Reply(status, Vec::new(), body.to_string().into_bytes())
    }

    /// What this function says of the request, and of how many came before it.
    pub fn decide(choose: impl Fn(&Received, usize) -> Self + Send + Sync + 'static) -> Self {
        Self::Decide(Decide(Arc::new(choose)))
    }

    /// The same reply with a header more.
    #[must_use]
    pub fn header(self, name: &'static str, value: impl Into<String>) -> Self {
        match self {
            Self::Reply(status, mut headers, body) => {
                headers.push((name, value.into()));
                Self::Reply(status, headers, body)
            }
            other => other,
        }
    }

    /// The same play, later.
    #[must_use]
    pub fn after(self, pause: Duration) -> Self {
        Self::Late(pause, Box::new(self))
    }
}
