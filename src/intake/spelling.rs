//! How people and models write paths: what they wrap around them, and what a path can mean on this machine.
//!
//! Nothing here looks at a file system. A path may have several readings; they are tried in turn, the literal one first.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::clean;

/// What relative paths, `~` and drive letters mean here; what is absent makes no sense here.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    pub working_directory: Option<PathBuf>,
    pub home: Option<PathBuf>,
    pub drives: Drives,
}

/// Where the drives of Windows are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Drives {
    /// Nowhere: this is another system.
    #[default]
    Absent,
    /// This is Linux inside of Windows, which has the drive `C:` in the folder `c` of this folder.
    Mounted { folder: PathBuf, distribution: Option<String> },
    /// This is Windows.
    Own,
}

/// Takes off what is wrapped around a path or an address: spaces and invisible marks, quotes of every kind, angle
/// brackets, a leading `@`, and Markdown for images and links.
pub(super) fn unwrapped(text: &str) -> &str {
    let mut text = trimmed(text);
    while let Some(inner) = peeled(text) {
        text = trimmed(inner);
    }
    text
}

/// The properties of a file in Windows put U+202A before a path that is copied from there.
fn trimmed(text: &str) -> &str {
    let is_mark = |c: char| matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{feff}');
    text.trim_matches(|c: char| c.is_whitespace() || is_mark(c))
}

fn peeled(text: &str) -> Option<&str> {
    // Languages pair the typographic ones differently, and some close with the sign that others open with.
    const QUOTES: [&str; 5] = ["\"", "'", "`", "“”„‟«»", "‘’‚‛‹›"];
    let quoted = |family: &&str| text.strip_prefix(|c| family.contains(c))?.strip_suffix(|c| family.contains(c));
    let between = |open, close| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    text.strip_prefix('@')
        .or_else(|| QUOTES.iter().find_map(quoted))
        .or_else(|| between("\\\"", "\\\""))
        .or_else(|| between("<", ">"))
        .or_else(|| markdown(text))
}

/// The target of `![words](target "title")`, with or without the parts that are optional.
fn markdown(text: &str) -> Option<&str> {
    let words = text.strip_prefix('!').unwrap_or(text).strip_prefix('[')?;
    let target = words.split_once("](")?.1.strip_suffix(')')?;
    let titled = target.strip_suffix('"').and_then(|rest| rest.rsplit_once(" \""));
    Some(titled.map_or(target, |(target, _)| target))
}

/// Whether this is a path on a drive of Windows.
pub(super) fn is_on_drive(text: &str) -> bool {
    on_drive(text).is_some()
}

/// The letter of the drive, in lower case, and the names behind it.
fn on_drive(text: &str) -> Option<(char, Vec<&str>)> {
    let mut characters = text.chars();
    let (letter, colon, slash) = (characters.next()?, characters.next()?, characters.next()?);
    let is_drive = letter.is_ascii_alphabetic() && colon == ':' && is_slash(slash);
    is_drive.then(|| (letter.to_ascii_lowercase(), names(characters.as_str())))
}

fn is_slash(c: char) -> bool {
    matches!(c, '/' | '\\')
}

/// The names between slashes of either kind, which models often double.
fn names(text: &str) -> Vec<&str> {
    text.split(is_slash).filter(|name| !name.is_empty()).collect()
}

impl Machine {
    /// What a path can mean here, the literal meaning first; absolute where there is a working directory.
    pub(super) fn readings(&self, named: &str) -> Vec<PathBuf> {
        let mut spellings = vec![Cow::Borrowed(named)];
        spellings
            .extend(unescaped(named).filter(|_| self.drives != Drives::Own && !is_on_drive(named)).map(Cow::Owned));
        spellings.extend(percent_decoded(named).map(Cow::Owned));
        let mut readings: Vec<PathBuf> = Vec::new();
        for spelling in spellings {
            for reading in [Some(self.absolute(&spelling)), self.across(&spelling)].into_iter().flatten() {
                if !readings.contains(&reading) {
                    readings.push(reading);
                }
            }
        }
        readings
    }

    /// Whether it depends on the working directory what a path means.
    pub(super) fn is_relative(&self, named: &str) -> bool {
        self.at_home(named).is_none() && !Path::new(named).is_absolute() && !is_on_drive(named)
    }

    fn absolute(&self, text: &str) -> PathBuf {
        let path = self.at_home(text).unwrap_or_else(|| PathBuf::from(text));
        self.working_directory.as_ref().map_or_else(|| path.clone(), |folder| folder.join(&path))
    }

    /// No other variable is understood: callers could read the environment by them.
    fn at_home(&self, text: &str) -> Option<PathBuf> {
        const EVERYWHERE: [&str; 3] = ["~/", "$HOME/", "${HOME}/"];
        const ON_WINDOWS: [&str; 5] = ["~\\", "$HOME\\", "%USERPROFILE%\\", "%USERPROFILE%/", "%userprofile%\\"];
        let windows = if self.drives == Drives::Own { &ON_WINDOWS[..] } else { &[] };
        let rest = EVERYWHERE.iter().chain(windows).find_map(|home| text.strip_prefix(home))?;
        // A second slash must not make it a path from the root.
        Some(self.home.as_ref()?.join(rest.trim_start_matches(is_slash)))
    }

    /// The path on this side of the border between Windows and Linux.
    fn across(&self, text: &str) -> Option<PathBuf> {
        match &self.drives {
            Drives::Absent => None,
            Drives::Mounted { folder, distribution } => {
                let drive = on_drive(text).map(|(letter, names)| folder.join(letter.to_string()).join(joined(&names)));
                drive.or_else(|| shared(text, distribution.as_deref()))
            }
            Drives::Own => on_mounted_drive(text),
        }
    }
}

fn joined(names: &[&str]) -> PathBuf {
    names.iter().collect()
}

/// What Windows calls `\\wsl.localhost\Ubuntu\home\me` is `/home/me` in that distribution, and a stranger's in others.
fn shared(text: &str, distribution: Option<&str>) -> Option<PathBuf> {
    let names = text.starts_with(is_slash).then(|| names(text))?;
    let [host, owner, inside @ ..] = names.as_slice() else { return None };
    let is_share = ["wsl.localhost", "wsl$"].iter().any(|share| host.eq_ignore_ascii_case(share));
    let is_ours = distribution.is_none_or(|ours| ours.eq_ignore_ascii_case(owner));
    (is_share && is_ours).then(|| Path::new("/").join(joined(inside)))
}

/// `/c/Users` and `/mnt/c/Users` are what shells on Windows call `C:\Users`.
fn on_mounted_drive(text: &str) -> Option<PathBuf> {
    let names = text.starts_with('/').then(|| names(text))?;
    let names = names.strip_prefix(&["mnt"][..]).unwrap_or(&names);
    let (drive, names) = names.split_first()?;
    let is_drive = drive.len() == 1 && drive.chars().all(|c| c.is_ascii_alphabetic());
    is_drive.then(|| PathBuf::from(format!("{}:\\{}", drive.to_uppercase(), names.join("\\"))))
}

/// The path without the backslashes that shells ask for, and that terminals write when a file is dropped on them.
fn unescaped(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return None;
    }
    // An apostrophe between single quotes.
    let text = text.replace("'\\''", "'");
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        plain.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    Some(plain)
}

fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    (decoded != text && !decoded.contains('\0')).then(|| decoded.into_owned())
}

/// A path as errors and warnings show it: harmless to a terminal, in one line, and not at any length.
pub(super) fn shown(path: &Path) -> String {
    const LONGEST: usize = 300;
    let text = clean::text(&path.display().to_string()).replace(['\n', '\t'], " ");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(drives: Drives) -> Machine {
        Machine { working_directory: Some("/cwd".into()), home: Some("/home/me".into()), drives }
    }

    #[test]
    fn wrappings_are_taken_off() {
        let check = |text: &str, expected: &str| assert_eq!(unwrapped(text), expected, "{text}");
        for wrapped in [
            "/a b.png",
            "  /a b.png\n",
            "\"/a b.png\"",
            "'/a b.png'",
            "`/a b.png`",
            "“/a b.png”",
            "„/a b.png“",
            "”/a b.png”",
            "‘/a b.png’",
            "«/a b.png»",
            "»/a b.png«",
            "\\\"/a b.png\\\"",
            "</a b.png>",
            "@/a b.png",
            "@\"/a b.png\"",
            "\"@/a b.png\"",
            "` \"'/a b.png'\" `",
            "![a shot](/a b.png)",
            "![](/a b.png)",
            "[shot](/a b.png)",
            "![a shot](</a b.png>)",
            "![a shot](/a b.png \"title\")",
            "\u{202a}/a b.png\u{202c}",
            "\u{feff}/a b.png",
        ] {
            check(wrapped, "/a b.png");
        }
        check("it's.png", "it's.png");
        check("\"open.png", "\"open.png");
        check("\"", "\"");
        check("a@b.png", "a@b.png");
        check("[draft] plan (1).png", "[draft] plan (1).png");
        check("[Image #1]", "[Image #1]");
        check(&"<".repeat(1 << 16), &"<".repeat(1 << 16));
        check(&"@".repeat(1 << 16), "");
    }

    #[test]
    fn paths_are_read_as_shells_and_browsers_write_them() {
        let check = |text: &str, expected: &[&str]| {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(machine(Drives::Absent).readings(text), expected, "{text}");
        };
        check("/a b.png", &["/a b.png"]);
        check("a.png", &["/cwd/a.png"]);
        check("~/a.png", &["/home/me/a.png"]);
        check("~//etc/passwd", &["/home/me/etc/passwd"]);
        check("$HOME/a.png", &["/home/me/a.png"]);
        check("${HOME}/a.png", &["/home/me/a.png"]);
        check("$PATH/a.png", &["/cwd/$PATH/a.png"]);
        check("~you/a.png", &["/cwd/~you/a.png"]);
        check("~\\a.png", &["/cwd/~\\a.png", "/cwd/~a.png"]);
        check("/a\\ b\\(1\\).png", &["/a\\ b\\(1\\).png", "/a b(1).png"]);
        check("/it'\\''s.png", &["/it'\\''s.png", "/it's.png"]);
        check("/a%20b.png", &["/a%20b.png", "/a b.png"]);
        check("/100%.png", &["/100%.png"]);
        check("/a%00b.png", &["/a%00b.png"]);
        check("/a%ff.png", &["/a%ff.png"]);
        check("C:\\a b.png", &["/cwd/C:\\a b.png"]);
        check("\\", &["/cwd/\\", "/cwd/"]);
    }

    #[cfg(unix)]
    #[test]
    fn paths_of_windows_are_found_from_linux_inside_of_it() {
        let drives = Drives::Mounted { folder: "/mnt".into(), distribution: Some("Ubuntu".into()) };
        let check = |text: &str, expected: Option<&str>| {
            let readings = machine(drives.clone()).readings(text);
            let expected = expected.map(PathBuf::from);
            assert_eq!(readings.get(1), expected.as_ref(), "{text}");
        };
        check("C:\\Users\\me\\a b.png", Some("/mnt/c/Users/me/a b.png"));
        check("C:\\\\Users\\\\me\\\\a.png", Some("/mnt/c/Users/me/a.png"));
        check("d:/a.png", Some("/mnt/d/a.png"));
        check("C://a.png", Some("/mnt/c/a.png"));
        check("C:a.png", None);
        check("\\\\wsl.localhost\\Ubuntu\\home\\me\\a.png", Some("/home/me/a.png"));
        check("\\\\wsl$\\ubuntu\\home\\me\\a.png", Some("/home/me/a.png"));
        check("//wsl.localhost/Ubuntu/home/me/a.png", Some("/home/me/a.png"));
        // The same path in another distribution is another file; all that is left is what a shell would make of it.
        check("//wsl$/Debian/home/me/a.png", None);
        check("/home/me/a.png", None);
    }

    #[test]
    fn shells_on_windows_have_names_of_their_own_for_drives() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(on_mounted_drive(text), expected.map(PathBuf::from), "{text}");
        };
        check("/c/Users/me/a.png", Some("C:\\Users\\me\\a.png"));
        check("/mnt/c/Users/a.png", Some("C:\\Users\\a.png"));
        check("/tmp/a.png", None);
        check("c/a.png", None);
        check("/mnt", None);
    }

    #[test]
    fn what_is_shown_is_harmless_and_short() {
        assert_eq!(shown(Path::new("/a\u{1b}[2J\nb\u{202e}gnp.png")), "/a[2J bgnp.png");
        assert_eq!(shown(Path::new(&"é".repeat(1 << 16))).chars().count(), 301);
    }
}
