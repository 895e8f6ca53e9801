//! Pictures that callers sent ahead, each under a handle that cannot be guessed and that only its sender can use.
//!
//! They live in memory, for a while and within a bound. When that is reached, whoever has the most loses the oldest, so
//! that nobody pushes out everybody else's.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use vision_providers::request::Caller;

use super::Picture;
use crate::failure::{Code, Failure, Result};

/// What every handle begins with.
pub const PREFIX: &str = "img_";
/// What the address of a handle's resource begins with.
pub const RESOURCE: &str = "vision://images/";
/// Random bytes of a handle.
const RANDOM: usize = 18;
/// Pictures that are kept at once: each counts as at least so small a part of the room, so that whoever keeps many small
/// ones has the most as well.
const MOST: u64 = 10_000;
/// What a picture takes besides its bytes, about.
const OVERHEAD: u64 = 1024;

/// How much to keep, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Encoded bytes of all pictures together.
    pub capacity: u64,
    pub ttl: Duration,
}

/// A picture that was sent ahead.
#[derive(Debug, Clone)]
pub struct Upload {
    pub handle: String,
    pub picture: Picture,
    /// When it is forgotten.
    pub expires: Instant,
    caller: Caller,
    /// What it takes of the room.
    size: u64,
}

/// The pictures that were sent ahead.
pub struct Uploads {
    settings: Settings,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The oldest first.
    uploads: BTreeMap<u64, Upload>,
    places: HashMap<String, u64>,
    /// What came with a call and is no picture, for as long as the call lasts.
    unusable: HashMap<String, (Caller, Failure)>,
    held: HashMap<Caller, Held>,
    next: u64,
    bytes: u64,
}

/// What one caller has.
#[derive(Default)]
struct Held {
    bytes: u64,
    /// The oldest first.
    places: BTreeSet<u64>,
}

impl Uploads {
    /// With nothing in it.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, kept: Mutex::default() }
    }

    /// Keeps a picture for its sender.
    ///
    /// # Errors
    /// `IMAGE_TOO_LARGE` when it alone is more than is kept, `INTERNAL` when the system has no randomness.
    pub fn keep(&self, picture: Picture, caller: &Caller) -> Result<Upload> {
        let size = picture.bytes() as u64 + OVERHEAD.max(self.settings.capacity / MOST);
        if size > self.settings.capacity {
            let failure = Failure::new(Code::ImageTooLarge, "the image is larger than all uploads may be together");
            return Err(failure.advise("pass its URL instead, or ask the operator to raise `uploads.capacity`"));
        }
        let expires = Instant::now() + self.settings.ttl;
        let upload = Upload { handle: handle()?, picture, expires, caller: caller.clone(), size };
        let mut kept = self.kept();
        while kept.bytes + size > self.settings.capacity {
            kept.drop_one();
        }
        kept.add(upload.clone());
        Ok(upload)
    }

    /// Keeps a picture for as long as a call lasts.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub fn lend(self: &Arc<Self>, picture: Picture, caller: &Caller) -> Result<Lent> {
        let handle = self.keep(picture, caller)?.handle;
        Ok(Lent { uploads: Arc::clone(self), handle })
    }

    /// Gives what came with a call a handle although it is no picture, so that the call can tell why.
    ///
    /// # Errors
    /// `INTERNAL` when the system has no randomness.
    pub fn lend_unusable(self: &Arc<Self>, why: Failure, caller: &Caller) -> Result<Lent> {
        let handle = handle()?;
        self.kept().unusable.insert(handle.clone(), (caller.clone(), why));
        Ok(Lent { uploads: Arc::clone(self), handle })
    }

    /// Why what was lent under a handle is no picture; `None` when it is one.
    #[must_use]
    pub fn why_unusable(&self, handle: &str, caller: &Caller) -> Option<Failure> {
        let kept = self.kept();
        kept.unusable.get(handle).filter(|(sender, _)| sender == caller).map(|(_, why)| why.clone())
    }

    /// The picture under a handle, for whoever sent it.
    ///
    /// # Errors
    /// `INVALID_INPUT`, in the same words for a handle that is unknown, forgotten or somebody else's.
    pub fn get(&self, handle: &str, caller: &Caller) -> Result<Upload> {
        let kept = self.kept();
        let upload = kept.places.get(handle).and_then(|place| kept.uploads.get(place));
        upload.filter(|upload| upload.caller == *caller).cloned().ok_or_else(|| {
            let shown: String = handle.chars().take(40).collect();
            Failure::invalid(format!("there is no upload {shown}: it has expired, was pushed out, or is not yours"))
                .advise("upload the image again with POST /v1/images, and use the handle that it answers")
        })
    }

    /// What a caller has sent, the latest first.
    #[must_use]
    pub fn of(&self, caller: &Caller) -> Vec<Upload> {
        let kept = self.kept();
        let places = kept.held.get(caller).into_iter().flat_map(|held| held.places.iter().rev());
        places.filter_map(|place| kept.uploads.get(place).cloned()).collect()
    }

    /// What is kept, without what has expired.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // All live equally long, so the oldest is the first to go.
        while let Some(place) = kept.uploads.first_key_value().filter(|(_, it)| it.expires <= now).map(|(at, _)| *at) {
            kept.remove(place);
        }
        kept
    }
}

/// A picture that is kept for one call, and forgotten after it.
#[derive(Debug)]
pub struct Lent {
    uploads: Arc<Uploads>,
    handle: String,
}

impl Lent {
    /// The handle under which the call can name it.
    #[must_use]
    pub fn handle(&self) -> &str {
        &self.handle
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = self.uploads.kept();
        kept.unusable.remove(&self.handle);
        if let Some(place) = kept.places.get(&self.handle).copied() {
            kept.remove(place);
        }
    }
}

impl Kept {
    fn add(&mut self, upload: Upload) {
        self.bytes += upload.size;
        let held = self.held.entry(upload.caller.clone()).or_default();
        held.bytes += upload.size;
        held.places.insert(self.next);
        self.places.insert(upload.handle.clone(), self.next);
        self.uploads.insert(self.next, upload);
        self.next += 1;
    }

    fn remove(&mut self, place: u64) {
        if let Some(upload) = self.uploads.remove(&place) {
            self.places.remove(&upload.handle);
            self.bytes -= upload.size;
            if let Entry::Occupied(mut held) = self.held.entry(upload.caller) {
                held.get_mut().bytes -= upload.size;
                held.get_mut().places.remove(&place);
                if held.get().places.is_empty() {
                    held.remove();
                }
            }
        }
    }

    /// Drops the oldest upload of whoever has the most.
    fn drop_one(&mut self) {
        let most = self.held.values().max_by_key(|held| held.bytes);
        match most.and_then(|held| held.places.first().copied()) {
            Some(place) => self.remove(place),
            None => self.bytes = 0,
        }
    }
}

impl fmt::Debug for Uploads {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        write!(out, "Uploads({} of {} bytes)", kept.uploads.len(), kept.bytes)
    }
}

fn handle() -> Result<String> {
    let mut random = [0; RANDOM];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(Code::Internal, format!("taking randomness from the system: {error}")))?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Content;
    use super::*;

    fn picture(bytes: usize) -> Picture {
        Picture { source: "upload", bytes: Bytes::from(vec![0; bytes]), content: Content::Document, notes: Vec::new() }
    }

    #[test]
    fn who_keeps_very_many_small_ones_loses_them_before_somebodys_large_one() {
        let (many, one) = (Caller::named("many".into()), Caller::named("one".into()));
        let uploads = Uploads::new(Settings { capacity: 40 << 20, ttl: Duration::from_mins(1) });
        let large = uploads.keep(picture(15 << 20), &one).expect("kept");
        let first = uploads.keep(picture(70), &many).expect("kept");
        for _ in 0..12_000 {
            uploads.keep(picture(70), &many).expect("kept");
        }
        assert!(uploads.get(&large.handle, &one).is_ok() && uploads.get(&first.handle, &many).is_err());
        let kept = uploads.of(&many).len();
        assert!((4_000..10_000).contains(&kept), "{kept}");
    }
}
