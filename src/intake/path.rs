//! Opening paths that callers name, without being led outside the folders that are allowed.
//!
//! A path is walked one folder handle at a time and no symbolic link is followed, so nothing can be swapped between
//! looking and opening. What was opened is looked at, never what was named: it must be a regular file within bounds.
//! Everything here blocks; intake calls it on a worker thread.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions};

use crate::failure::{Code, Failure, Result};

/// Which paths are allowed.
#[derive(Debug, Clone)]
pub enum PathPolicy {
    /// The person's own command: their paths are theirs to name, links included.
    Own,
    /// A program asks: only what lies in these folders.
    Roots(Roots),
}

/// Folders that callers' paths may come from.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// What relative paths and `~` mean; absent where neither makes sense.
    pub working_directory: Option<PathBuf>,
    pub home: Option<PathBuf>,
    pub roots: Vec<Root>,
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

impl PathPolicy {
    /// Reads the file that a caller named.
    ///
    /// # Errors
    /// Over a guarded door, `UNSAFE_PATH` in one wording for everything that is not a readable file in an allowed
    /// folder, so that nobody can probe what exists. To the person at the machine, what is really wrong.
    /// `IMAGE_TOO_LARGE` beyond `largest` bytes.
    pub fn read(&self, named: &str, home: Option<&Path>, largest: u64) -> Result<Vec<u8>> {
        match self {
            Self::Own => read_own(&expand(named, home), largest),
            Self::Roots(roots) => {
                let file = roots.open(&expand(named, roots.home.as_deref())).ok_or_else(|| self.unsafe_path())?;
                read_bounded(file, largest).map_err(|failure| match failure.code {
                    Code::ImageTooLarge => failure,
                    _ => self.unsafe_path(),
                })
            }
        }
    }

    /// The one refusal of a guarded door.
    #[must_use]
    pub fn unsafe_path(&self) -> Failure {
        let roots = match self {
            Self::Own => &[][..],
            Self::Roots(roots) => &roots.roots,
        };
        let allowed: Vec<_> = roots.iter().map(|root| root.path.display().to_string()).collect();
        let advice = if allowed.is_empty() {
            "this door takes no paths: send the image as a data URI or an https URL; an operator can allow folders with \
             `intake.roots`"
                .to_owned()
        } else {
            format!(
                "give the absolute path of an image in {}; ask the user for it, or to allow its folder with \
                 `intake.roots`",
                allowed.join(" or ")
            )
        };
        let message = "no image can be read at this path: it is missing, not an image, or outside the allowed folders";
        Failure::new(Code::UnsafePath, message).advise(advice)
    }
}

impl Roots {
    fn open(&self, named: &Path) -> Option<File> {
        let absolute =
            if named.is_absolute() { named.to_owned() } else { self.working_directory.as_ref()?.join(named) };
        let absolute = lexically_clean(&absolute)?;
        self.roots.iter().find_map(|root| {
            let inside = absolute.strip_prefix(&root.path).ok()?;
            root.open(inside)
        })
    }
}

impl Root {
    fn open(&self, inside: &Path) -> Option<File> {
        let mut names = inside.components().map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        let mut names = names.by_ref().collect::<Option<Vec<_>>>()?;
        let is_hidden = |name: &&std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
        if self.hidden == Hidden::Refused && names.iter().any(is_hidden) {
            return None;
        }
        let file = names.pop()?;
        let mut folder = Dir::open_ambient_dir(&self.path, ambient_authority()).ok()?;
        for name in names {
            folder = folder.open_dir_nofollow(name).ok()?;
        }
        folder.open_with(file, reading().follow(FollowSymlinks::No)).ok()
    }
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

fn expand(named: &str, home: Option<&Path>) -> PathBuf {
    match (named.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(named),
    }
}

/// Non-blocking, so that a pipe without a writer cannot hold a thread.
fn reading() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).nonblock(true);
    options
}

fn read_own(path: &Path, largest: u64) -> Result<Vec<u8>> {
    let file = File::open_ambient_with(path, &reading(), ambient_authority()).map_err(|error| {
        let shown = path.display();
        let failure = Failure::invalid(format!("opening {shown}: {error}"));
        failure.advise("check the spelling of the path, and quote it if it holds spaces")
    })?;
    read_bounded(file, largest)
}

fn read_bounded(file: File, largest: u64) -> Result<Vec<u8>> {
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
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Lab {
        folder: tempfile::TempDir,
        policy: PathPolicy,
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
        let policy = PathPolicy::Roots(Roots { working_directory: Some(root), home: Some(base), roots });
        Lab { folder, policy }
    }

    fn read(lab: &Lab, path: &str) -> Result<String, &'static str> {
        let base = lab.folder.path().canonicalize().expect("its real path");
        let path = path.replace("BASE", base.to_str().expect("text"));
        let bytes = lab.policy.read(&path, None, 100).map_err(|failure| failure.code.name())?;
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

    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let lab = lab(Hidden::Allowed);
        let fifo = lab.folder.path().canonicalize().expect("its real path").join("root/pipe.png");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
        assert!(made.success());
        assert_eq!(read(&lab, "pipe.png"), Err("UNSAFE_PATH"));
        let own = PathPolicy::Own.read("/dev/zero", None, 100).expect_err("a device");
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
