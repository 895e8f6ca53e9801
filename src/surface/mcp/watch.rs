//! Signs of life for clients that asked for them: that work goes on, and what was said so far.

use std::time::Duration;

use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext, RoleServer};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::speech::Listener;

/// How often a client is told what is new.
const LOOK: Duration = Duration::from_millis(500);
/// Looks after which a client is told that nothing is new: those that extend their patience on progress give up after
/// 60 s without it.
const SILENT_LOOKS: u32 = 4;
/// Characters of what was said that a sign shows: its end, as far as a line holds it.
const SHOWN: usize = 240;
/// Bytes of what was said that are kept for that.
const KEPT: usize = 4096;

/// Somebody who watches a call, if anybody does.
pub(super) struct Watch {
    client: Option<(Peer<RoleServer>, ProgressToken)>,
    heard: mpsc::Receiver<String>,
    said: String,
    is_news: bool,
    looks: Interval,
    silent: u32,
    sent: f64,
}

impl Watch {
    /// For the client of this request, with where to say what is to be shown; nobody listens without a token.
    pub(super) fn new(ctx: &RequestContext<RoleServer>) -> (Self, Option<Listener>) {
        let client = ctx.meta.get_progress_token().map(|token| (ctx.peer.clone(), token));
        let (listener, heard) = mpsc::channel(64);
        let listener = client.is_some().then_some(listener);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        (Self { client, heard, said: String::new(), is_news: false, looks, silent: 0, sent: 0.0 }, listener)
    }

    /// Tells the client how it goes. Never ends.
    pub(super) async fn tell(&mut self) {
        let Some((peer, token)) = self.client.clone() else { return std::future::pending().await };
        self.looks.tick().await;
        loop {
            tokio::select! {
                Some(piece) = self.heard.recv() => self.hear(&piece),
                _ = self.looks.tick() => {
                    self.silent += 1;
                    if self.is_news || self.silent >= SILENT_LOOKS {
                        // A client that does not listen will not be told.
                        let _ = peer.notify_progress(self.sign(&token)).await;
                    }
                }
            }
        }
    }

    fn hear(&mut self, piece: &str) {
        self.said.push_str(piece);
        if self.said.len() > 2 * KEPT {
            self.said.drain(..self.said.ceil_char_boundary(self.said.len() - KEPT));
        }
        self.is_news = true;
    }

    fn sign(&mut self, token: &ProgressToken) -> ProgressNotificationParam {
        (self.silent, self.is_news) = (0, false);
        self.sent += 1.0;
        let message = if self.said.trim().is_empty() { "looking at the image".to_owned() } else { self.shown() };
        ProgressNotificationParam::new(token.clone(), self.sent).with_message(message)
    }

    /// The end of what was said, on one line.
    fn shown(&self) -> String {
        let line = self.said.split_whitespace().collect::<Vec<_>>().join(" ");
        let skipped = line.chars().count().saturating_sub(SHOWN);
        let end: String = line.chars().skip(skipped).collect();
        if skipped > 0 { format!("…{end}") } else { end }
    }
}
