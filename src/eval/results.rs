//! The file of a run: what became of every call, and, once it was measured, what it is worth.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

use super::asking::line_key;
use super::measured::{Asked, Measured};
use super::record::Record;
use crate::bulk::{QUESTION, journal};
use crate::failure::{Code, Failure, Result};

/// Keeps a folder for one process, from the first call to the last line.
///
/// # Errors
/// `INVALID_INPUT` when another process has it.
pub fn lock(folder: &Path) -> Result<File> {
    let wrong = |error: std::io::Error| Failure::invalid(format!("writing into {}: {error}", folder.display()));
    let file = File::create(folder.join(".lock")).map_err(wrong)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let message = format!("another process works in {}", folder.display());
            Err(Failure::invalid(message).advise("wait for it, or name another folder"))
        }
        // Some file systems know no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// The calls that a file tells of, each once; a last line that was torn is none.
///
/// # Errors
/// `INVALID_INPUT` when it is not there, or cannot be read.
pub fn records(results: &Path) -> Result<Vec<Record>> {
    if !results.exists() {
        return Err(Failure::invalid(format!("reading {}: there is no such file", results.display())));
    }
    Ok(journal::lines(results, line_key)?.iter().filter_map(Record::read).collect())
}

/// Adds to every line what its answer is worth, and puts lines in the order of the set.
///
/// # Errors
/// `INTERNAL` when the disk does not take it.
pub fn rewrite(results: &Path, asked: &[Asked<'_>]) -> Result<()> {
    let wrong = |error: std::io::Error| Failure::new(Code::Internal, format!("writing {}: {error}", results.display()));
    let text = std::fs::read_to_string(results).map_err(wrong)?;
    let calls = asked.iter().flat_map(|asked| asked.calls.iter().flatten());
    let calls: HashMap<_, (usize, &Measured)> = calls
        .enumerate()
        .map(|(place, call)| {
            let record = &call.record;
            let question = record.question.as_deref().unwrap_or_default();
            ((question, &*record.item, &*record.model, u64::from(record.repeat)), (place, call))
        })
        .collect();
    let mut lines: Vec<(usize, Value)> = Vec::new();
    for line in text.lines() {
        let Ok(mut line) = serde_json::from_str::<Value>(line) else { continue };
        let question = line[QUESTION].as_str().unwrap_or_default();
        let known =
            || Some((question, line["item"].as_str()?, line["model_asked"].as_str()?, line["repeat"].as_u64()?));
        let found = known().and_then(|known| calls.get(&known)).copied();
        if let (Some(members), Some((_, call))) = (line.as_object_mut(), found) {
            members.extend(call.members());
        }
        lines.push((found.map_or(usize::MAX, |(place, _)| place), line));
    }
    lines.sort_by_key(|(place, _)| *place);
    let text = lines.iter().map(|(_, line)| line.to_string() + "\n").collect::<String>();
    replace(results, &text)
}

/// Writes a file of a run in one step: a reader finds the old one or the new one.
///
/// # Errors
/// `INTERNAL` when the disk does not take it.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    // What a link leads to is replaced, not the link; and nothing that is no file.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let wrong = |error: std::io::Error| Failure::new(Code::Internal, format!("writing {}: {error}", path.display()));
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(Failure::invalid(format!("writing {}: it is no file", path.display())).advise("name a file"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // Temporary files are their owner's alone; this one is as any other that the command writes.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(wrong)?;
    if let Ok(there) = std::fs::metadata(path) {
        file.as_file().set_permissions(there.permissions()).map_err(wrong)?;
    }
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_data()).map_err(wrong)?;
    file.persist(path).map(drop).map_err(|error| wrong(error.error))
}
