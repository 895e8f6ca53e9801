//! What a question is to the router and to estimates: everything that can be said of it without asking anybody.

use std::time::Duration;

use vision_providers::estimate::{Outline, words};
use vision_providers::request::{Output, Sampling, Task};
use vision_providers::wire::Delivery;

use super::{Ask, Asker, Settings};
use crate::intake::Picture;
use crate::intake::fit::Region;
use crate::router::plan::Wanted;
use crate::tasks::{self, Question};

/// What is wanted, as far as it can be said before the images are there.
pub(super) fn wanted<'a>(
    ask: &'a Ask,
    asker: &'a Asker,
    question: &'a Question,
    settings: &Settings,
    delivery: Delivery,
) -> Wanted<'a> {
    let schema = match &question.output {
        Output::Text => 0,
        Output::Json(schema) => words(&schema.value.to_string()),
    };
    let outline = Outline {
        task: question.task,
        detail: ask.detail,
        sampling: sampling(ask, settings),
        sizes: Vec::new(),
        documents: false,
        words: ask.words().chain([question.prompt.as_str()]).chain(system(ask).as_deref()).map(words).sum::<u64>()
            + schema,
    };
    Wanted {
        model: ask.model.as_deref(),
        fallback: ask.fallback,
        name: &question.name,
        task: question.task,
        caller: asker.caller.name(),
        rights: &asker.rights,
        schema: question.task == Task::Extract,
        streamed: delivery == Delivery::Streamed,
        boxes: ask.boxes,
        images: ask.pictures().count(),
        bytes: 0,
        documents: Vec::new(),
        formats: Vec::new(),
        outline,
        mark: 0,
        time_left: settings.total,
    }
}

/// The same once these pictures are there.
pub(super) fn shown<'a>(
    wanted: Wanted<'a>,
    pictures: &[Picture],
    region: Option<&Region>,
    time_left: Duration,
) -> Wanted<'a> {
    let is_document = |picture: &&Picture| picture.size().is_none();
    let documents: Vec<usize> = pictures.iter().filter(is_document).map(Picture::bytes).collect();
    let outline = Outline {
        sizes: pictures.iter().filter_map(|picture| picture.shown(region)).collect(),
        documents: !documents.is_empty(),
        ..wanted.outline
    };
    Wanted {
        bytes: pictures.iter().map(Picture::bytes).sum(),
        documents,
        formats: pictures.iter().map(Picture::format).collect(),
        outline,
        mark: pictures.iter().fold(0, |mark, picture| mark.rotate_left(7) ^ picture.mark()),
        time_left,
        ..wanted
    }
}

/// The parameters that are asked for, with an end to answers that have none.
pub(super) fn sampling(ask: &Ask, settings: &Settings) -> Sampling {
    let mut sampling = ask.sampling.clone();
    sampling.max_output_tokens.get_or_insert(settings.max_output_tokens);
    sampling
}

/// Our standing instructions, and the caller's. In a conversation, the caller's alone.
pub(super) fn system(ask: &Ask) -> Option<String> {
    let own = ask.system.as_deref().map(str::trim).filter(|text| !text.is_empty());
    if ask.is_conversation() {
        return own.map(str::to_owned);
    }
    Some(own.map_or_else(|| tasks::STANDING.to_owned(), |own| format!("{}\n\n{own}", tasks::STANDING)))
}
