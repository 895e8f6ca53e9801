//! The gateway that is in service, and its replacement when the configuration changes.
//!
//! A configuration is read, checked and built before anything is swapped: one that is broken changes nothing and says so.
//! Requests keep the gateway that they began with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::access::Access;
use crate::assemble::Workshop;
use crate::config::{self, Config, Fault, Loaded};
use crate::gateway::Gateway;
use crate::metrics::{Metrics, Reload};
use crate::supervisor::Supervisor;

/// How often the file is looked at. It is read when it has stayed the same for one look, so that nobody reads half of
/// what is still being written.
const LOOK: Duration = Duration::from_millis(400);

/// A gateway and the configuration that it was built from.
#[derive(Debug)]
pub struct Running {
    pub gateway: Gateway,
    /// Whom HTTP lets in.
    pub access: Access,
    pub loaded: Loaded,
}

impl Running {
    /// What the operator wants.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.loaded.config
    }
}

/// The gateway in service.
#[derive(Debug)]
pub struct Live {
    /// The file that was named on the command line.
    named: Option<PathBuf>,
    workshop: Workshop,
    running: ArcSwap<Running>,
    /// One at a time, so that an older file cannot win over a newer one.
    reloading: Mutex<()>,
}

impl Live {
    /// Builds the first gateway.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn start(named: Option<PathBuf>, loaded: Loaded, supervisor: Supervisor) -> Result<Self, Vec<Fault>> {
        let workshop = Workshop::new(supervisor);
        let (gateway, access) = workshop.build(&loaded)?;
        Ok(Self::with(named, workshop, Running { gateway, access, loaded }))
    }

    /// With a gateway that was put together elsewhere.
    #[must_use]
    pub fn with(named: Option<PathBuf>, workshop: Workshop, running: Running) -> Self {
        Self { named, workshop, running: ArcSwap::from_pointee(running), reloading: Mutex::default() }
    }

    /// The gateway for a request that begins now.
    #[must_use]
    pub fn now(&self) -> Arc<Running> {
        self.running.load_full()
    }

    /// What is counted, whichever gateway is in service.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.workshop.metrics
    }

    /// Reads the configuration anew, and puts what it describes into service. Blocks for some milliseconds.
    ///
    /// # Errors
    /// Everything that is wrong with it; then nothing has changed.
    pub fn reload(&self) -> Result<(), Vec<Fault>> {
        let _alone = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.replacement();
        match &outcome {
            Ok(_) => self.metrics().reload(Reload::Changed),
            Err(_) => self.metrics().reload(Reload::Refused),
        }
        let running = outcome?;
        let unchanged = for_a_restart(self.now().config(), running.config());
        if !unchanged.is_empty() {
            warn!(keys = unchanged.join(", "), "these take a restart");
        }
        self.running.store(Arc::new(running));
        Ok(())
    }

    fn replacement(&self) -> Result<Running, Vec<Fault>> {
        // Without the operator's file the shipped one would hold, which may lead elsewhere.
        if let Some(file) = self.now().loaded.file.as_ref().filter(|file| !file.is_file()) {
            return Err(vec![Fault::of(file, "there is no such file any more")]);
        }
        // A file that was cut to nothing is one that is being written, and no wish for everything as shipped.
        if let Some(file) = self.file()
            && is_blank(&file)
        {
            return Err(vec![Fault::of(&file, "it is empty")]);
        }
        let loaded = config::load(self.named.as_deref())?;
        let (gateway, access) = self.workshop.build(&loaded)?;
        Ok(Running { gateway, access, loaded })
    }

    fn file(&self) -> Option<PathBuf> {
        self.now().loaded.file.clone().or_else(config::user_file)
    }

    /// Reloads, and writes down how that went.
    pub async fn reload_and_tell(self: &Arc<Self>) {
        let live = Arc::clone(self);
        match tokio::task::spawn_blocking(move || live.reload()).await {
            Ok(Ok(())) => info!("the configuration was read anew"),
            Ok(Err(faults)) => {
                for fault in faults {
                    error!(%fault, "the configuration stays as it was");
                }
            }
            Err(_) => error!("reading the configuration anew met a fault of the program"),
        }
    }

    /// Watches the file, and reloads when it changes. Never ends.
    pub async fn watch(self: Arc<Self>) {
        let mut known = self.look().await;
        let mut last = known.clone();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let seen = self.look().await;
            if seen != known && seen == last {
                known = seen.clone();
                self.reload_and_tell().await;
            }
            last = seen;
        }
    }

    /// How the configuration looks from outside, and the files in which keys stand.
    async fn look(&self) -> Vec<Option<Appearance>> {
        let mut seen = Vec::new();
        for file in self.file().into_iter().chain(config::key_files(self.now().config())) {
            seen.push(tokio::fs::metadata(file).await.ok().map(|metadata| Appearance::of(&metadata)));
        }
        seen
    }
}

/// What can be seen of a file without reading it. Links are followed, as systems swap whole folders behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Appearance {
    bytes: u64,
    changed: Option<SystemTime>,
    /// Of another file that was put in its place, and looks the same else: which it is, and when that was.
    replaced: (u64, i64),
}

impl Appearance {
    fn of(metadata: &std::fs::Metadata) -> Self {
        #[cfg(unix)]
        let replaced = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.ino(), metadata.ctime_nsec().wrapping_add(metadata.ctime()))
        };
        #[cfg(not(unix))]
        let replaced = (0, 0);
        Self { bytes: metadata.len(), changed: metadata.modified().ok(), replaced }
    }
}

fn is_blank(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| metadata.len() == 0)
}

/// Keys that differ and only count at a start.
fn for_a_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let (was, is) = (&old.server, &new.server);
    let differ = [
        ("server.listen", was.listen != is.listen),
        ("server.max_connections", was.max_connections != is.max_connections),
        ("server.connections_per_address", was.connections_per_address != is.connections_per_address),
        ("server.max_requests", (was.max_requests, was.queue) != (is.max_requests, is.queue)),
        ("server.max_memory", was.max_memory != is.max_memory),
        ("traces", format!("{:?}", old.traces) != format!("{:?}", new.traces)),
        ("log", format!("{:?}", old.log) != format!("{:?}", new.log)),
    ];
    differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}
