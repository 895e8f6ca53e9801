//! What a caller wants to know, who the caller is, and what of it can be refused before anything is opened.

use std::sync::Arc;

use serde_json::Value;
use vision_providers::request::{CacheMode, Caller, Detail, Role, Sampling, Task};

use crate::failure::{Failure, Result};
use crate::intake::fit::Region;
use crate::intake::path::Root;
use crate::intake::{Door, Visitor};
use crate::rights::Rights;
use crate::router::plan::Fallback;
use crate::tasks;

const MOST_IMAGES: usize = 64;
const MOST_TURNS: usize = 256;
const LONGEST_PROMPT: usize = 100_000;
/// Characters of all turns together.
const LONGEST_CONVERSATION: usize = 400_000;
const LONGEST_NAME: usize = 256;
/// Texts that end an answer, and bytes of each.
const MOST_STOPS: usize = 16;
const LONGEST_STOP: usize = 1000;

/// What a caller wants to know: a question about images, or the next turn of a conversation. Everything else is optional.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Paths, URLs, data URIs: see [`crate::intake::source::Source`]. Clones share them, as a data URI may have megabytes.
    pub images: Arc<[String]>,
    pub prompt: Option<String>,
    /// In place of images, prompt and task. It is passed on as it is, without words of ours.
    pub conversation: Vec<Turn>,
    pub task: Option<String>,
    pub schema: Option<Arc<Value>>,
    pub model: Option<String>,
    pub fallback: Fallback,
    /// Whether the places of text are wanted too, which few models know.
    pub boxes: bool,
    pub detail: Detail,
    pub region: Option<Region>,
    pub system: Option<String>,
    pub sampling: Sampling,
    /// Absent means: use it, unless the caller wants variety.
    pub cache: Option<CacheMode>,
    /// What the caller should know of how the question was read: the answer's first warnings.
    pub notes: Vec<String>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub role: Role,
    pub said: Vec<Said>,
}

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Text(String),
    /// As in [`Ask::images`].
    Picture(String),
}

/// Who asks, through which door, and what they may.
#[derive(Debug, Clone)]
pub struct Asker {
    pub door: Door,
    pub caller: Caller,
    pub rights: Arc<Rights>,
    /// Folders of the caller's own that images may come from.
    pub roots: Option<Arc<[Root]>>,
}

impl Asker {
    /// Whoever is at this machine, who may do everything.
    #[must_use]
    pub fn local(door: Door) -> Self {
        Self { door, caller: Caller::local(), rights: Arc::default(), roots: None }
    }

    /// Whoever has come past nobody who would know them: they may ask nobody.
    #[must_use]
    pub fn unknown(door: Door) -> Self {
        let rights = Rights { models: Some(Vec::new()), ..Rights::default() };
        Self { caller: Caller::named("unknown".into()), rights: Arc::new(rights), ..Self::local(door) }
    }
}

impl From<&Asker> for Visitor {
    fn from(asker: &Asker) -> Self {
        Self { door: asker.door, caller: asker.caller.clone(), roots: asker.roots.clone() }
    }
}

impl Ask {
    pub(super) fn is_conversation(&self) -> bool {
        !self.conversation.is_empty()
    }

    /// Whatever is to be looked at, in the order in which it is shown.
    pub(super) fn pictures(&self) -> impl Iterator<Item = &str> {
        let shown = self.conversation.iter().flat_map(|turn| &turn.said).filter_map(|said| match said {
            Said::Picture(named) => Some(named.as_str()),
            Said::Text(_) => None,
        });
        self.images.iter().map(String::as_str).chain(shown)
    }

    /// What is said in words in a conversation.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.conversation.iter().flat_map(|turn| &turn.said).filter_map(|said| match said {
            Said::Text(text) => Some(text.as_str()),
            Said::Picture(_) => None,
        })
    }

    /// Who sets a temperature wants variety, so a remembered answer would be wrong; unless they ask for it.
    pub(super) fn cache_mode(&self) -> CacheMode {
        let varied = self.sampling.temperature.is_some_and(|temperature| temperature > 0.0);
        self.cache.unwrap_or(if varied { CacheMode::Bypass } else { CacheMode::Use })
    }

    /// The task by which a request is counted: tasks of the operator's own are one.
    pub(super) fn task_label(&self) -> &'static str {
        match (&self.task, &self.schema, &self.prompt) {
            _ if self.is_conversation() => tasks::CHAT,
            (Some(name), ..) => Task::named(name).map_or("preset", Task::name),
            (None, Some(_), _) => Task::Extract.name(),
            (None, None, Some(_)) => Task::Ask.name(),
            (None, None, None) => Task::Describe.name(),
        }
    }

    /// # Errors
    /// `INVALID_INPUT` for whatever can be seen to be wrong without opening anything.
    pub(super) fn check(&self) -> Result<()> {
        self.check_pictures()?;
        self.check_conversation()?;
        let said = [&self.prompt, &self.system];
        if said.into_iter().flatten().any(|text| text.chars().count() > LONGEST_PROMPT) {
            return Err(Failure::invalid(format!("the prompt is longer than {LONGEST_PROMPT} characters")));
        }
        if [&self.model, &self.task].into_iter().flatten().any(|name| name.len() > LONGEST_NAME) {
            return Err(Failure::invalid(format!("the name of a model or task is longer than {LONGEST_NAME} bytes")));
        }
        check_sampling(&self.sampling)
    }

    fn check_pictures(&self) -> Result<()> {
        if !self.is_conversation() && self.images.is_empty() {
            return Err(Failure::invalid("no image was given").advise("give at least one path, https URL or data URI"));
        }
        let count = self.pictures().count();
        if count > MOST_IMAGES {
            let message = format!("{count} images were given: at most {MOST_IMAGES} are taken");
            return Err(Failure::invalid(message).advise("ask about fewer images at once"));
        }
        Ok(())
    }

    fn check_conversation(&self) -> Result<()> {
        let turns = self.conversation.len();
        if turns > MOST_TURNS {
            return Err(Failure::invalid(format!(
                "the conversation has {turns} turns: at most {MOST_TURNS} are taken"
            )));
        }
        let characters: usize = self.words().map(|text| text.chars().count()).sum();
        if characters > LONGEST_CONVERSATION {
            let message = format!("the conversation is longer than {LONGEST_CONVERSATION} characters");
            return Err(Failure::invalid(message).advise("leave out its oldest turns"));
        }
        if self.conversation.last().is_some_and(|turn| turn.role != Role::User) {
            return Err(Failure::invalid("the last message of a conversation must be the user's"));
        }
        let shows = |turn: &Turn| turn.said.iter().any(|said| matches!(said, Said::Picture(_)));
        if self.conversation.iter().any(|turn| turn.role == Role::Assistant && shows(turn)) {
            return Err(Failure::invalid("images stand in the user's messages, not in the assistant's"));
        }
        Ok(())
    }
}

fn check_sampling(sampling: &Sampling) -> Result<()> {
    let within = |value: Option<f64>, most: f64| value.is_none_or(|value| (0.0..=most).contains(&value));
    if !within(sampling.temperature, 2.0) {
        return Err(Failure::invalid("`temperature` must be between 0 and 2"));
    }
    if !within(sampling.top_p, 1.0) {
        return Err(Failure::invalid("`top_p` must be between 0 and 1"));
    }
    if sampling.stop.len() > MOST_STOPS || sampling.stop.iter().any(|text| text.len() > LONGEST_STOP) {
        let message = format!("`stop` can be {MOST_STOPS} texts of {LONGEST_STOP} bytes at most");
        return Err(Failure::invalid(message));
    }
    if sampling.max_output_tokens == Some(0) {
        return Err(Failure::invalid("the limit on output tokens must be at least 1"));
    }
    Ok(())
}
