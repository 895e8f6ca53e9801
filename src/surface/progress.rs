//! A long run in a terminal: how far it is, and how it is told to end.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::bulk::Tally;
use crate::surface::StopSignal;
use crate::surface::cli::tell;

/// How far, how fast, for how much and how much longer.
const SHAPE: &str = "{bar:30} {pos}/{len} {msg} {pace} {left}";
/// Lines a second: more nobody reads.
const REDRAWN: u8 = 4;

/// Shows how far a run is, where somebody watches.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Of so many questions.
    pub(super) fn of(questions: usize, quiet: bool) -> Self {
        let watched = !quiet && std::io::stderr().is_terminal();
        let target = if watched { ProgressDrawTarget::stderr_with_hz(REDRAWN) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(questions as u64), target);
        let style = ProgressStyle::with_template(SHAPE).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.with_key("pace", pace).with_key("left", left));
        Self { bar }
    }

    pub(super) fn show(&self, tally: &Tally) {
        let failed = if tally.failed > 0 { format!("{} failed ", tally.failed) } else { String::new() };
        self.bar.set_message(format!("{failed}${:.4}", tally.spent.dollars()));
        self.bar.set_position((tally.done() + tally.left) as u64);
    }

    /// Takes it away: what comes then is the account.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn pace(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let _ = write!(out, "{:.1}/s", state.per_sec());
}

fn left(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let eta = Duration::from_secs(state.eta().as_secs());
    if state.pos() > 0 && !eta.is_zero() {
        let _ = write!(out, "{} left", humantime::format_duration(eta));
    }
}

/// Lets a run end when the process is told to: at first those who were asked are waited for, then nobody. `None` when
/// it was told a second time.
pub(super) async fn until_told<T>(work: impl Future<Output = T>, stop: &CancellationToken) -> Option<T> {
    let mut signal = StopSignal::listen();
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return Some(done),
        () = signal.told() => {}
    }
    warn!("told to end: nobody is asked any more");
    tell("ending: waiting for the answers that are under way; once more to leave at once");
    stop.cancel();
    tokio::select! {
        done = &mut work => Some(done),
        () = signal.told() => None,
    }
}
