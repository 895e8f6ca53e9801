//! Questions about the same bytes are asked once: the first asks, the others wait for what it is told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::Known;
use super::journal::Place;

/// What makes two questions the same: what is asked, and the bytes that it is asked about.
pub(super) type Digest = [u8; 32];

/// Questions that are being asked or were answered.
#[derive(Debug, Default)]
pub(super) struct Twins(Mutex<HashMap<Digest, watch::Receiver<Option<Place>>>>);

/// What there is for a question.
pub(super) enum Found {
    /// Nobody has asked it. Whoever does says where its answer is written.
    Nothing(watch::Sender<Option<Place>>),
    /// Somebody asks or has asked.
    Asked(watch::Receiver<Option<Place>>),
}

impl Twins {
    /// The answers of earlier parts of a run.
    pub(super) fn of(answered: Vec<Known>) -> Self {
        let known = answered.into_iter().map(|known| (known.digest, watch::channel(Some(known.place)).1));
        Self(Mutex::new(known.collect()))
    }

    pub(super) fn find(&self, digest: Digest) -> Found {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.entry(digest) {
            Entry::Occupied(there) => Found::Asked(there.get().clone()),
            Entry::Vacant(free) => {
                let (sender, receiver) = watch::channel(None);
                free.insert(receiver);
                Found::Nothing(sender)
            }
        }
    }
}

/// Where the answer is written; `None` when whoever asked has left without one.
pub(super) async fn written(mut asked: watch::Receiver<Option<Place>>) -> Option<Place> {
    let place = asked.wait_for(Option::is_some).await.ok()?;
    *place
}
