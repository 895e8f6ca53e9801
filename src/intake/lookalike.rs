//! Finds the file whose name looks like the one that was written: programs name files with characters that nobody types.
//!
//! macOS puts U+202F before AM and PM of screenshots, takes accents apart, and typesets apostrophes; people and models
//! write a plain space, a whole letter and `'`.

use std::ffi::{OsStr, OsString};

use cap_std::fs::Dir;
use icu_normalizer::ComposingNormalizerBorrowed;

/// Entries of a folder that are looked at; in one with more, nothing is found.
pub(super) const MOST_ENTRIES: usize = 50_000;

/// The one entry of a folder that looks like this name; nothing when there are two.
pub(super) fn find(folder: &Dir, name: &OsStr) -> Option<OsString> {
    let wanted = plain(name.to_str()?);
    let mut found = None;
    for (index, entry) in folder.entries().ok()?.enumerate() {
        let name = entry.ok()?.file_name();
        let is_alike = name.to_str().is_some_and(|name| plain(name) == wanted);
        if index >= MOST_ENTRIES || (is_alike && found.replace(name).is_some()) {
            return None;
        }
    }
    found
}

/// A name as somebody would type it who only sees it.
fn plain(name: &str) -> String {
    let typed = name.chars().filter_map(|c| match c {
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{ad}' => None,
        '‘' | '’' | '‚' | '‛' | '′' => Some('\''),
        '“' | '”' | '„' | '‟' | '″' => Some('"'),
        '‐' | '‑' | '‒' | '–' | '—' | '−' => Some('-'),
        c if c.is_whitespace() => Some(' '),
        c => Some(c),
    });
    ComposingNormalizerBorrowed::new_nfc().normalize(&typed.collect::<String>()).into_owned()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use cap_std::ambient_authority;

    fn found(names: &[&str], wanted: &str) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        let folder = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("the folder");
        find(&folder, OsStr::new(wanted)).map(|name| name.into_string().expect("text"))
    }

    #[test]
    fn names_are_found_as_they_look() {
        let check = |real: &str, wanted: &str| {
            assert_eq!(found(&[real, "other.png"], wanted).as_deref(), Some(real), "{wanted}");
        };
        let screenshot = "Screenshot 2026-11-20 at 9.41.07\u{202f}AM.png";
        check(screenshot, "Screenshot 2026-11-20 at 9.41.07 AM.png");
        check(screenshot, "Screenshot\u{a0}2026-11-20 at 9.41.07 AM.png");
        check("Cafe\u{301}.png", "Café.png");
        check("Café.png", "Cafe\u{301}.png");
        check("Tim’s “new” plan – 1.png", "Tim's \"new\" plan - 1.png");
        check("\u{200e}IMG 1.png", "IMG 1.png");
        check("한글.png", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}.png");
    }

    #[test]
    fn what_could_be_two_files_is_neither() {
        assert_eq!(found(&["a\u{202f}b.png", "a\u{a0}b.png"], "a b.png"), None);
        assert_eq!(found(&["cafe.png"], "café.png"), None);
        assert_eq!(found(&["A.png"], "a.png"), None);
    }
}
