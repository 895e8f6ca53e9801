//! What a run came to, for people: one file that needs no network, and a table for spreadsheets.
//!
//! Nothing is computed here but places in pictures: the figures are those of the [`summary`](super::summary). Most words
//! come from strangers, whether models or the authors of a set: templates escape all of them, and the file's own policy
//! lets nothing run but the script whose digest it names.

mod breakdown;
mod circumstances;
mod figures;
mod findings;
mod items;
mod label;
mod leaderboard;
mod ledger;
mod plot;
mod room;
mod scale;
mod shown;
mod spreadsheet;
mod thumbnail;

use std::fmt;

use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::breakdown::Breakdown;
use self::circumstances::Circumstances;
use self::items::Items;
use self::leaderboard::Leaderboard;
use self::plot::Plot;
use super::manifest::Manifest;
use super::measured::Asked;
use super::summary::Summary;
use crate::failure::{Code, Failure, Result};

pub use self::findings::{Finding, resolution};
pub use self::leaderboard::letters;
pub use self::spreadsheet::csv;
pub use self::thumbnail::{Album, Thumbnail};

const STYLE: Own = Own(include_str!("templates/style.css"));
const SCRIPT: Own = Own(include_str!("templates/script.js"));

/// Words of this program, which stand in the page as they are.
struct Own(&'static str);

impl fmt::Display for Own {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl askama::filters::HtmlSafe for Own {}

impl Own {
    /// What a policy calls it by.
    fn digest(&self) -> String {
        STANDARD.encode(digest(&SHA256, self.0.as_bytes()))
    }
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    policy: String,
    /// Of one question, its answers are what is looked for.
    is_single: bool,
    style: Own,
    script: Own,
    run: Circumstances,
    board: Leaderboard,
    plots: Vec<Plot>,
    width: f64,
    height: f64,
    breakdown: Breakdown,
    questions: Items,
}

/// The report as one file: readable without scripts, by keyboard, on paper and on a phone; nothing in it is loaded from
/// elsewhere. It has 25 MB at most, whatever was answered; what it leaves out, it says.
///
/// Blocks for as long as texts take to compare: seconds for thousands of long answers.
///
/// # Errors
/// `INTERNAL` when it cannot be written, which does not happen in memory.
pub fn html(manifest: &Manifest, summary: &Summary, asked: &[Asked<'_>], album: &Album) -> Result<String> {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'",
        STYLE.digest(),
        SCRIPT.digest()
    );
    let page = Page {
        policy,
        is_single: asked.len() == 1,
        style: STYLE,
        script: SCRIPT,
        run: Circumstances::of(manifest, summary, asked),
        board: Leaderboard::of(summary),
        plots: [plot::cost(summary), plot::latency(summary)].into_iter().flatten().collect(),
        width: plot::WIDTH,
        height: plot::HEIGHT,
        breakdown: Breakdown::of(summary),
        questions: Items::of(summary, asked, album)?,
    };
    page.render().map_err(|error| unwritten(&error))
}

fn unwritten(error: &askama::Error) -> Failure {
    Failure::new(Code::Internal, format!("writing the report: {error}"))
}

#[cfg(test)]
mod tests;
