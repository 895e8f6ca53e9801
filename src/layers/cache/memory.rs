//! What is remembered: answers of this program in memory, and behind it those on the disk. The youngest stay.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use vision_providers::answer::{Answer, Finish};

use super::key::Key;
use crate::store::disk::Disk;

/// How much to remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of answers, about.
    pub capacity: u64,
    pub ttl: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { capacity: 256 << 20, ttl: Duration::from_hours(24) }
    }
}

/// Nothing is remembered for longer; moka panics beyond a thousand years.
pub const LONGEST: Duration = Duration::from_hours(24 * 365);

/// The memory that the cached providers of one gateway share, and the disk behind it. Clones share it.
#[derive(Clone)]
pub struct Memory {
    pub(super) recent: Cache<Key, Arc<Answer>>,
    disk: Option<Disk>,
}

impl Memory {
    /// A memory with nothing in it but what the disk still holds.
    #[must_use]
    pub fn new(settings: Settings, disk: Option<Disk>) -> Self {
        let weight = |_: &Key, answer: &Arc<Answer>| {
            let blocks: usize = answer.blocks.iter().map(|block| block.text.len() + size_of_val(block)).sum();
            u32::try_from(answer.text.len() + blocks + 512).unwrap_or(u32::MAX)
        };
        let recent = Cache::builder().max_capacity(settings.capacity).time_to_live(settings.ttl.min(LONGEST));
        Self { recent: recent.weigher(weight).build(), disk }
    }

    /// Tidies up what lies on the disk, some time soon.
    pub fn tidy(&self) {
        if let Some(disk) = &self.disk {
            disk.tidy();
        }
    }

    /// What was remembered, here or by another process. What the disk knows is not taken over: it would live twice as
    /// long.
    pub(super) async fn recall(&self, key: &Key) -> Option<Answer> {
        if let Some(answer) = self.recent.get(key).await {
            return Some(remembered(&answer));
        }
        self.disk.as_ref()?.get(key).await
    }

    pub(super) async fn remember(&self, key: Key, answer: &Answer) {
        if let Some(disk) = &self.disk {
            disk.put(key, answer);
        }
        self.recent.insert(key, Arc::new(answer.clone())).await;
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Memory({} answers, {:?})", self.recent.entry_count(), self.disk)
    }
}

/// The same answer, for whom it costs nothing.
pub(super) fn remembered(answer: &Answer) -> Answer {
    Answer { cached: true, tries: Vec::new(), waited: Duration::ZERO, allowance: None, ..answer.clone() }
}

/// Whether it is complete, and ended by itself.
pub(super) fn is_worth_remembering(answer: &Answer) -> bool {
    answer.finish == Finish::Stop && !answer.partial
}
