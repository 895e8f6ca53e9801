//! `latest`: the newest image in folders that an operator named, such as the one that screenshots go to.
//!
//! The wrong picture, taken without a word, is the worst that can happen here. So what was taken is said in the answer,
//! a file that is still being written is waited for, and where the newest cannot be told, nothing is taken.

use std::ffi::OsString;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirEntry, File};
use tokio::time::{Instant, sleep};

use super::lookalike::MOST_ENTRIES;
use super::path::{is_hidden, open_in, read_bounded};
use super::sniff::{Sniffed, sniff};
use super::spelling::shown;
use super::{Door, Intake, Picture};
use crate::failure::{Failure, Result};

/// Files that are opened to see whether they are images.
const MOST_CANDIDATES: usize = 20;
/// A file that was changed less than this ago may still be being written.
const SETTLING: Duration = Duration::from_secs(2);
/// How long a file that is being written is waited for, in turns.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(800)];

/// A file, before it is known whether it is an image.
struct Candidate<'a> {
    modified: SystemTime,
    folder: &'a Path,
    name: OsString,
}

/// What a look at the folders came to.
enum Look {
    Found(Found),
    /// The newest file has just been made and is no image yet.
    Unsettled,
}

struct Found {
    path: PathBuf,
    bytes: Vec<u8>,
    age: Duration,
}

impl Intake {
    /// Opens the newest image of the folders that are kept for it, or an older one by its rank.
    pub(super) async fn open_latest(&self, rank: usize, door: Door, deadline: Instant) -> Result<Picture> {
        self.check_latest(door)?;
        let mut pauses = PAUSES.into_iter();
        loop {
            let pause = pauses.next().filter(|pause| Instant::now() + *pause < deadline);
            let (folders, largest) = (self.settings.latest.clone(), self.settings.max_bytes as u64);
            let patience = if pause.is_some() { SETTLING } else { Duration::ZERO };
            let looking = move || look(&folders, rank, largest, patience);
            if let Look::Found(found) = self.workers.run(deadline, 0, looking).await? {
                let age = humantime::format_duration(Duration::from_secs(found.age.as_secs()));
                let note = format!("`latest` is {}, changed {age} ago", shown(&found.path));
                let opened = self.picture("latest", Bytes::from(found.bytes), None, deadline).await;
                let is_whole = opened.as_ref().is_ok_and(Picture::is_whole);
                if is_whole || pause.is_none() || found.age > SETTLING {
                    return opened.map(|picture| picture.noting(note)).map_err(|failure| about(&found.path, failure));
                }
            }
            sleep(pause.unwrap_or_default()).await;
        }
    }

    fn check_latest(&self, door: Door) -> Result<()> {
        if door == Door::Http {
            let failure =
                Failure::invalid("`latest` means files of the server's own machine, and is not given over HTTP");
            return Err(failure.advise(self.paths(door).ways.advice()));
        }
        if self.settings.latest.is_empty() {
            let advice = "set `intake.latest` in the configuration to the folder of screenshots, such as \
                          \"~/Pictures/Screenshots\"; a file that is called latest is `./latest`";
            return Err(Failure::invalid("no folder is set for `latest`").advise(advice));
        }
        Ok(())
    }
}

fn look(folders: &[PathBuf], rank: usize, largest: u64, patience: Duration) -> Result<Look> {
    let now = SystemTime::now();
    let mut rank = rank;
    for candidate in candidates(folders)?.into_iter().take(MOST_CANDIDATES) {
        let age = now.duration_since(candidate.modified).unwrap_or_default();
        let path = candidate.folder.join(&candidate.name);
        let Some((file, head)) = candidate.open() else { continue };
        match sniff(&head) {
            Sniffed::Unknown if age < patience => return Ok(Look::Unsettled),
            Sniffed::Unknown | Sniffed::Other("gzip" | "HTML" | "video" | "Windows icon") => {}
            // An image in a format that is not read is refused as such: an older one in its place would be the wrong one.
            Sniffed::Image(_) | Sniffed::Document | Sniffed::Other(_) if rank == 1 => {
                let bytes = read_bounded(file, largest).map_err(|failure| about(&path, failure))?;
                return Ok(Look::Found(Found { path, bytes, age }));
            }
            Sniffed::Image(_) | Sniffed::Document | Sniffed::Other(_) => rank -= 1,
        }
    }
    Err(Failure::invalid(format!(
        "no image for `latest` is among the {MOST_CANDIDATES} newest files of {}",
        all(folders)
    ))
    .advise("ask the user to take the screenshot, or to save the image there, or for its absolute path"))
}

/// The regular files of these folders, newest first.
fn candidates(folders: &[PathBuf]) -> Result<Vec<Candidate<'_>>> {
    let (mut found, mut looked_at, mut readable) = (Vec::new(), 0, false);
    for folder in folders {
        let Ok(entries) = Dir::open_ambient_dir(folder, ambient_authority()).and_then(|folder| folder.entries()) else {
            continue;
        };
        readable = true;
        for entry in entries {
            looked_at += 1;
            if looked_at > MOST_ENTRIES {
                let message = format!("{} holds too many files to tell the newest image", shown(folder));
                return Err(Failure::invalid(message)
                    .advise("give the image's absolute path; for `latest`, choose a smaller folder"));
            }
            found.extend(entry.ok().and_then(|entry| candidate(folder, &entry)));
        }
    }
    if !readable {
        let message = format!("there is no folder for `latest` that can be read: {}", all(folders));
        return Err(Failure::invalid(message).advise("correct `intake.latest`, or give the image's absolute path"));
    }
    found.sort_unstable_by(|one, other| (other.modified, &other.name).cmp(&(one.modified, &one.name)));
    Ok(found)
}

/// Links are none, whatever they lead to; hidden files are what programs have not finished.
fn candidate<'a>(folder: &'a Path, entry: &DirEntry) -> Option<Candidate<'a>> {
    let name = entry.file_name();
    let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file() && !is_hidden(&name))?;
    let modified = metadata.modified().ok()?.into_std();
    Some(Candidate { modified, folder, name })
}

impl Candidate<'_> {
    /// The file and its first bytes.
    fn open(&self) -> Option<(File, Vec<u8>)> {
        const HEAD: u64 = 512;
        let folder = Dir::open_ambient_dir(self.folder, ambient_authority()).ok()?;
        let mut file = open_in(&folder, &self.name)?;
        // It may be another one since it was listed: a pipe is not waited for.
        file.metadata().ok().filter(cap_std::fs::Metadata::is_file)?;
        let mut head = Vec::new();
        (&mut file).take(HEAD).read_to_end(&mut head).ok()?;
        file.seek(SeekFrom::Start(0)).ok()?;
        Some((file, head))
    }
}

/// Nobody named this file, so what is wrong with it says which it is.
fn about(path: &Path, failure: Failure) -> Failure {
    Failure { message: format!("{}: {}", shown(path), failure.message), ..failure }
}

fn all(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| shown(folder)).collect::<Vec<_>>().join(" and ")
}
