//! Keeps answers in files, one each, for the next process and for those that run beside this one. Not a database:
//! several processes share one folder, so none may hold it. Whatever goes wrong here is a miss, never an error.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use vision_providers::answer::Answer;

use crate::store::{Key, LARGEST, StoredAnswer, contents, is_current, verified};
use crate::supervisor::Supervisor;

/// What files take is counted in blocks of this size, as most disks do: answers are short.
const BLOCK: u64 = 4096;
/// What is slower is asked of the backend instead.
const PATIENCE: Duration = Duration::from_millis(250);
/// Reads and, apart from them, writes at once. A stalled disk cannot take more threads than these.
const AT_ONCE: usize = 16;
/// Whoever wrote a temporary file of this age has died over it.
const ABANDONED: Duration = Duration::from_hours(1);
const BETWEEN_WARNINGS: Duration = Duration::from_mins(1);
/// Files that a sweep keeps in mind, at some 60 bytes each; there are never many more, because it removes the rest.
const MOST: usize = 1_000_000;

/// Where to keep answers, how much and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Made when it is missing. Whoever can write here can forge answers, so it must be nobody else's.
    pub folder: PathBuf,
    /// Bytes in all, about: every process that shares the folder may exceed it by a twentieth between its sweeps.
    pub capacity: u64,
    pub ttl: Duration,
}

/// The answers in one folder. Clones share it, and so do other processes.
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

struct Shared {
    settings: Settings,
    supervisor: Supervisor,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    sweeps: Semaphore,
    /// Bytes that this process wrote since it last began to sweep.
    unswept: AtomicU64,
    warned: Mutex<Option<Instant>>,
}

impl Disk {
    /// The answers in this folder, which is not touched yet.
    #[must_use]
    pub fn open(settings: Settings, supervisor: &Supervisor) -> Self {
        Self(Arc::new(Shared {
            settings,
            supervisor: supervisor.clone(),
            reads: Arc::new(Semaphore::new(AT_ONCE)),
            writes: Arc::new(Semaphore::new(AT_ONCE)),
            sweeps: Semaphore::new(1),
            unswept: AtomicU64::new(0),
            warned: Mutex::new(None),
        }))
    }

    /// Begins to remove what is of no use any more. It must be called inside a runtime.
    pub fn tidy(&self) {
        let sweeper = self.clone();
        self.0.supervisor.spawn("sweep", async move { sweeper.sweep().await });
    }

    /// The answer that was kept under this key, if it can be had at once. Dropped, it leaves a thread that reads to its
    /// end.
    pub async fn get(&self, key: &[u8; 32]) -> Option<Answer> {
        let (disk, key) = (self.clone(), *key);
        let reading = async {
            let permit = Arc::clone(&self.0.reads).acquire_owned().await;
            let reading = spawn_blocking(move || {
                // The thread keeps its share to its end, even when nobody waits for it any more.
                let _permit = permit;
                recall(&disk.0.settings, &key, SystemTime::now())
            });
            reading.await?
        };
        let recalled = timeout(PATIENCE, reading).await.unwrap_or_else(|late| Err(late.into()));
        recalled.unwrap_or_else(|error| {
            self.complain(&error);
            None
        })
    }

    /// Keeps an answer under this key, some time soon. It is dropped when too many others are being written.
    pub fn put(&self, key: [u8; 32], answer: &Answer) {
        let Ok(permit) = Arc::clone(&self.0.writes).try_acquire_owned() else { return };
        let Some(answer) = StoredAnswer::of(answer) else { return };
        let disk = self.clone();
        let writer = self.clone();
        let write = move || {
            let _permit = permit;
            save(&writer.0.settings, &key, &answer, SystemTime::now())
        };
        self.0.supervisor.spawn("store", async move {
            match spawn_blocking(write).await.unwrap_or_else(|error| Err(error.into())) {
                Ok(bytes) => disk.account(bytes).await,
                Err(error) => disk.complain(&error),
            }
        });
    }

    /// Sweeps when enough has been written since the last time.
    async fn account(&self, bytes: u64) {
        let unswept = self.0.unswept.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if bytes > 0 && unswept >= (self.0.settings.capacity / 20).min(64 << 20) {
            self.sweep().await;
        }
    }

    /// One sweep at a time is enough: whoever comes while another is under way leaves it to the next.
    async fn sweep(&self) {
        let Ok(_alone) = self.0.sweeps.try_acquire() else { return };
        self.0.unswept.store(0, Ordering::Relaxed);
        let disk = self.clone();
        let sweeping = spawn_blocking(move || sweep(&disk.0.settings, SystemTime::now(), disk.0.supervisor.stopping()));
        if let Err(error) = sweeping.await.unwrap_or_else(|error| Err(error.into())) {
            self.complain(&error);
        }
    }

    /// Says that something is wrong with the folder, but does not go on about it.
    fn complain(&self, error: &io::Error) {
        let now = Instant::now();
        let mut warned = self.0.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| now.duration_since(last) >= BETWEEN_WARNINGS) {
            *warned = Some(now);
            let path = self.0.settings.folder.display();
            warn!(%path, %error, "keeping answers on disk: going on without some of them");
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Disk({})", self.0.settings.folder.display())
    }
}

fn name(key: &Key) -> String {
    blake3::Hash::from_bytes(*key).to_hex().to_string()
}

/// The key of a file that has a name of exactly our form.
fn named(name: &str) -> Option<Key> {
    let hash = blake3::Hash::from_hex(name).ok()?;
    (hash.to_hex().as_str() == name).then(|| *hash.as_bytes())
}

/// As [`named`], for files that are still being written.
fn named_temporary(name: &str) -> Option<Key> {
    let (key, number) = name.strip_suffix(".tmp")?.split_once('.')?;
    let is_ours = number.len() == 16 && number.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    named(key).filter(|_| is_ours)
}

/// The folder of all keys that begin with this byte.
fn shelf(folder: &Path, first: u8) -> PathBuf {
    folder.join(format!("{first:02x}"))
}

fn place(folder: &Path, key: &Key) -> PathBuf {
    shelf(folder, key[0]).join(name(key))
}

/// Reads an answer, and removes the file if it is of no use.
fn recall(settings: &Settings, key: &Key, now: SystemTime) -> io::Result<Option<Answer>> {
    let place = place(&settings.folder, key);
    let file = match File::open(&place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut found = Vec::new();
    // What is longer is cut here, and does not verify.
    file.take(LARGEST).read_to_end(&mut found)?;
    let answer = verified(&found, key, now, settings.ttl);
    if answer.is_none() {
        // Another process may have put a good one there since; losing that costs one call.
        remove(&place)?;
    }
    Ok(answer)
}

/// Writes an answer, and says how many bytes of the capacity that takes.
fn save(settings: &Settings, key: &Key, answer: &StoredAnswer, now: SystemTime) -> io::Result<u64> {
    let contents = contents(answer, key, now)?;
    let bytes = contents.len() as u64;
    let taken = bytes.next_multiple_of(BLOCK);
    if bytes > LARGEST || taken > settings.capacity {
        return Ok(0);
    }
    make_folder(&shelf(&settings.folder, key[0]))?;
    let place = place(&settings.folder, key);
    let temporary = place.with_extension(format!("{:016x}.tmp", fastrand::u64(..)));
    // Not synced: what a power cut leaves half written does not verify, and is a miss.
    let written = write_new(&temporary, &contents).and_then(|()| fs::rename(&temporary, &place));
    if written.is_err() {
        // A full disk leaves a part of it behind. If this fails too, a sweep removes it later.
        let _ = fs::remove_file(&temporary);
    }
    written.map(|()| taken)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn write_new(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(contents)
}

/// Removes a file, or sees that another process has done so.
fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// A file that a sweep found and left.
struct Kept {
    key: Key,
    written: SystemTime,
    bytes: u64,
}

/// Removes what is of no use any more, then the oldest until there is room again. A file that cannot be removed stops
/// nothing: the first error is told at the end.
fn sweep(settings: &Settings, now: SystemTime, stopping: &CancellationToken) -> io::Result<()> {
    let mut kept = Vec::new();
    let mut outcome = Ok(());
    // Begins anywhere, so that no shelf is always the one that is left out when there are too many files.
    let start = fastrand::u8(..);
    for first in (0..=u8::MAX).map(|step| start.wrapping_add(step)) {
        if stopping.is_cancelled() {
            return outcome;
        }
        outcome = outcome.and(sweep_shelf(settings, first, now, &mut kept));
    }
    outcome.and(make_room(settings, kept, stopping))
}

/// Removes expired and abandoned files from one shelf, and notes the others. What is not named as we name files is not
/// ours.
fn sweep_shelf(settings: &Settings, first: u8, now: SystemTime, kept: &mut Vec<Kept>) -> io::Result<()> {
    let entries = match fs::read_dir(shelf(&settings.folder, first)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut outcome = Ok(());
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else { continue };
        let (entire, temporary) = (named(file_name), named_temporary(file_name));
        let Some(key) = entire.or(temporary).filter(|key| key[0] == first) else { continue };
        // Another process may have removed it since it was listed.
        let Some(metadata) = entry.metadata().ok().filter(fs::Metadata::is_file) else { continue };
        let written = metadata.modified()?;
        let longest = if entire.is_some() { settings.ttl } else { ABANDONED };
        if !is_current(written, now, longest) {
            outcome = outcome.and(remove(&entry.path()));
        } else if entire.is_some() && kept.len() < MOST {
            kept.push(Kept { key, written, bytes: metadata.len().next_multiple_of(BLOCK) });
        }
    }
    outcome
}

/// Removes the files that were written first until a tenth of the capacity is free.
fn make_room(settings: &Settings, mut kept: Vec<Kept>, stopping: &CancellationToken) -> io::Result<()> {
    kept.sort_unstable_by_key(|file| file.written);
    let mut bytes: u64 = kept.iter().map(|file| file.bytes).sum();
    let mut files = kept.len();
    let mut outcome = Ok(());
    for file in kept {
        if (bytes <= settings.capacity / 10 * 9 && files <= MOST / 10 * 9) || stopping.is_cancelled() {
            break;
        }
        let removed = remove(&place(&settings.folder, &file.key));
        if removed.is_ok() {
            bytes -= file.bytes;
            files -= 1;
        }
        outcome = outcome.and(removed);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    use vision_providers::answer::{Finish, Rect, TextBlock, Usage};
    use vision_providers::price::MicroUsd;
    use vision_providers::request::ModelId;

    const KEY: Key = [0xa7; 32];
    const DAY: Duration = Duration::from_hours(24);

    struct Lab {
        _base: tempfile::TempDir,
        settings: Settings,
        supervisor: Supervisor,
    }

    impl Lab {
        fn open(&self) -> Disk {
            Disk::open(self.settings.clone(), &self.supervisor)
        }

        async fn settle(&self) {
            self.supervisor.drained(DAY).await;
        }

        /// Writes an answer, and says where.
        fn saved(&self, key: &Key) -> PathBuf {
            let stored = StoredAnswer::of(&answer()).expect("a whole answer");
            save(&self.settings, key, &stored, SystemTime::now()).expect("room");
            place(&self.settings.folder, key)
        }

        fn recalled(&self, key: &Key) -> Option<Answer> {
            recall(&self.settings, key, SystemTime::now()).expect("a folder that can be read")
        }

        fn swept(&self, now: SystemTime) {
            sweep(&self.settings, now, &CancellationToken::new()).expect("a folder that can be written");
        }
    }

    fn lab(capacity: u64) -> Lab {
        let base = tempfile::tempdir().expect("a folder");
        let settings = Settings { folder: base.path().join("deep/answers"), capacity, ttl: DAY };
        Lab { _base: base, settings, supervisor: Supervisor::default() }
    }

    fn answer() -> Answer {
        let usage = Usage {
            input_tokens: u64::MAX,
            output_tokens: 2,
            cached_tokens: 3,
            reasoning_tokens: 4,
            image_tokens: Some(5),
            pages: 6,
            annotated_pages: 7,
            billed: Some(MicroUsd(8)),
        };
        let area = Rect { left: 1, top: 2, right: 3, bottom: 4 };
        Answer {
            usage: Some(usage),
            earlier: vec![usage, Usage::default()],
            finish: Finish::Length,
            blocks: vec![TextBlock { image: 1, text: "Gesamt\n€".into(), area, confidence: Some(0.1) }],
            warnings: vec!["cut".into()],
            cached: true,
            ..Answer::new("12,50 €", ModelId::from("model"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_found_again_by_others_and_later() {
        let lab = lab(1 << 20);
        let (one, other) = (lab.open(), lab.open());
        one.put(KEY, &Answer { cached: false, ..answer() });
        one.put([1; 32], &Answer { partial: true, ..answer() });
        lab.settle().await;
        for disk in [one, other, lab.open()] {
            assert_eq!(disk.get(&KEY).await, Some(answer()));
            assert_eq!(disk.get(&[1; 32]).await, None);
        }
    }

    #[test]
    fn a_broken_file_is_a_miss_and_is_removed() {
        let lab = lab(1 << 20);
        let (file, old) = (lab.saved(&KEY), SystemTime::now() - 2 * DAY);
        let good = fs::read_to_string(&file).expect("a file").into_bytes();
        let mut broken: Vec<Vec<u8>> = (0..good.len()).step_by(37).map(|length| good[..length].to_vec()).collect();
        for place in (0..good.len()).step_by(37).chain(0..100) {
            broken.extend([0x01, 0x20, 0x80].map(|bit| {
                let mut bad = good.clone();
                bad[place] ^= bit;
                bad
            }));
        }
        let text = String::from_utf8(good.clone()).expect("text");
        broken.push(text.replacen("answer 1", "answer 2", 1).into_bytes());
        broken.push([&good[..], b" "].concat());
        broken.push(sealed(&KEY, SystemTime::now(), b"{}"));
        broken.push(sealed(&KEY, SystemTime::now(), &[payload(&good), &vec![b' '; 9 << 20]].concat()));
        broken.push(sealed(&KEY, SystemTime::now() + Duration::from_secs(90), payload(&good)));
        broken.push(sealed(&KEY, old, payload(&good)));
        broken.push(sealed(&[1; 32], SystemTime::now(), payload(&good)));
        for bad in broken {
            fs::write(&file, &bad).expect("a file");
            assert_eq!(lab.recalled(&KEY), None, "{}", String::from_utf8_lossy(&bad[..bad.len().min(999)]));
            assert!(!file.exists());
        }
        for skewed in [SystemTime::now() + Duration::from_secs(50), SystemTime::now() - DAY / 2] {
            fs::write(&file, sealed(&KEY, skewed, payload(&good))).expect("a file");
            assert_eq!(lab.recalled(&KEY), Some(answer()));
        }
    }

    fn sealed(key: &Key, date: SystemTime, payload: &[u8]) -> Vec<u8> {
        crate::store::sealed(key, date.duration_since(UNIX_EPOCH).expect("a date").as_secs(), payload)
    }

    fn payload(contents: &[u8]) -> &[u8] {
        contents.splitn(4, |byte| *byte == b'\n').last().expect("a payload")
    }

    #[test]
    fn a_file_under_the_name_of_another_key_is_a_miss() {
        let lab = lab(1 << 20);
        let mut other = KEY;
        other[31] ^= 1;
        fs::rename(lab.saved(&KEY), place(&lab.settings.folder, &other)).expect("a file");
        assert_eq!(lab.recalled(&other), None);
        assert!(!place(&lab.settings.folder, &other).exists());
    }

    #[test]
    fn sweeps_remove_what_is_old_and_nothing_that_is_not_ours() {
        let lab = lab(1 << 20);
        let file = lab.saved(&KEY);
        let (hex, shelf) = (name(&KEY), file.parent().expect("a shelf"));
        let left_behind = shelf.join(format!("{hex}.0123456789abcdef.tmp"));
        fs::write(&left_behind, "half").expect("a file");
        fs::create_dir(shelf.join(name(&[0xa7; 32]).replace("a7a7", "a7a8"))).expect("a folder");
        let foreign =
            [hex.to_uppercase(), format!("{hex}.tmp"), format!("{hex}.0123.tmp"), "00".repeat(32), "x".into()];
        let foreign = foreign.map(|name| shelf.join(name)).into_iter().chain([lab.settings.folder.join("notes.txt")]);
        let foreign: Vec<_> = foreign.inspect(|path| fs::write(path, "mine").expect("a file")).collect();
        lab.swept(SystemTime::now() + Duration::from_mins(50));
        assert!(file.exists() && left_behind.exists());
        lab.swept(SystemTime::now() + Duration::from_mins(70));
        assert!(file.exists() && !left_behind.exists());
        lab.swept(SystemTime::now() + DAY + Duration::from_mins(1));
        assert!(!file.exists());
        assert!(foreign.iter().all(|path| path.exists()));
        assert_eq!(fs::read_dir(shelf).expect("a shelf").count(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn the_capacity_is_kept_and_the_youngest_stay() {
        let lab = lab(100 * BLOCK);
        let disk = lab.open();
        for number in 0..=255 {
            disk.put([number; 32], &answer());
            lab.settle().await;
            let file = File::options().append(true).open(place(&lab.settings.folder, &[number; 32])).expect("a file");
            file.set_modified(SystemTime::now() - Duration::from_secs(300 - u64::from(number))).expect("a date");
        }
        let kept: Vec<u8> = (0..=255).filter(|first| place(&lab.settings.folder, &[*first; 32]).exists()).collect();
        assert!((90..=95).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept.first().map(|first| usize::from(*first) + kept.len()), Some(256));
        disk.put([7; 32], &Answer::new("x".repeat(500_000), ModelId::from("model")));
        lab.settle().await;
        assert_eq!(disk.get(&[7; 32]).await, None);
        assert_eq!(disk.get(&[255; 32]).await, Some(answer()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_cannot_be_used_is_a_miss_until_it_can() {
        let lab = lab(1 << 20);
        let disk = lab.open();
        let blocked = lab.settings.folder.parent().expect("a parent");
        fs::write(blocked, "a file where a folder should be").expect("a file");
        disk.put(KEY, &answer());
        lab.settle().await;
        assert_eq!(disk.get(&KEY).await, None);
        let warned = *disk.0.warned.lock().expect("no panic");
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(disk.get(&KEY).await, None);
        assert!(warned.is_some() && warned == *disk.0.warned.lock().expect("no panic"));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(disk.get(&KEY).await, None);
        assert!(warned < *disk.0.warned.lock().expect("no panic"));
        fs::remove_file(blocked).expect("a file");
        for _ in 0..2 {
            disk.put(KEY, &answer());
            lab.settle().await;
            assert_eq!(disk.get(&KEY).await, Some(answer()));
            fs::remove_dir_all(&lab.settings.folder).expect("a folder");
            assert_eq!(disk.get(&KEY).await, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_disk_is_a_miss_and_drops_what_it_is_given() {
        let lab = lab(1 << 20);
        let disk = lab.open();
        lab.saved(&KEY);
        let reads = disk.0.reads.acquire_many(16).await.expect("permits");
        assert_eq!(disk.get(&KEY).await, None);
        drop(reads);
        assert_eq!(disk.get(&KEY).await, Some(answer()));
        let _writes = disk.0.writes.acquire_many(16).await.expect("permits");
        disk.put([1; 32], &answer());
        lab.settle().await;
        assert_eq!(disk.get(&[1; 32]).await, None);
        assert_eq!(format!("{disk:?}"), format!("Disk({})", lab.settings.folder.display()));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_what_is_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let lab = lab(1 << 20);
        let file = lab.saved(&KEY);
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(file.ancestors().skip(1).take(3).map(mode).collect::<Vec<_>>(), [0o700; 3]);
    }
}
