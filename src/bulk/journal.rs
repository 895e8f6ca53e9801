//! A file of JSON lines that survives whatever ends its writer: lines are written whole, as they come, by one process
//! at a time; one that was torn is dropped when the file is opened again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::failure::{Code, Failure, Result};

/// Bytes of a line that are read again. Answers are far smaller; what is longer was not written by us.
const LONGEST: u64 = 32 << 20;

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    from: u64,
    bytes: usize,
}

/// A file of lines, open for more of them.
#[derive(Debug)]
pub struct Journal {
    file: Arc<File>,
    path: PathBuf,
    end: u64,
}

impl Journal {
    /// Begins a file.
    ///
    /// # Errors
    /// `INVALID_INPUT` when there is one, or it cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let shown = path.display();
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = made.map_err(|error| {
            let failure = Failure::invalid(format!("writing {shown}: {error}"));
            match error.kind() {
                io::ErrorKind::AlreadyExists => failure.advise("go on with it with --resume, or name another file"),
                _ => failure,
            }
        })?;
        lock(&file, path)?;
        Ok(Self { file: Arc::new(file), path: path.to_owned(), end: 0 })
    }

    /// Opens the file of an earlier run, or begins it when there is none. Of lines with the same `key` the last one counts:
    /// it came in the place of the others, which are gone before this returns, as is one that was torn. Each line that
    /// counts is shown to `see`, with its place.
    ///
    /// # Errors
    /// `INVALID_INPUT` when it cannot be read, is not a file of such lines, or another process writes it; whatever
    /// `see` finds wrong.
    pub fn resume(
        path: &Path,
        key: impl Fn(&Value) -> Option<String>,
        mut see: impl FnMut(&Value, Place) -> Result<()>,
    ) -> Result<Self> {
        // What a link leads to is replaced, not the link.
        let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let wrong = |error: io::Error| Failure::invalid(format!("reading {}: {error}", path.display()));
        let old = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::create(path),
            Err(error) => return Err(wrong(error)),
        };
        if !old.metadata().map_err(wrong)?.is_file() {
            return Err(Failure::invalid(format!("writing {}: it is no file", path.display())).advise("name a file"));
        }
        lock(&old, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let kept = tempfile::NamedTempFile::new_in(folder).map_err(wrong)?;
        // Locked before it is in the place of the other, so that there is no moment for a second writer.
        lock(kept.as_file(), path)?;
        let mut writer = BufWriter::new(kept.as_file());
        let mut last: HashMap<String, usize> = HashMap::new();
        let is_torn = each_line(&old, path, |value, _, number| {
            last.extend(key(&value).map(|key| (key, number)));
            Ok(())
        })?;
        let (mut end, mut is_changed) = (0, is_torn);
        each_line(&old, path, |value, line, number| {
            if key(&value).and_then(|key| last.get(&key)).is_some_and(|last| *last > number) {
                is_changed = true;
                return Ok(());
            }
            see(&value, Place { from: end, bytes: line.len() })?;
            writer.write_all(line).map_err(wrong)?;
            end += line.len() as u64;
            Ok(())
        })?;
        writer.flush().map_err(wrong)?;
        drop(writer);
        let mut file = old;
        if is_changed {
            let permissions = file.metadata().map_err(wrong)?.permissions();
            kept.as_file().set_permissions(permissions).map_err(wrong)?;
            kept.as_file().sync_data().map_err(wrong)?;
            file = kept.persist(path).map_err(|error| wrong(error.error))?;
        }
        file.seek(SeekFrom::Start(end)).map_err(wrong)?;
        Ok(Self { file: Arc::new(file), path: path.to_owned(), end })
    }

    /// Writes a line. When this returns, the line outlives the process.
    ///
    /// # Errors
    /// `INTERNAL` when the disk does not take it.
    pub async fn add(&mut self, line: &Value) -> Result<Place> {
        let mut bytes = line.to_string().into_bytes();
        bytes.push(b'\n');
        let place = Place { from: self.end, bytes: bytes.len() };
        self.end += place.bytes as u64;
        let file = Arc::clone(&self.file);
        let written = spawn_blocking(move || (&*file).write_all(&bytes)).await;
        written.map_err(io::Error::other).flatten().map_err(|error| self.broken("writing", &error))?;
        Ok(place)
    }

    /// Reads a line again.
    ///
    /// # Errors
    /// `INTERNAL` when it is not there any more.
    pub async fn line(&self, place: Place) -> Result<Value> {
        let path = self.path.clone();
        let reading = spawn_blocking(move || {
            // Through a door of its own: the place where lines are added stays where it is.
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(place.from))?;
            let mut bytes = vec![0; place.bytes];
            file.read_exact(&mut bytes)?;
            Ok(serde_json::from_slice(&bytes)?)
        });
        reading.await.map_err(io::Error::other).flatten().map_err(|error| self.broken("reading", &error))
    }

    /// Leaves of lines with the same `key` the last one.
    ///
    /// # Errors
    /// As [`Self::resume`].
    pub async fn tidy(self, key: fn(&Value) -> Option<String>) -> Result<()> {
        let path = self.path.clone();
        self.close().await?;
        let tidying = spawn_blocking(move || Self::resume(&path, key, |_, _| Ok(())).map(drop)).await;
        tidying.map_err(|error| Failure::new(Code::Internal, format!("putting lines in order: {error}"))).flatten()
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    /// `INTERNAL` when it does not take it.
    pub async fn close(self) -> Result<()> {
        let file = Arc::clone(&self.file);
        let synced = spawn_blocking(move || file.sync_data()).await;
        synced.map_err(io::Error::other).flatten().map_err(|error| self.broken("writing", &error))
    }

    fn broken(&self, doing: &str, error: &io::Error) -> Failure {
        Failure::new(Code::Internal, format!("{doing} {}: {error}", self.path.display()))
            .advise("make room, and go on with --resume")
    }
}

/// Shows each whole line of a file with its bytes and its number; says whether the last one was torn.
fn each_line(file: &File, path: &Path, mut see: impl FnMut(Value, &[u8], usize) -> Result<()>) -> Result<bool> {
    let wrong = |error: io::Error| Failure::invalid(format!("reading {}: {error}", path.display()));
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0)).map_err(wrong)?;
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        let read = (&mut reader).take(LONGEST).read_until(b'\n', &mut line).map_err(wrong)?;
        if read == 0 {
            return Ok(false);
        }
        if line.last() != Some(&b'\n') && read as u64 != LONGEST {
            return Ok(true);
        }
        let Ok(value) = serde_json::from_slice(&line) else {
            let message = format!("reading {}: line {number} is not JSON", path.display());
            return Err(Failure::invalid(message).advise("resume a file that this command has written"));
        };
        see(value, &line, number)?;
    }
}

/// The lines of a file that count, without writing it; a file that is not there has none.
///
/// # Errors
/// `INVALID_INPUT` when it cannot be read, or is not a file of such lines.
pub fn lines(path: &Path, key: impl Fn(&Value) -> Option<String>) -> Result<Vec<Value>> {
    let wrong = |error: io::Error| Failure::invalid(format!("reading {}: {error}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(error)),
    };
    let mut last: HashMap<String, usize> = HashMap::new();
    let mut all = Vec::new();
    each_line(&file, path, |value, _, _| {
        if let Some(earlier) = key(&value).and_then(|key| last.insert(key, all.len())) {
            all[earlier] = Value::Null;
        }
        all.push(value);
        Ok(())
    })?;
    all.retain(|line| !line.is_null());
    Ok(all)
}

/// One process writes a file.
fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(Failure::invalid(format!("writing {}: another process is writing it", path.display()))
                .advise("wait for it, or name another file"))
        }
        // Some file systems know no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn all(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).expect("a file");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn number(line: &Value) -> Option<String> {
        line["number"].as_u64().map(|number| number.to_string())
    }

    #[tokio::test]
    async fn the_last_line_counts_and_what_was_torn_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.jsonl");
        let mut journal = Journal::create(&path).expect("a journal");
        for line in [json!({"number": 0}), json!({"number": 2, "was": "torn"}), json!({"number": 2})] {
            journal.add(&line).await.expect("written");
        }
        drop(journal);
        let mut torn = OpenOptions::new().append(true).open(&path).expect("the file");
        torn.write_all(b"{\"number\": 3").expect("half a line");
        drop(torn);

        let mut places = Vec::new();
        let mut journal = Journal::resume(&path, number, |_, place| {
            places.push(place);
            Ok(())
        })
        .expect("the journal");
        assert_eq!(all(&path), [json!({"number": 0}), json!({"number": 2})]);
        let place = journal.add(&json!({"number": "new"})).await.expect("written");
        assert_eq!(journal.line(place).await.expect("a line"), json!({"number": "new"}));
        assert_eq!(journal.line(*places.last().expect("three")).await.expect("a line"), json!({"number": 2}));
        assert_eq!(all(&path).len(), 3);
    }

    #[test]
    fn a_file_has_one_writer_and_is_never_begun_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.jsonl");
        let journal = Journal::resume(&path, number, |_, _| Ok(())).expect("begun");
        let second = Journal::resume(&path, number, |_, _| Ok(())).expect_err("somebody writes");
        assert!(second.message.contains("another process"), "{second}");
        drop(journal);
        let again = Journal::create(&path).expect_err("it is there");
        assert!(again.advice.expect("advice").contains("--resume"));
        std::fs::write(&path, "not JSON\n").expect("a file");
        assert!(Journal::resume(&path, number, |_, _| Ok(())).is_err());
    }
}
