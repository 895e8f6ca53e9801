//! Plain sentences about an image that claim nothing but what was measured or read.

use crate::adapters::local::Looked;
use crate::adapters::local::facts::Colour;
use crate::adapters::local::reading::Reading;

const HONESTY: &str =
    "This description comes from measurements and text recognition; no vision model looked at the image.";

/// Describes one or several images.
pub(super) fn describe(looked: &[Looked]) -> String {
    let mut parts: Vec<String> = match looked {
        [one] => vec![describe_one(one)],
        many => {
            many.iter().enumerate().map(|(index, one)| format!("Image {}: {}", index + 1, describe_one(one))).collect()
        }
    };
    parts.push(HONESTY.into());
    parts.join(if looked.len() > 1 { "\n" } else { " " })
}

fn describe_one(looked: &Looked) -> String {
    let facts = &looked.facts;
    let (width, height) = (facts.width, facts.height);
    let (lines, share) = match &looked.text {
        Ok(reading) => (reading.lines.len(), reading.coverage(width, height)),
        Err(_) => (0, 0.0),
    };
    let kind = facts.kind(lines, share).phrase();
    let mut sentences = vec![format!("An image of {width} x {height} pixels; its colours and text suggest {kind}.")];
    sentences.extend(colours(&facts.colours));
    sentences.push(match &looked.text {
        Ok(reading) => text(reading),
        Err(_) => "Its text could not be read.".into(),
    });
    if looked.codes.is_empty() {
        sentences.push("No QR code or bar code was found.".into());
    }
    for code in &looked.codes {
        sentences.push(format!("A {} says: {}", code.kind, code.text));
    }
    sentences.join(" ")
}

fn colours(colours: &[Colour]) -> Option<String> {
    let named = |colour: &Colour| format!("{} ({:.0} %)", colour.name, colour.share * 100.0);
    let named: Vec<String> = colours.iter().take(4).map(named).collect();
    let (last, rest) = named.split_last()?;
    let all = if rest.is_empty() { last.clone() } else { format!("{} and {last}", rest.join(", ")) };
    Some(format!("Its main colours are {all}."))
}

fn text(reading: &Reading) -> String {
    match (reading.len(), reading.lines.len()) {
        (0, _) => "No text was recognised.".into(),
        (words, rows) => {
            let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
            format!(
                "It holds {} in {}, read with a mean confidence of {:.0} %.",
                plural(words, "recognised word"),
                plural(rows, "line"),
                reading.confidence()
            )
        }
    }
}
