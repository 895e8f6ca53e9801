//! The folders that images may come from, and how paths are written on this machine.

use std::path::{Path, PathBuf};

use crate::config::{self, IntakeConfig};
use crate::intake::path::{Hidden, Root};
use crate::intake::spelling::{Drives, Machine};
use crate::router::rules::OneOf;

/// What relative paths, `~` and drive letters mean here.
pub(super) fn machine() -> Machine {
    Machine { working_directory: std::env::current_dir().ok(), home: std::env::home_dir(), drives: drives() }
}

fn drives() -> Drives {
    if cfg!(windows) {
        return Drives::Own;
    }
    // Absent on other systems than Linux.
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if kernel.to_lowercase().contains("microsoft") {
        Drives::Mounted { folder: "/mnt".into(), distribution: config::distribution() }
    } else {
        Drives::Absent
    }
}

/// The folders that an operator allows.
pub(super) fn roots(intake: &IntakeConfig) -> Vec<Root> {
    expanded(&intake.roots).iter().flat_map(|root| spellings(root, Hidden::Allowed)).collect()
}

/// The folders that programs on this machine may name when the operator says nothing.
pub(super) fn usual_roots() -> Vec<Root> {
    let home = std::env::home_dir();
    let own = [std::env::current_dir().ok(), home.clone()].into_iter().flatten();
    let own = own.filter(|folder| is_somebodys(folder, home.as_ref()));
    own.flat_map(|root| spellings(&root, Hidden::Refused)).collect()
}

/// The folders of `latest`.
pub(super) fn latest(intake: &IntakeConfig) -> Vec<PathBuf> {
    let folders = intake.latest.iter().flat_map(OneOf::values).filter(|folder| !folder.trim().is_empty());
    expanded(&folders.map(PathBuf::from).collect::<Vec<_>>())
}

/// Folders with the home folder in place of `~`.
pub(super) fn expanded(folders: &[PathBuf]) -> Vec<PathBuf> {
    let home = std::env::home_dir();
    let expanded = |folder: &PathBuf| Some(home.as_ref()?.join(folder.strip_prefix("~").ok()?));
    folders.iter().map(|folder| expanded(folder).unwrap_or_else(|| folder.clone())).collect()
}

/// Desktop programs start servers in `/`: a folder that holds everybody's homes is no place to open up.
fn is_somebodys(folder: &Path, home: Option<&PathBuf>) -> bool {
    folder.parent().is_some() && home.is_none_or(|home| !home.starts_with(folder) || home == folder)
}

/// A folder under its real name and under the one that was given: callers may use either.
pub(super) fn spellings(folder: &Path, hidden: Hidden) -> Vec<Root> {
    let real = folder.canonicalize().ok().filter(|real| real != folder);
    [Some(folder.to_owned()), real].into_iter().flatten().map(|path| Root { path, hidden }).collect()
}
