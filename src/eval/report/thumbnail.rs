//! Small pictures for a report: opened and fitted by intake like everything else, bounded in number and bytes.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;
use vision_providers::image::Format;
use vision_providers::model::{JsonMode, Limits, ModelCard};
use vision_providers::parameters::{Parameters, SamplingRule};
use vision_providers::request::{Detail, ModelId};
use vision_providers::tokens::{Basis, TokenRule};

use crate::eval::dataset::Item;
use crate::gateway::Asker;
use crate::intake::fit::{Region, Wish};
use crate::intake::source::Source;
use crate::intake::{Intake, Ready, Visitor};

/// Pictures of one report.
const MOST: usize = 500;
/// Pictures of one question.
const MOST_OF_ITEM: usize = 4;
/// A picture that takes longer is left out.
const LONGEST: Duration = Duration::from_secs(20);

/// A small picture.
#[derive(Debug, Clone)]
pub struct Thumbnail {
    /// A data URI.
    pub(super) uri: String,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// Small pictures by the id of the question that they belong to.
#[derive(Debug, Clone, Default)]
pub struct Album {
    pictures: HashMap<String, Vec<Thumbnail>>,
    /// Whether there were more questions than pictures.
    pub(super) is_cut: bool,
}

impl Album {
    /// Opens the pictures of these questions: files and data URIs. What lies at an address is not fetched again, and what
    /// cannot be opened any more is left out: a report is written all the same.
    pub async fn of(intake: &Intake, asker: &Asker, items: &[Item]) -> Self {
        let wanted: usize = items.iter().map(|item| item.ask.images.len().min(MOST_OF_ITEM)).sum();
        let mut album = Self { is_cut: wanted > MOST, ..Self::default() };
        let mut made: HashMap<&str, Thumbnail> = HashMap::new();
        let mut room = MOST;
        for item in items {
            for named in item.ask.images.iter().take(MOST_OF_ITEM.min(room)) {
                let known = made.get(named.as_str()).filter(|_| item.ask.region.is_none()).cloned();
                let thumbnail = match known {
                    Some(known) => Some(known),
                    None => thumbnail(intake, asker, named, item.ask.region, side(wanted)).await,
                };
                let Some(thumbnail) = thumbnail else { continue };
                if item.ask.region.is_none() {
                    made.insert(named, thumbnail.clone());
                }
                room -= 1;
                album.add(&item.id, thumbnail);
            }
        }
        album
    }

    /// Adds a picture to a question.
    pub fn add(&mut self, item: &str, thumbnail: Thumbnail) {
        self.pictures.entry(item.to_owned()).or_default().push(thumbnail);
    }

    pub(super) fn pictures(&self, item: &str) -> &[Thumbnail] {
        self.pictures.get(item).map_or(&[], Vec::as_slice)
    }
}

impl Thumbnail {
    /// A picture from the bytes of a JPEG.
    #[must_use]
    pub fn jpeg(bytes: &[u8], width: u32, height: u32) -> Self {
        Self { uri: format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes)), width, height }
    }
}

/// Pixels along the longer side: few pictures may be large enough to be read.
fn side(pictures: usize) -> u32 {
    match pictures {
        0..=40 => 640,
        41..=160 => 320,
        _ => 160,
    }
}

async fn thumbnail(
    intake: &Intake,
    asker: &Asker,
    named: &str,
    region: Option<Region>,
    side: u32,
) -> Option<Thumbnail> {
    if !matches!(Source::parse(named).ok()?, Source::Path(_) | Source::Data(_)) {
        return None;
    }
    let deadline = Instant::now() + LONGEST;
    let visitor = Visitor { door: asker.door, caller: asker.caller.clone(), roots: asker.roots.clone() };
    let picture = intake.open(named, visitor, deadline).await.ok()?;
    let card = card(side);
    let wish = Wish { max_bytes: card.limits.max_bytes, card, detail: Detail::High, region };
    let Ready::Image(fitted) = intake.fit(&picture, wish, deadline).await.ok()? else { return None };
    let image = fitted.image;
    Some(Thumbnail::jpeg(image.bytes(), image.width(), image.height()))
}

/// A viewer that sees so many pixels, as a model: that is what pictures are fitted to.
fn card(side: u32) -> ModelCard {
    let most = side as usize * 150;
    ModelCard {
        id: ModelId::from("report"),
        aliases: Vec::new(),
        tasks: Vec::new(),
        boxes: false,
        json: JsonMode::Prompt,
        parameters: Parameters {
            sampling: SamplingRule::Always,
            max_temperature: 0.0,
            seed: false,
            stop: 0,
            reasoning: Vec::new(),
        },
        limits: Limits {
            max_images: 1,
            max_bytes: most,
            max_total_bytes: most,
            max_document_bytes: 0,
            max_side: side,
            target_side: side,
            low_side: side,
            max_output_tokens: None,
            context: None,
            formats: vec![Format::Jpeg],
        },
        tokens: TokenRule::Unknown,
        basis: Basis::Assumed,
        price: None,
        retirement: None,
        source: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::gateway::Ask;
    use crate::intake::fetch::Networks;
    use crate::intake::spelling::Machine;
    use crate::intake::uploads::{self, Uploads};
    use crate::intake::{Door, Settings};
    use crate::score::Truth;

    fn intake() -> Intake {
        let settings = Settings {
            max_bytes: 2_000_000,
            max_pixels: 4_000_000,
            networks: Networks::PublicOnly,
            stdio_roots: Vec::new(),
            http_roots: Vec::new(),
            machine: Machine::default(),
            clipboard: false,
            latest: Vec::new(),
            threads: 1,
        };
        Intake::new(settings, Arc::new(Uploads::new(uploads::Settings { capacity: 1, ttl: LONGEST })))
    }

    fn item(id: &str, images: &[String], region: Option<Region>) -> Item {
        Item {
            id: id.to_owned(),
            ask: Ask { images: images.to_vec().into(), region, ..Ask::default() },
            truth: Truth::default(),
            expected: serde_json::Value::Null,
            tags: Vec::new(),
            yardsticks: Vec::new(),
        }
    }

    #[tokio::test]
    async fn pictures_are_small_and_upright_and_those_that_cannot_be_had_are_left_out() {
        let example = |name: &str| {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).to_string_lossy().into_owned()
        };
        let photo = example("photo-rotated.jpg");
        let region = Region::new([0.0, 0.0, 0.5, 1.0]).expect("a region");
        let items = [
            item("photo", &[photo.clone(), example("nothing.png"), "https://example.org/a.png".into()], None),
            item("again", &[photo.clone(), example("README.md")], None),
            item("part", &[photo], Some(region)),
        ];
        let album = Album::of(&intake(), &Asker::local(Door::CommandLine), &items).await;
        let sizes = |id: &str| album.pictures(id).iter().map(|it| (it.width, it.height)).collect::<Vec<_>>();
        assert_eq!((sizes("photo"), sizes("again")), (vec![(640, 480)], vec![(640, 480)]));
        assert_eq!(sizes("part"), vec![(427, 640)], "a part of it, as it was asked about");
        assert!(album.pictures("photo").iter().all(|it| it.uri.starts_with("data:image/jpeg;base64,/9j/")));
        assert!(album.pictures("else").is_empty() && !album.is_cut);
    }
}
