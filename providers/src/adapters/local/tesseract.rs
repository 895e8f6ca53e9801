//! Reading text with a Tesseract child process, bounded in time, memory, processors and output.
//!
//! Preparing pages mostly hurts Tesseract, so a page goes as it is, and further looks are taken only when the first
//! one shows a reason: upside down, small, or in a shadow. What each look is surest of is kept.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::adapters::local::Settings;
use crate::adapters::local::page::{Page, Turn};
use crate::adapters::local::reading::Reading;
use crate::error::{Error, ErrorKind};

/// Limits the child's memory to 1 GiB and its processor time to 60 s where the system can, then becomes Tesseract.
const LIMITED: &str = "ulimit -v 1048576 2>/dev/null; ulimit -t 60 2>/dev/null; exec \"$0\" \"$@\"";
const LARGEST_OUTPUT: u64 = 16 << 20;
/// The shell's exit code for a program that it cannot find.
const NOT_FOUND: i32 = 127;
/// Readings surer than this are not looked at again.
const SURE: f32 = 70.0;
/// A turn that Tesseract is less sure of is a guess: real pages score above 5.
const SURE_OF_TURN: f32 = 4.0;

/// Why no text was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum OcrError {
    NotInstalled,
    NoLanguage(String),
    TimedOut,
    Failed(String),
}

impl OcrError {
    /// One sentence for the caller of an answer that came without text.
    pub(super) fn warning(&self) -> String {
        match self {
            Self::NotInstalled => format!("text was not read: Tesseract is not installed; {}", install("")),
            Self::NoLanguage(language) => format!(
                "text was not read: Tesseract has no language pack `{language}`; {}",
                install(&format!("-{language}"))
            ),
            Self::TimedOut => "text was not read: Tesseract did not finish in time".into(),
            Self::Failed(why) => format!("text was not read: Tesseract failed: {why}"),
        }
    }

    pub(super) fn into_error(self) -> Error {
        let kind = match self {
            Self::NotInstalled | Self::NoLanguage(_) => ErrorKind::Unsupported,
            Self::TimedOut => ErrorKind::TimedOut,
            Self::Failed(_) => ErrorKind::Unavailable,
        };
        Error::new(kind, self.warning())
    }
}

fn install(pack: &str) -> String {
    if cfg!(target_os = "macos") {
        return format!("install it with `brew install tesseract{}`", if pack.is_empty() { "" } else { "-lang" });
    }
    format!("install it with `apt-get install tesseract-ocr{pack}`")
}

/// How much larger the text of a page should be to read well, when it is small: Tesseract likes letters of 30 to 40
/// pixels. Nothing read on a small picture may have been too small as well.
fn magnification(reading: &Reading, page: &Page) -> Option<f64> {
    const GOOD_HEIGHT: f64 = 45.0;
    let factor = match reading.median_height() {
        Some(height @ 1..=20) => (GOOD_HEIGHT / f64::from(height)).clamp(1.5, 3.0),
        None if page.longest() <= 1000 => 2.0,
        _ => return None,
    };
    (f64::from(page.longest()) * factor <= 4000.0).then_some(factor)
}

/// The program and how to call it.
#[derive(Debug)]
pub(super) struct Tesseract {
    settings: Settings,
}

impl Tesseract {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Whether the program and its languages are there.
    pub(super) async fn check(&self, deadline: Instant) -> Result<(), OcrError> {
        let listed = self.run(&["--list-langs"], &[], deadline).await?;
        let missing = self.settings.languages.iter().find(|language| !listed.lines().any(|line| line == *language));
        missing.map_or(Ok(()), |language| Err(OcrError::NoLanguage(language.clone())))
    }

    /// Reads a page, looking again where the first reading gives a reason.
    pub(super) async fn read(&self, page: Page, deadline: Instant) -> Result<Reading, OcrError> {
        let mut best = (self.pass(&page, deadline).await?, page);
        if best.0.confidence() < SURE
            && best.0.len() >= 3
            && let Some(turn) = self.turn(&best.1, deadline).await
        {
            best = self.better(best, move |page| page.turned(turn), deadline).await;
        }
        best.0 = self.magnified(best.0, &best.1, deadline).await;
        if best.0.confidence() < SURE && best.1.shading() > 70 {
            best = self.better(best, Page::evened, deadline).await;
        }
        Ok(best.0.without_noise())
    }

    /// Looks again at small text, twice as its sizes are a matter of luck, and keeps what each look is surest of.
    async fn magnified(&self, reading: Reading, page: &Page, deadline: Instant) -> Reading {
        let Some(factor) = magnification(&reading, page) else { return reading };
        let look = |factor: f64, softness: f64| {
            self.again(page.clone(), move |page| page.magnified(factor, softness), deadline)
        };
        let (one, other) = tokio::join!(look(factor, 0.4), look(factor * 5.0 / 6.0, 0.7));
        let mut readings: Vec<Reading> = [one, other].into_iter().flatten().map(|(reading, _)| reading).collect();
        readings.push(reading);
        // The order of lines comes from the first: where a look splits rows into columns, it jumps back up.
        readings.sort_by(|one, other| one.jumps().cmp(&other.jumps()).then(other.score().total_cmp(&one.score())));
        let merged = readings.iter().skip(1).fold(readings[0].clone(), Reading::merged);
        merged.voted(&readings)
    }

    /// Looks again at a changed page and keeps the better reading. A second look that fails changes nothing.
    async fn better(
        &self,
        best: (Reading, Page),
        change: impl FnOnce(&Page) -> Page + Send + 'static,
        deadline: Instant,
    ) -> (Reading, Page) {
        match self.again(best.1.clone(), change, deadline).await {
            Some(again) if again.0.score() > best.0.score() => again,
            _ => best,
        }
    }

    async fn again(
        &self,
        page: Page,
        change: impl FnOnce(&Page) -> Page + Send + 'static,
        deadline: Instant,
    ) -> Option<(Reading, Page)> {
        let page = tokio::task::spawn_blocking(move || change(&page)).await.ok()?;
        let reading = self.pass(&page, deadline).await.ok()?;
        Some((reading, page))
    }

    async fn pass(&self, page: &Page, deadline: Instant) -> Result<Reading, OcrError> {
        let languages = self.settings.languages.join("+");
        // Mode 3 stays silent on pictures without text, where mode 6 invents a thousand characters.
        let args = ["stdin", "stdout", "-l", &languages, "--psm", "3", "tsv"];
        let tsv = self.run(&args, &page.to_pgm(), deadline).await?;
        Ok(Reading::from_tsv(&tsv, page))
    }

    /// The turn that would make the page upright, when Tesseract is sure that it is not.
    async fn turn(&self, page: &Page, deadline: Instant) -> Option<Turn> {
        let report = self.run(&["stdin", "stdout", "-l", "osd", "--psm", "0"], &page.to_pgm(), deadline).await.ok()?;
        let field = |name: &str| report.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let confidence: f32 = field("Orientation confidence:")?.parse().ok()?;
        let turn = Turn::degrees(field("Rotate:")?.parse().ok()?)?;
        (confidence >= SURE_OF_TURN && turn != Turn::None).then_some(turn)
    }

    async fn run(&self, args: &[&str], input: &[u8], deadline: Instant) -> Result<String, OcrError> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(LIMITED).arg(&self.settings.program).args(args);
        // Nothing of our environment but what was chosen: it holds keys. More threads would only fight each other.
        command.env_clear().envs(self.settings.environment.iter().cloned()).env("OMP_THREAD_LIMIT", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        timeout_at(deadline, exchange(command, input)).await.unwrap_or(Err(OcrError::TimedOut))
    }
}

/// A child that does not outlive whoever waits for it: dropped early, it is killed, and waited for by a task that
/// ends with it. Without that wait it would stay a zombie until the runtime next wakes.
struct Owned(Option<Child>);

impl Drop for Owned {
    fn drop(&mut self) {
        let (Some(mut child), Ok(runtime)) = (self.0.take(), Handle::try_current()) else { return };
        let _ = child.start_kill();
        runtime.spawn(async move {
            let _ = child.wait().await;
        });
    }
}

async fn exchange(mut command: Command, input: &[u8]) -> Result<String, OcrError> {
    let failed = |error: std::io::Error| OcrError::Failed(error.to_string());
    let mut child = Owned(Some(command.spawn().map_err(failed)?));
    let Some(process) = child.0.as_mut() else { return Err(OcrError::Failed("it did not start".into())) };
    let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A child that stops reading has its reasons, which its exit code tells better than a broken pipe.
            let _ = stdin.write_all(input).await;
        }
    };
    let (mut text, mut complaints) = (Vec::new(), Vec::new());
    let read = async {
        if let Some(stdout) = stdout {
            let _ = stdout.take(LARGEST_OUTPUT).read_to_end(&mut text).await;
        }
    };
    let listen = async {
        if let Some(stderr) = stderr {
            let _ = stderr.take(LARGEST_OUTPUT).read_to_end(&mut complaints).await;
        }
    };
    tokio::join!(write, read, listen);
    let status = process.wait().await.map_err(failed)?;
    child.0 = None;
    if status.success() {
        return Ok(String::from_utf8_lossy(&text).into_owned());
    }
    if status.code() == Some(NOT_FOUND) {
        return Err(OcrError::NotInstalled);
    }
    let complaints = String::from_utf8_lossy(&complaints);
    let missing = complaints.lines().find_map(|line| line.strip_prefix("Failed loading language '"));
    if let Some(language) = missing.and_then(|rest| rest.split('\'').next()) {
        return Err(OcrError::NoLanguage(language.to_owned()));
    }
    let last = complaints.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it gave no reason");
    Err(OcrError::Failed(format!("{last} ({status})")))
}
