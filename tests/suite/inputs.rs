//! Images of this machine as people and models write them: every spelling of a path, the clipboard, and the newest
//! screenshot; and what none of them must ever open or give away.

use std::fs::File;
use std::io::Cursor;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use image::{DynamicImage, ImageFormat, RgbImage};
use tokio::time::Instant;
use visiongate::failure::Failure;
use visiongate::intake::fetch::Networks;
use visiongate::intake::path::{Hidden, Root};
use visiongate::intake::spelling::{Drives, Machine};
use visiongate::intake::{Door, Intake, Picture, Settings};

/// A machine with a home folder that programs may read but for what is hidden.
struct Lab {
    _folder: tempfile::TempDir,
    home: PathBuf,
    settings: Settings,
}

fn lab() -> Lab {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().canonicalize().expect("its real path").join("home");
    std::fs::create_dir_all(home.join("shots")).expect("folders");
    let machine = Machine {
        working_directory: Some(home.join("shots")),
        home: Some(home.clone()),
        drives: Drives::Mounted { folder: home.join("mnt"), distribution: Some("Ubuntu".into()) },
    };
    let settings = Settings {
        max_bytes: 2_000_000,
        max_pixels: 4_000_000,
        networks: Networks::PublicOnly,
        stdio_roots: vec![Root { path: home.clone(), hidden: Hidden::Refused }],
        http_roots: Vec::new(),
        machine,
        clipboard: false,
        latest: vec![home.join("shots")],
        threads: 2,
    };
    Lab { _folder: folder, home, settings }
}

impl Lab {
    fn save(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.home.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// A file that was changed this many seconds ago.
    fn save_aged(&self, name: &str, bytes: &[u8], age: u64) -> PathBuf {
        let path = self.save(name, bytes);
        let then = SystemTime::now() - Duration::from_secs(age);
        File::options().write(true).open(&path).and_then(|file| file.set_modified(then)).expect("a date");
        path
    }

    fn home(&self) -> &str {
        self.home.to_str().expect("text")
    }

    async fn open(&self, named: &str, door: Door) -> Result<Picture, Failure> {
        let deadline = Instant::now() + Duration::from_secs(20);
        Intake::new(self.settings.clone(), super::intake::uploads()).open(named, door, deadline).await
    }

    async fn refusal(&self, named: &str, door: Door) -> Failure {
        self.open(named, door).await.expect_err(named)
    }

    async fn latest(&self) -> (Option<(u32, u32)>, String) {
        let picture = self.open("latest", Door::Stdio).await.expect("a picture");
        assert_eq!(picture.source(), "latest");
        (picture.size(), picture.warnings().join("; "))
    }
}

/// An image of so many pixels, by which it is told apart.
fn png(side: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(RgbImage::new(side, 40)).write_to(&mut bytes, ImageFormat::Png).expect("an image");
    bytes.into_inner()
}

fn words(failure: &Failure) -> String {
    format!("{}: {} ({})", failure.code.name(), failure.message, failure.advice.clone().unwrap_or_default())
}

#[tokio::test]
async fn paths_are_opened_however_they_are_written() {
    let lab = lab();
    lab.save("shots/my shot (1).png", &png(30));
    lab.save("mnt/c/Users/me/my shot (1).png", &png(30));
    let spellings = [
        "ROOT/shots/my shot (1).png",
        "my shot (1).png",
        "./my shot (1).png",
        "~/shots/my shot (1).png",
        "$HOME/shots/my shot (1).png",
        "${HOME}/shots/my shot (1).png",
        " \"ROOT/shots/my shot (1).png\"\n",
        "'ROOT/shots/my shot (1).png'",
        "`ROOT/shots/my shot (1).png`",
        "“ROOT/shots/my shot (1).png”",
        "‘ROOT/shots/my shot (1).png’",
        "<ROOT/shots/my shot (1).png>",
        "@ROOT/shots/my shot (1).png",
        "@~/shots/my shot (1).png",
        "@\"~/shots/my shot (1).png\"",
        "![the shot](ROOT/shots/my shot (1).png)",
        "[the shot](<ROOT/shots/my shot (1).png> \"title\")",
        "![the shot](file://ROOT/shots/my%20shot%20(1).png)",
        "ROOT/shots/my\\ shot\\ \\(1\\).png",
        "~/shots/my\\ shot\\ \\(1\\).png",
        "'ROOT/shots/my\\ shot\\ \\(1\\).png'",
        "ROOT/shots/my%20shot%20%281%29.png",
        "file://ROOT/shots/my%20shot%20(1).png",
        "file://localhostROOT/shots/my shot (1).png",
        "file:ROOT/shots/my%20shot%20(1).png",
        "file://~/shots/my%20shot%20(1).png",
        "file://./my%20shot%20(1).png",
        "C:\\Users\\me\\my shot (1).png",
        "\"C:\\Users\\me\\my shot (1).png\"",
        "C:\\\\Users\\\\me\\\\my shot (1).png",
        "c:/Users/me/my shot (1).png",
        "file:///C:/Users/me/my%20shot%20(1).png",
        "file:///C:\\Users\\me\\my shot (1).png",
        "\u{202a}C:\\Users\\me\\my shot (1).png",
        "//wsl.localhost/UbuntuROOT/shots/my shot (1).png",
        "\\\\wsl$\\UbuntuROOT\\shots\\my shot (1).png",
        "file://wsl.localhost/UbuntuROOT/shots/my%20shot%20(1).png",
    ];
    for spelling in spellings {
        let named = spelling.replace("ROOT", lab.home());
        for door in [Door::CommandLine, Door::Stdio] {
            let picture = lab.open(&named, door).await.unwrap_or_else(|failure| panic!("{named}: {}", words(&failure)));
            assert_eq!((picture.size(), picture.source()), (Some((30, 40)), "path"), "{named}");
            assert_eq!(picture.warnings(), Vec::<String>::new(), "{named}");
        }
    }
}

#[tokio::test]
async fn a_file_of_the_very_name_comes_before_what_the_name_could_mean() {
    let lab = lab();
    lab.save("shots/a%20b.png", &png(31));
    lab.save("shots/a b.png", &png(32));
    lab.save("shots/a\\ b.png", &png(33));
    lab.save("shots/a\u{202f}b.png", &png(34));
    lab.save("shots/latest", &png(35));
    lab.save("shots/clipboard", &png(36));
    for door in [Door::CommandLine, Door::Stdio] {
        for (named, width) in [
            ("a%20b.png", 31),
            ("a b.png", 32),
            ("a\\ b.png", 33),
            ("a\u{202f}b.png", 34),
            ("./latest", 35),
            ("./clipboard", 36),
        ] {
            assert_eq!(lab.open(named, door).await.expect(named).size(), Some((width, 40)), "{named}");
        }
    }
}

#[tokio::test]
async fn names_that_nobody_can_type_are_found_by_their_looks() {
    let lab = lab();
    lab.save("shots/Screenshot 2026-11-20 at 9.41.07\u{202f}AM.png", &png(30));
    lab.save("shots/Cafe\u{301} “new”.png", &png(31));
    lab.save("shots/one\u{202f}two.png", &png(32));
    lab.save("shots/one\u{a0}two.png", &png(33));
    for door in [Door::CommandLine, Door::Stdio] {
        for (named, width) in [
            ("~/shots/Screenshot 2026-11-20 at 9.41.07 AM.png", 30),
            ("~/shots/Screenshot\\ 2026-11-20\\ at\\ 9.41.07\\ AM.png", 30),
            ("Screenshot%202026-11-20%20at%209.41.07%20AM.png", 30),
            ("Caf\u{e9} \"new\".png", 31),
        ] {
            assert_eq!(lab.open(named, door).await.expect(named).size(), Some((width, 40)), "{named}");
        }
        let doubtful = lab.refusal("one two.png", door).await;
        assert!(["INVALID_INPUT", "UNSAFE_PATH"].contains(&doubtful.code.name()), "{}", words(&doubtful));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn no_spelling_leads_out_of_the_allowed_folders() {
    use std::os::unix::fs::symlink;
    let lab = lab();
    let outside = lab.home.parent().expect("a folder").join("secret.png");
    std::fs::write(&outside, png(30)).expect("a file");
    lab.save(".keys/k.png", &png(30));
    lab.save("shots/a.png", &png(30));
    lab.save("shots/.k.png", &png(30));
    lab.save("shots/key.txt", b"-----BEGIN PRIVATE KEY-----");
    std::fs::create_dir_all(lab.home.join("mnt")).expect("a folder");
    symlink(&outside, lab.home.join("shots/link.png")).expect("a link");
    symlink(&outside, lab.home.join("shots/a\u{202f}b.png")).expect("a link");
    symlink("a.png", lab.home.join("shots/near.png")).expect("a link");
    symlink("/", lab.home.join("mnt/c")).expect("a link");
    symlink("/etc", lab.home.join("shots/etc")).expect("a link");
    let usual = words(&lab.refusal("/no/such/file.png", Door::Stdio).await);
    assert!(usual.contains(lab.home()) && usual.contains("`intake.roots`"), "{usual}");
    for named in [
        "ROOT/../secret.png",
        "ROOT%2F..%2Fsecret.png",
        "ROOT/shots/link.png",
        "ROOT/shots/a b.png",
        "ROOT/shots/near.png",
        "ROOT/shots/near\u{200b}.png",
        "ROOT/shots/l\\ink.png",
        "~/../secret.png",
        "~/.keys/k.png",
        "~//../secret.png",
        "$HOME/.keys/k.png",
        "ROOT/.keys/k .png",
        "ROOT/\u{200e}.keys/k.png",
        "ROOT/shots/\u{200e}.k.png",
        "ROOT/shots/\\.k.png",
        "ROOT/shots/%2Ek.png",
        "ROOT/shots/etc/hostname",
        "ROOT/shots/key.txt",
        "ROOT/shots",
        "C:\\etc\\passwd",
        "c:/home/../../../etc/passwd",
        "file:///C:/etc/passwd",
        "//wsl.localhost/Ubuntu/etc/passwd",
        "\\\\wsl$\\Ubuntu\\etc\\passwd",
        "file:///etc/passwd",
        "/etc/../etc/passwd",
        "/dev/zero",
        "/proc/self/environ",
    ] {
        let named = named.replace("ROOT", lab.home());
        let failure = lab.refusal(&named, Door::Stdio).await;
        assert_eq!(failure.code.name(), "UNSAFE_PATH", "{named}: {}", words(&failure));
        // Not even the advice may tell a file that is there from one that is not.
        let of_windows = named.starts_with(['C', 'c', '\\']) || named.contains("C:") || named.starts_with("//");
        assert!(of_windows || words(&failure) == usual, "{named}: {}", words(&failure));
    }
}

#[tokio::test]
async fn hostile_names_end_in_a_short_refusal() {
    let lab = lab();
    lab.save("shots/a.png", &png(30));
    let names = [
        "a\0.png".to_owned(),
        "a%00.png".into(),
        "/tmp/\n\r\n/etc/passwd".into(),
        "a\u{1b}[2J\u{7}.png".into(),
        "\u{202e}gnp.a".into(),
        "x".repeat(64 << 10),
        "/x".repeat(32 << 10),
        "../".repeat(22 << 10),
        "%".repeat(64 << 10),
        "\\".repeat(64 << 10),
        "%2e%2e/".repeat(1 << 10),
        "~/".repeat(4 << 10),
        format!("<{}", "\"".repeat(64 << 10)),
        format!("[{}", "![](".repeat(16 << 10)),
        format!("file://{}", "/x".repeat(32 << 10)),
        format!("C:\\{}", "x\\".repeat(2 << 10)),
        "[image \u{1b}[2J]".into(),
        "sandbox:\u{1b}[2J\n".into(),
        format!("[image {}]", "x".repeat(64 << 10)),
    ];
    for door in [Door::CommandLine, Door::Stdio, Door::Http] {
        for named in &names {
            let began = Instant::now();
            let failure = lab.refusal(named, door).await;
            let (said, shown) = (words(&failure), named.chars().take(30).collect::<String>());
            assert!(said.len() < 1500, "{shown:?}: {} bytes", said.len());
            assert!(!said.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}: {said:?}");
            assert!(began.elapsed() < Duration::from_secs(5), "{shown:?} took {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn folders_of_any_size_are_looked_at_within_bounds() {
    let mut lab = lab();
    let crowd = lab.home.join("crowd");
    std::fs::create_dir_all(&crowd).expect("a folder");
    for index in 0..100_000 {
        File::create(crowd.join(format!("{index}.txt"))).expect("a file");
    }
    lab.save("crowd/a\u{202f}b.png", &png(30));
    lab.settings.latest = vec![crowd];
    for door in [Door::CommandLine, Door::Stdio] {
        let began = Instant::now();
        assert_eq!(lab.open("~/crowd/a\u{202f}b.png", door).await.expect("by its name").size(), Some((30, 40)));
        lab.refusal("~/crowd/a b.png", door).await;
        let failure = lab.refusal("latest", door).await;
        assert!(failure.message.contains("too many files"), "{}", words(&failure));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn what_stands_for_an_attachment_says_what_to_ask_for() {
    let mut lab = lab();
    lab.settings.clipboard = true;
    for named in ["[Image #1]", "<image>", "sandbox:/mnt/data/a.png", "attachment://a.png", "blob:https://x/1"] {
        let at = async |door| words(&lab.refusal(named, door).await);
        let stdio = at(Door::Stdio).await;
        assert!(stdio.starts_with("INVALID_INPUT") && stdio.contains("do not reach tools"), "{stdio}");
        assert!(
            stdio.contains("absolute path") && stdio.contains("`clipboard`") && stdio.contains("`latest`"),
            "{stdio}"
        );
        let http = at(Door::Http).await;
        assert!(http.contains("POST /v1/images") && !http.contains("clipboard"), "{http}");
    }
    for named in ["/mnt/data/a.png", "/home/user/uploads/a.png", "image.png", "/path/to/image.png"] {
        for door in [Door::CommandLine, Door::Stdio, Door::Http] {
            let said = words(&lab.refusal(named, door).await);
            assert!(said.contains("attachments do not reach tools"), "{named}: {said}");
        }
    }
    // Where a relative path was looked for is said whether or not there is something.
    let shots = lab.home.join("shots").display().to_string();
    let place = format!("relative paths are looked for in {shots}");
    lab.save("shots/key.png", b"-----BEGIN PRIVATE KEY-----");
    let there = words(&lab.refusal("key.png", Door::Stdio).await);
    assert!(there.contains(&place), "{there}");
    assert_eq!(there, words(&lab.refusal("nil.png", Door::Stdio).await));
    assert!(words(&lab.refusal("nil.png", Door::CommandLine).await).contains(&format!("{shots}/nil.png")));
    assert!(!words(&lab.refusal("nil.png", Door::Http).await).contains(&shots));
    // A working directory that is not allowed is not named.
    lab.settings.machine.working_directory = Some("/some/where".into());
    assert!(!words(&lab.refusal("nil.png", Door::Stdio).await).contains("/some/where"));
}

#[tokio::test]
async fn latest_is_the_newest_image_and_says_which() {
    let mut lab = lab();
    lab.save_aged("shots/old.png", &png(30), 7200);
    let new = lab.save_aged("shots/new", &png(31), 125);
    lab.save_aged("shots/notes.png", b"no image, whatever it is called", 60);
    lab.save_aged("shots/.half.png", &png(32), 30);
    lab.save_aged("shots/sub/newer.png", &png(33), 20);
    lab.save_aged("shots/page.html", b"<!doctype html><html></html>", 10);
    let (size, warnings) = lab.latest().await;
    assert_eq!(size, Some((31, 40)), "{warnings}");
    assert!(warnings.contains(&format!("`latest` is {}, changed 2m", new.display())), "{warnings}");
    assert_eq!(lab.open("latest:2", Door::Stdio).await.expect("the one before").size(), Some((30, 40)));
    assert!(lab.refusal("latest:3", Door::Stdio).await.message.contains("no image"));
    assert_eq!(lab.open("Latest", Door::CommandLine).await.expect("the person's own").size(), Some((31, 40)));
    let drop = lab.save_aged("drop/a.png", &png(34), 90);
    lab.settings.latest.insert(0, drop.parent().expect("a folder").into());
    lab.settings.latest.push("/no/such/folder".into());
    assert_eq!(lab.latest().await.0, Some((34, 40)));
}

#[tokio::test]
async fn latest_is_for_this_machine_and_for_folders_that_somebody_named() {
    let mut lab = lab();
    lab.save_aged("shots/a.png", &png(30), 60);
    let http = lab.refusal("latest", Door::Http).await;
    assert!(http.message.contains("not given over HTTP") && !words(&http).contains(lab.home()), "{}", words(&http));
    lab.settings.latest = vec![lab.home.join("nowhere")];
    assert!(lab.refusal("latest", Door::Stdio).await.message.contains("nowhere"));
    lab.settings.latest = vec![lab.home.join("empty")];
    std::fs::create_dir(lab.home.join("empty")).expect("a folder");
    assert!(lab.refusal("latest", Door::Stdio).await.message.contains("no image for `latest`"));
    lab.settings.latest = Vec::new();
    let failure = lab.refusal("latest", Door::CommandLine).await;
    assert!(words(&failure).contains("set `intake.latest`"), "{}", words(&failure));
}

#[cfg(unix)]
#[tokio::test]
async fn latest_follows_no_link_and_waits_for_no_pipe() {
    let lab = lab();
    lab.save_aged("shots/mine.png", &png(30), 60);
    let outside = lab.save_aged("elsewhere.png", &png(31), 10);
    std::os::unix::fs::symlink(&outside, lab.home.join("shots/link.png")).expect("a link");
    let pipe = lab.home.join("shots/x.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    std::os::unix::fs::symlink("mine.png", lab.home.join("shots/near.png")).expect("a link");
    let (size, warnings) = lab.latest().await;
    assert!(size == Some((30, 40)) && warnings.contains("mine.png"), "{warnings}");
    for door in [Door::CommandLine, Door::Stdio] {
        lab.refusal("x.png", door).await;
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_read_is_not_replaced_by_an_older_one() {
    let lab = lab();
    lab.save_aged("shots/old.png", &png(30), 600);
    lab.save_aged("shots/photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0", 60);
    let failure = lab.refusal("latest", Door::Stdio).await;
    assert_eq!(failure.code.name(), "UNSUPPORTED_FORMAT");
    assert!(failure.message.contains("photo.heic"), "{}", words(&failure));
    lab.save_aged("shots/huge.png", &[png(30), vec![0; 2_000_001]].concat(), 30);
    let failure = lab.refusal("latest", Door::Stdio).await;
    assert_eq!(failure.code.name(), "IMAGE_TOO_LARGE");
    assert!(failure.message.contains("huge.png"), "{}", words(&failure));
}

#[tokio::test]
async fn a_screenshot_that_is_still_being_written_is_waited_for() {
    let lab = lab();
    lab.save_aged("shots/old.png", &png(30), 600);
    let whole = png(300);
    for begun in [0, whole.len() / 2] {
        let path = lab.save("shots/new.png", &whole[..begun]);
        let writing = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            std::fs::write(&path, &whole).expect("a file");
        };
        let ((size, warnings), ()) = tokio::join!(lab.latest(), writing);
        assert_eq!(size, Some((300, 40)), "{begun} bytes first: {warnings}");
        assert!(!warnings.contains("cut short"), "{warnings}");
    }
    // One that nobody finishes is taken as it is, and said to be.
    lab.save_aged("shots/new.png", &whole[..whole.len() / 2], 60);
    assert!(lab.latest().await.1.contains("cut short"));
}

#[tokio::test]
async fn the_clipboard_is_for_those_who_were_let() {
    let lab = lab();
    let stdio = lab.refusal("clipboard", Door::Stdio).await;
    assert_eq!(stdio.code.name(), "INVALID_INPUT");
    assert!(words(&stdio).contains("`clipboard = true` under `[intake]`"), "{}", words(&stdio));
    let http = Lab { settings: Settings { clipboard: true, ..lab.settings.clone() }, ..lab };
    let failure = http.refusal("clipboard", Door::Http).await;
    assert!(failure.message.contains("not given over HTTP"), "{}", words(&failure));
}
