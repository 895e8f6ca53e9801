//! Processor work on images, off the async workers and within bounds on threads and memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::failure::{Code, Failure, Result};

/// Decoded pixels that may exist at once, in KiB.
const MEMORY_KIB: u32 = 512 << 10;
/// What a single image may take; a hostile one is cut off for its caller, while its thread keeps the slot to its end.
const LONGEST: Duration = Duration::from_secs(10);

/// A bounded pool for work on pixels.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    threads: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

impl Workers {
    /// A pool that keeps `threads` processors busy at most.
    #[must_use]
    pub(super) fn new(threads: usize) -> Self {
        let memory = Semaphore::new(MEMORY_KIB as usize);
        Self { threads: Arc::new(Semaphore::new(threads.max(1))), memory: Arc::new(memory) }
    }

    /// Runs a job that will hold about `bytes` of pixels. Dropping the future gives up the answer; a job that has
    /// begun runs to its end and keeps its share of the pool until then.
    ///
    /// # Errors
    /// The job's own; `OVERLOADED` when it was not done by the deadline; `IMAGE_CORRUPT` when the job panicked or
    /// took too long, because only a strange image makes it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        bytes: u64,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let share = u32::try_from(bytes / 1024).unwrap_or(MEMORY_KIB).clamp(1, MEMORY_KIB);
        let waiting = async {
            let memory = Arc::clone(&self.memory).acquire_many_owned(share).await?;
            let thread = Arc::clone(&self.threads).acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>((memory, thread))
        };
        let busy = || {
            let message = "waiting for a processor to prepare the image: too much else is being prepared";
            Failure::new(Code::Overloaded, message).retryable().advise("try again in some seconds")
        };
        let permits = timeout_at(deadline, waiting).await.map_err(|_| busy())?.map_err(|_| busy())?;
        let running = tokio::task::spawn_blocking(move || {
            let done = job();
            drop(permits);
            done
        });
        let cut_off = Instant::now() + LONGEST;
        match timeout_at(deadline.min(cut_off), running).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Failure::new(Code::ImageCorrupt, "decoding the image: it breaks the decoder")),
            Err(_) if deadline < cut_off => Err(busy()),
            Err(_) => Err(Failure::new(Code::ImageCorrupt, "decoding the image: it takes too long")),
        }
    }
}
