//! What chat programs and their models write for an attachment, and what to ask for in its place: attachments of a chat
//! do not reach tools.
//!
//! Told by spelling alone, so that nothing here says what exists on this machine.

use std::path::Path;

use super::spelling::{Drives, is_on_drive, shown, unwrapped};
use crate::failure::Failure;
use crate::intake::Door;

/// By which ways the image of a user can come through a door.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    pub(super) door: Door,
    /// Whether `clipboard` and `latest` are understood there.
    pub(super) clipboard: bool,
    pub(super) latest: bool,
}

impl Ways {
    /// What to do about an image that cannot be found.
    pub(super) fn advice(self) -> String {
        match self.door {
            Door::CommandLine => "give the path of the image's file, or its URL".into(),
            Door::Stdio => format!("ask the user for the absolute path of the image's file, {}", self.requests()),
            Door::Http => format!("ask the user {}", self.requests()),
        }
    }

    /// What else than a path the user can be asked for.
    pub(super) fn requests(self) -> String {
        let mut requests = vec!["for an https URL of it"];
        if self.door == Door::Http {
            requests.push("to upload it with `POST /v1/images`, and give the handle that comes back");
        }
        if self.clipboard {
            requests.push("to copy it, and give `clipboard` then");
        }
        if self.latest {
            requests.push("to take a screenshot of it, and give `latest` then");
        }
        requests.join(", or ")
    }
}

/// The refusal of what stands for an attachment and can be nothing else, if it is that.
pub(super) fn refusal(named: &str, ways: Ways) -> Option<Failure> {
    let named = named.trim();
    let kind = if is_placeholder(named) {
        "a placeholder for an attachment of the chat"
    } else if has_scheme_of_chats(unwrapped(named)) {
        "an address that only the chat program knows"
    } else {
        return None;
    };
    let failure = Failure::invalid(format!("{} is {kind}, not the image itself", shown(Path::new(named))));
    Some(failure.advise(format!("attachments of a chat do not reach tools: {}", ways.advice())))
}

/// `[Image #1]` and its like. What could be the name of a file is not taken for one.
fn is_placeholder(text: &str) -> bool {
    const WORDS: [&str; 9] = [
        "image",
        "screenshot",
        "unsupported image",
        "attachment",
        "attached",
        "pasted",
        "uploaded",
        "user image",
        "input_image",
    ];
    const LONGEST: usize = 200;
    if text.len() > LONGEST {
        return false;
    }
    let lower = text.to_lowercase();
    let brackets = [('[', ']'), ('<', '>'), ('{', '}'), ('(', ')')];
    let is_bracketed = brackets.into_iter().any(|(open, close)| lower.starts_with(open) && lower.ends_with(close));
    let words = lower.trim_matches(|c| "[]<>{}()".contains(c));
    is_bracketed && WORDS.iter().any(|word| words.starts_with(word)) && !words.contains(|c| "./\\[]<>{}()".contains(c))
}

fn has_scheme_of_chats(text: &str) -> bool {
    const SCHEMES: [&str; 7] = ["attachment", "attachments", "sandbox", "blob", "cid", "file-service", "sediment"];
    // A space behind the colon makes it a name that somebody chose.
    let scheme = text.split_once(':').filter(|(_, rest)| !rest.starts_with(' ')).map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)))
}

/// What a path that leads nowhere looks like, for whoever has to find a better one.
pub(super) fn hint(named: &str, drives: &Drives) -> Option<&'static str> {
    let text = named.replace('\\', "/").to_lowercase();
    if is_base64(named) {
        return Some("this looks like base64, which is understood only behind `data:image/png;base64,`");
    }
    if is_folder_of_chats(&text) || is_invented(&text) {
        return Some(
            "this looks like the name by which a chat program knows an attachment, and attachments do not reach tools",
        );
    }
    let is_foreign = is_on_drive(named) || named.starts_with("\\\\") || text.starts_with("//wsl");
    match drives {
        Drives::Absent if is_foreign => {
            Some("this is a path of Windows, and visiongate runs on another system, perhaps in a container")
        }
        Drives::Mounted { .. } if is_foreign => Some("visiongate runs inside of WSL, where drives are folders of /mnt"),
        _ => None,
    }
}

fn is_base64(text: &str) -> bool {
    let begins = ["iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR"].iter().any(|head| text.starts_with(head));
    begins && text.len() > 100 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
}

/// Where the tools of chat programs keep files, on machines that are not this one.
fn is_folder_of_chats(text: &str) -> bool {
    const FOLDERS: [&str; 7] = [
        "/mnt/data/",
        "/mnt/user-data/",
        "/mnt/file_upload/",
        "/home/user/uploads/",
        "/home/oai/",
        "/uploads/",
        "/tmp/uploads/",
    ];
    const EXAMPLES: [&str; 5] = ["path/to/", "/username/", "/your_username/", "/yourname/", "your_image"];
    FOLDERS.iter().any(|folder| text.starts_with(folder)) || EXAMPLES.iter().any(|part| text.contains(part))
}

/// Names without a folder that models make up, and the ids of uploads to vendors.
fn is_invented(text: &str) -> bool {
    const NAMES: [&str; 15] = [
        "image",
        "img",
        "photo",
        "picture",
        "screenshot",
        "attachment",
        "attached image",
        "upload",
        "uploaded image",
        "pasted image",
        "clipboard image",
        "user image",
        "input image",
        "input file",
        "file",
    ];
    let is_id = ["file-", "file_"].iter().any(|head| text.starts_with(head)) && !text.contains(['.', '/']);
    let stem = text.rsplit_once('.').map_or(text, |(stem, _)| stem);
    let stem = stem.trim_end_matches(|c: char| c.is_ascii_digit() || " _-#()".contains(c)).replace(['_', '-'], " ");
    is_id || NAMES.contains(&stem.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(door: Door) -> Ways {
        Ways { door, clipboard: false, latest: false }
    }

    #[test]
    fn what_stands_for_an_attachment_is_refused_with_advice() {
        for named in [
            "[Image #1]",
            "[Image]",
            "[Unsupported Image]",
            " [Screenshot 2] ",
            "<image>",
            "<image_1>",
            "{{image}}",
            "{image}",
            "[attached image]",
            "sandbox:/mnt/data/shot.png",
            "\"sandbox:/mnt/data/shot.png\"",
            "![shot](sandbox:/mnt/data/shot.png)",
            "attachment://shot.png",
            "blob:https://chat.example/0a1b",
            "CID:part1@mail",
            "file-service://file-abc",
        ] {
            let failure = refusal(named, ways(Door::Stdio)).expect(named);
            assert_eq!(failure.code.name(), "INVALID_INPUT", "{named}");
            assert!(failure.advice.expect("advice").contains("ask the user for the absolute path"), "{named}");
        }
        for named in [
            "image.png",
            "[image 1].png",
            "<image.png>",
            "[image](/tmp/a.png)",
            "![image](/tmp/a.png)",
            "/tmp/[image].png",
            "notes: final.png",
            "attachment: final.png",
            "https://example.org/cid:1.png",
            "C:\\a.png",
        ] {
            assert_eq!(refusal(named, ways(Door::Stdio)), None, "{named}");
        }
    }

    #[test]
    fn advice_fits_the_door() {
        assert!(ways(Door::Http).advice().contains("POST /v1/images"));
        assert!(!ways(Door::Stdio).advice().contains("clipboard"));
        let all = Ways { door: Door::Stdio, clipboard: true, latest: true };
        assert!(all.advice().contains("`clipboard`") && all.advice().contains("`latest`"));
    }

    #[test]
    fn paths_of_other_machines_are_told_by_their_spelling() {
        let check = |named: &str, part: Option<&str>| {
            let hint = hint(named, &Drives::Absent);
            assert_eq!(hint.is_some(), part.is_some(), "{named}: {hint:?}");
            assert!(hint.unwrap_or_default().contains(part.unwrap_or_default()), "{named}: {hint:?}");
        };
        for named in [
            "/mnt/data/shot.png",
            "/home/user/uploads/a.png",
            "/path/to/your/image.jpg",
            "image.png",
            "image1.jpeg",
            "image_2.png",
            "uploaded_image.png",
            "Screenshot.png",
            "input_file_0.png",
            "file-AbC123",
        ] {
            check(named, Some("attachment"));
        }
        check("C:\\Users\\me\\a.png", Some("path of Windows"));
        check("\\\\wsl$\\Ubuntu\\a.png", Some("path of Windows"));
        check(&format!("iVBORw0KGgo{}", "A".repeat(200)), Some("base64"));
        check("/home/me/shots/image-of-cat.png", None);
        check("shots/image.png", None);
        check("receipt.png", None);
    }
}
