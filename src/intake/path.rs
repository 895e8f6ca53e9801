//! Opening paths that callers name, without being led outside the folders that are allowed.
//!
//! A path is walked one folder handle at a time and no symbolic link is followed, so nothing can be swapped between
//! looking and opening. What was opened is looked at, never what was named: it must be a regular file within bounds.
//! Everything here blocks; intake calls it on a worker thread.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions};

use super::attachment::{self, Ways};
use super::lookalike;
use super::spelling::{Machine, shown};
use crate::failure::{Code, Failure, Result};

/// Which paths are allowed.
#[derive(Debug, Clone)]
pub enum PathPolicy {
    /// The person's own command: their paths are theirs to name, links included.
    Own,
    /// A program asks: only what lies in these folders.
    Roots(Vec<Root>),
}

/// One folder that is allowed.
#[derive(Debug, Clone)]
pub struct Root {
    pub path: PathBuf,
    pub hidden: Hidden,
}

/// Whether names that begin with a dot may be entered: they hold keys and histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    Allowed,
    Refused,
}

/// Paths as the callers of one door may name them.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) policy: PathPolicy,
    pub(super) machine: Machine,
    pub(super) ways: Ways,
}

/// How a file is looked for by its name.
#[derive(Debug, Clone, Copy)]
enum Likeness {
    Exact,
    /// By what the name looks like.
    Alike,
}

impl Paths {
    /// Reads the file that a caller named.
    ///
    /// # Errors
    /// Over a guarded door, `UNSAFE_PATH` in one wording for everything that is not a readable file in an allowed
    /// folder, so that nobody can probe what exists. To the person at the machine, what is really wrong.
    /// `IMAGE_TOO_LARGE` beyond `largest` bytes.
    pub(super) fn read(&self, named: &str, largest: u64) -> Result<Vec<u8>> {
        let readings = self.machine.readings(named);
        match &self.policy {
            PathPolicy::Own => read_bounded(self.open_own(named, &readings)?, largest),
            PathPolicy::Roots(roots) => {
                let refused = || self.refusal(named, roots);
                let file = open_guarded(roots, &readings).ok_or_else(refused)?;
                read_bounded(file, largest).map_err(|failure| match failure.code {
                    Code::ImageTooLarge => failure,
                    _ => refused(),
                })
            }
        }
    }

    /// The one refusal of a guarded door for this path: it says nothing that its spelling does not. The person's own
    /// door has none.
    pub(super) fn refusal_of(&self, named: &str) -> Option<Failure> {
        match &self.policy {
            PathPolicy::Own => None,
            PathPolicy::Roots(roots) => Some(self.refusal(named, roots)),
        }
    }

    fn refusal(&self, named: &str, roots: &[Root]) -> Failure {
        let mut advice: Vec<String> = Vec::new();
        advice.extend(attachment::hint(named, &self.machine.drives).map(str::to_owned));
        // Where it lies in no allowed folder, its name is nobody's business.
        let folder = self.machine.working_directory.as_ref();
        let folder = folder.filter(|folder| roots.iter().any(|root| folder.starts_with(&root.path)));
        if let Some(folder) = folder.filter(|_| self.machine.is_relative(named)) {
            advice.push(format!("relative paths are looked for in {}", folder.display()));
        }
        if roots.is_empty() {
            advice.push("this door takes no paths; an operator can allow folders with `intake.roots`".into());
            advice.push(self.ways.advice());
        } else {
            let allowed: Vec<_> = roots.iter().map(|root| root.path.display().to_string()).collect();
            advice.push(format!(
                "give the absolute path of an image in {}; ask the user for it, or to allow its folder with \
                 `intake.roots`, or {}",
                allowed.join(" or "),
                self.ways.requests()
            ));
        }
        let message = "no image can be read at this path: it is missing, not an image, or outside the allowed folders";
        Failure::new(Code::UnsafePath, message).advise(advice.join("; "))
    }

    fn open_own(&self, named: &str, readings: &[PathBuf]) -> Result<File> {
        let mut wrong = None;
        for path in readings {
            match File::open_ambient_with(path, &reading(), ambient_authority()) {
                Ok(file) => return Ok(file),
                Err(error) => _ = wrong.get_or_insert_with(|| format!("opening {}: {error}", shown(path))),
            }
        }
        readings.iter().find_map(|path| open_alike(path)).ok_or_else(|| {
            let usual = "check the spelling of the path, and quote it if it holds spaces";
            let hint = attachment::hint(named, &self.machine.drives);
            let advice = hint.map_or_else(|| usual.to_owned(), |hint| format!("{hint}: {}", self.ways.advice()));
            Failure::invalid(wrong.unwrap_or_default()).advise(advice)
        })
    }
}

/// Opens the first of these paths that lies in an allowed folder and is there; then the first that looks like one.
fn open_guarded(roots: &[Root], readings: &[PathBuf]) -> Option<File> {
    let absolute = readings.iter().filter(|path| path.is_absolute());
    let clean: Vec<PathBuf> = absolute.filter_map(|path| lexically_clean(path)).collect();
    let open = |likeness| {
        let inside =
            |path: &PathBuf| roots.iter().find_map(|root| root.open(path.strip_prefix(&root.path).ok()?, likeness));
        clean.iter().find_map(inside)
    };
    open(Likeness::Exact).or_else(|| open(Likeness::Alike))
}

fn open_alike(path: &Path) -> Option<File> {
    let folder = Dir::open_ambient_dir(path.parent()?, ambient_authority()).ok()?;
    let name = lookalike::find(&folder, path.file_name()?)?;
    // Not through the handle of the folder, which links may not lead out of: here, they may.
    File::open_ambient_with(path.with_file_name(name), &reading(), ambient_authority()).ok()
}

impl Root {
    fn open(&self, inside: &Path, likeness: Likeness) -> Option<File> {
        let mut names = inside.components().map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        let mut names = names.by_ref().collect::<Option<Vec<_>>>()?;
        if names.iter().any(|name| self.hides(name)) {
            return None;
        }
        let file = names.pop()?;
        let mut folder = Dir::open_ambient_dir(&self.path, ambient_authority()).ok()?;
        for name in names {
            folder = folder.open_dir_nofollow(name).ok()?;
        }
        match likeness {
            Likeness::Exact => open_in(&folder, file),
            // What was found may be hidden although what was written is not.
            Likeness::Alike => {
                lookalike::find(&folder, file).filter(|name| !self.hides(name)).and_then(|name| open_in(&folder, &name))
            }
        }
    }

    fn hides(&self, name: &OsStr) -> bool {
        self.hidden == Hidden::Refused && is_hidden(name)
    }
}

/// Whether a name begins with a dot.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Opens an entry of a folder, and not what it links to.
pub(super) fn open_in(folder: &Dir, name: &OsStr) -> Option<File> {
    folder.open_with(name, reading().follow(FollowSymlinks::No)).ok()
}

/// Resolves `.` and `..` by spelling alone, which is right because no link is followed afterwards.
fn lexically_clean(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            other => clean.push(other),
        }
    }
    Some(clean)
}

/// Non-blocking, so that a pipe without a writer cannot hold a thread.
fn reading() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).nonblock(true);
    options
}

/// The bytes of a regular file, if there are not too many.
pub(super) fn read_bounded(file: File, largest: u64) -> Result<Vec<u8>> {
    let unreadable = |error: std::io::Error| Failure::invalid(format!("reading the image file: {error}"));
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Failure::invalid("reading the image file: it is a folder, pipe or device, not a file"));
    }
    let too_large = || {
        Failure::new(Code::ImageTooLarge, format!("the image file is larger than {largest} bytes"))
            .advise("use a smaller version of the image, or raise `intake.max_bytes`")
    };
    if metadata.len() > largest {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // It may have grown since: read one byte further than is allowed, and no more.
    file.take(largest + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > largest { Err(too_large()) } else { Ok(bytes) }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::intake::Door;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Lab {
        folder: tempfile::TempDir,
        paths: Paths,
    }

    fn paths(policy: PathPolicy, machine: Machine) -> Paths {
        Paths { policy, machine, ways: Ways { door: Door::Stdio, clipboard: false, latest: false } }
    }

    fn lab(hidden: Hidden) -> Lab {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path().canonicalize().expect("its real path");
        let root = base.join("root");
        fs::create_dir_all(root.join("sub/.keys")).expect("folders");
        fs::create_dir_all(base.join("root-evil")).expect("folders");
        fs::write(base.join("secret.png"), "secret").expect("a file");
        fs::write(base.join("root-evil/a.png"), "secret").expect("a file");
        fs::write(root.join("a.png"), "fine").expect("a file");
        fs::write(root.join("sub/.keys/k.png"), "hidden").expect("a file");
        symlink(base.join("secret.png"), root.join("link.png")).expect("a link");
        symlink(&base, root.join("up")).expect("a link");
        symlink(root.join("sub"), root.join("inner")).expect("a link");
        let roots = vec![Root { path: root.clone(), hidden }];
        let policy = PathPolicy::Roots(roots);
        Lab {
            folder,
            paths: paths(policy, Machine { working_directory: Some(root), home: Some(base), ..Machine::default() }),
        }
    }

    fn read(lab: &Lab, path: &str) -> Result<String, &'static str> {
        let base = lab.folder.path().canonicalize().expect("its real path");
        let path = path.replace("BASE", base.to_str().expect("text"));
        let bytes = lab.paths.read(&path, 100).map_err(|failure| failure.code.name())?;
        Ok(String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn files_inside_a_root_are_read_however_they_are_spelled() {
        let lab = lab(Hidden::Allowed);
        for path in
            ["BASE/root/a.png", "a.png", "./a.png", "sub/../a.png", "~/root/a.png", "BASE/root/sub/../../root/a.png"]
        {
            assert_eq!(read(&lab, path).as_deref(), Ok("fine"), "{path}");
        }
        assert_eq!(read(&lab, "sub/.keys/k.png").as_deref(), Ok("hidden"));
    }

    #[test]
    fn nothing_outside_a_root_is_read_and_all_refusals_sound_alike() {
        let lab = lab(Hidden::Refused);
        let outside = [
            "BASE/secret.png",
            "../secret.png",
            "BASE/root/../secret.png",
            "BASE/root-evil/a.png",
            "link.png",
            "up/secret.png",
            "inner/.keys/k.png",
            "sub/.keys/k.png",
            "missing.png",
            "/etc/passwd",
            "BASE/root",
            "sub",
            "/dev/zero",
            "/proc/self/environ",
            "..",
            "../../../../../../etc/passwd",
            "~root/a.png",
        ];
        for path in outside {
            assert_eq!(read(&lab, path), Err("UNSAFE_PATH"), "{path}");
        }
    }

    /// Case 51: what a name leads to changes all the time, and never to what lies outside.
    #[test]
    fn nothing_outside_is_read_while_names_are_exchanged() {
        let lab = lab(Hidden::Allowed);
        let base = lab.folder.path().canonicalize().expect("its real path");
        fs::create_dir_all(base.join("root/dir")).expect("a folder");
        fs::write(base.join("root/dir/secret.png"), "fine").expect("a file");
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // A file and a link out of the root, and a folder and a link out of it, in the place of each other.
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = fs::write(base.join("file"), "fine")
                        .and_then(|()| fs::rename(base.join("file"), base.join("root/a.png")));
                    let _ = symlink(base.join("secret.png"), base.join("link"))
                        .and_then(|()| fs::rename(base.join("link"), base.join("root/a.png")));
                    let _ = fs::rename(base.join("root/dir"), base.join("root/kept"));
                    let _ = symlink(&base, base.join("root/dir"));
                    let _ = fs::remove_file(base.join("root/dir"));
                    let _ = fs::rename(base.join("root/kept"), base.join("root/dir"));
                }
            });
            let mut fine = 0;
            for _ in 0..3000 {
                for path in ["a.png", "dir/secret.png"] {
                    match read(&lab, path) {
                        Ok(text) => {
                            assert_eq!(text, "fine", "{path}");
                            fine += 1;
                        }
                        Err(code) => assert_eq!(code, "UNSAFE_PATH", "{path}"),
                    }
                }
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(fine > 0, "some are read");
        });
    }

    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let lab = lab(Hidden::Allowed);
        let fifo = lab.folder.path().canonicalize().expect("its real path").join("root/pipe.png");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
        assert!(made.success());
        assert_eq!(read(&lab, "pipe.png"), Err("UNSAFE_PATH"));
        let own = paths(PathPolicy::Own, Machine::default()).read("/dev/zero", 100).expect_err("a device");
        assert_eq!(own.code, Code::InvalidInput);
    }

    #[test]
    fn files_beyond_the_limit_are_refused() {
        let lab = lab(Hidden::Allowed);
        let base = lab.folder.path().canonicalize().expect("its real path");
        fs::write(base.join("root/big.png"), vec![0; 101]).expect("a file");
        assert_eq!(read(&lab, "big.png"), Err("IMAGE_TOO_LARGE"));
    }
}
