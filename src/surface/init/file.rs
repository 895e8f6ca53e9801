//! Other people's settings as files: read whole, replaced at once or not at all, with a copy of what they were.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::place::Place;

/// Bytes of a file that could still be settings.
const LARGEST: u64 = 8 << 20;

/// Settings as they were found.
#[derive(Debug)]
pub(super) struct Found {
    /// The file itself, behind links.
    file: PathBuf,
    /// Absent when there is no file yet.
    old: Option<Old>,
}

#[derive(Debug)]
struct Old {
    text: String,
    about: Metadata,
}

/// Where the settings were kept as they had been.
#[derive(Debug)]
pub(super) struct Kept(pub(super) PathBuf);

impl Found {
    /// Looks at what is there. Links are followed to the file, which is what gets replaced: settings are often kept
    /// elsewhere and linked. A project's links may not lead out of it, because a project can be anybody's.
    pub(super) fn at(place: &Place) -> Result<Self, String> {
        let shown = place.file.display();
        let linked = match fs::symlink_metadata(&place.file) {
            Ok(there) => there.is_symlink(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                check_inside(place, &nearest_folder(&place.file))?;
                return Ok(Self { file: place.file.clone(), old: None });
            }
            Err(error) => return Err(format!("looking for {shown}: {error}")),
        };
        let file = fs::canonicalize(&place.file).map_err(|error| {
            if linked {
                format!("{shown} is a link that leads nowhere")
            } else {
                format!("looking for {shown}: {error}")
            }
        })?;
        check_inside(place, &file)?;
        let old = Old::read(&file).map_err(|why| format!("{shown} {why}"))?;
        Ok(Self { file, old: Some(old) })
    }

    /// What stands there; empty when there is no file.
    pub(super) fn text(&self) -> &str {
        self.old.as_ref().map_or("", |old| &old.text)
    }

    /// Puts another text in its place, in one step, with the same owner and permissions. What was there is kept beside it.
    pub(super) fn replace(&self, text: &str) -> Result<Option<Kept>, String> {
        let shown = self.file.display();
        let failed = |error: std::io::Error| format!("writing {shown}: {error}");
        let folder = self.file.parent().ok_or_else(|| format!("{shown} has no folder"))?;
        let Some(old) = &self.old else {
            fs::create_dir_all(folder).map_err(failed)?;
            let new = beside(folder, text).map_err(failed)?;
            // Not over a file that came meanwhile.
            new.persist_noclobber(&self.file).map_err(|error| failed(error.error))?;
            return Ok(None);
        };
        let kept = keep(&self.file, folder, old).map_err(|error| format!("keeping a copy of {shown}: {error}"))?;
        let new = beside(folder, text).and_then(|new| old.hand_over(new.as_file()).map(|()| new));
        let unchanged = Old::read(&self.file).is_ok_and(|now| now.text == old.text);
        let replaced = match new {
            Ok(_) if !unchanged => Err(format!("{shown} was changed by somebody else meanwhile: try again")),
            Ok(new) => new.persist(&self.file).map(drop).map_err(|error| failed(error.error)),
            Err(error) => Err(failed(error)),
        };
        if replaced.is_err() {
            let _ = fs::remove_file(&kept);
        }
        replaced.map(|()| Some(Kept(kept)))
    }
}

impl Old {
    fn read(file: &Path) -> Result<Self, String> {
        let cannot = |error: std::io::Error| match error.kind() {
            ErrorKind::InvalidData => "is no UTF-8 text".to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        // Looked at before it is opened: opening a pipe would wait for somebody.
        if !fs::metadata(file).map_err(cannot)?.is_file() {
            return Err("is no regular file".into());
        }
        let opened = File::open(file).map_err(cannot)?;
        let about = opened.metadata().map_err(cannot)?;
        if about.permissions().readonly() {
            return Err("is write-protected".into());
        }
        let mut text = String::new();
        let read = opened.take(LARGEST + 1).read_to_string(&mut text).map_err(cannot)?;
        if read as u64 > LARGEST {
            return Err(format!("is larger than {LARGEST} bytes"));
        }
        Ok(Self { text, about })
    }

    /// Gives a new file to the owner of this one, with the same permissions. By its handle: its name may stand for another
    /// file by now, in a folder that is somebody else's.
    #[cfg(unix)]
    fn hand_over(&self, new: &File) -> std::io::Result<()> {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
        let (own, mut permissions) = (new.metadata()?, self.about.permissions());
        if own.uid() != self.about.uid() {
            fchown(new, Some(self.about.uid()), None).map_err(|error| {
                let advice = "the file belongs to somebody else, who has to run this, or add the entry by hand";
                std::io::Error::new(error.kind(), format!("{error}; {advice}"))
            })?;
        }
        if own.gid() != self.about.gid() && fchown(new, None, Some(self.about.gid())).is_err() {
            // What one group may do is not for another one.
            permissions.set_mode(permissions.mode() & !0o070);
        }
        new.set_permissions(permissions)
    }

    #[cfg(not(unix))]
    fn hand_over(&self, new: &File) -> std::io::Result<()> {
        new.set_permissions(self.about.permissions())
    }
}

fn check_inside(place: &Place, file: &Path) -> Result<(), String> {
    let Some(project) = &place.project else { return Ok(()) };
    let inside = |project: PathBuf| fs::canonicalize(file).is_ok_and(|file| file.starts_with(project));
    if fs::canonicalize(project).is_ok_and(inside) {
        return Ok(());
    }
    Err(format!("{} leads out of the project by a link", place.file.display()))
}

/// The folder above a file that is there already.
fn nearest_folder(file: &Path) -> PathBuf {
    file.ancestors().skip(1).find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(file).to_owned()
}

/// A complete file in the same folder, so that taking its place is one step. It goes away unless it does. Only its owner
/// can read it: settings can hold keys.
fn beside(folder: &Path, text: &str) -> std::io::Result<NamedTempFile> {
    let mut new = tempfile::Builder::new().prefix(".visiongate-").tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    Ok(new)
}

/// Keeps a copy under a name that nobody has yet: an older copy may be worth more than this one.
fn keep(file: &Path, folder: &Path, old: &Old) -> std::io::Result<PathBuf> {
    let mut copy = beside(folder, &old.text)?;
    old.hand_over(copy.as_file())?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    for number in 1..=MOST_COPIES {
        let number = if number == 1 { String::new() } else { number.to_string() };
        let kept = folder.join(format!("{name}.bak{number}"));
        match copy.persist_noclobber(&kept) {
            Ok(_) => return Ok(kept),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => copy = error.file,
            Err(error) => return Err(error.error),
        }
    }
    Err(std::io::Error::other(format!("there are {MOST_COPIES} already: remove those that you need no more")))
}

const MOST_COPIES: u32 = 99;
