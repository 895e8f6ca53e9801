//! What a batch is about: files, folders, patterns, addresses, and manifests with a question of their own on each line.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use walkdir::WalkDir;

use crate::bulk::Job;
use crate::failure::{Failure, Result};
use crate::gateway::Ask;
use crate::intake::source::Source;
use crate::surface::arguments;

/// Endings of files that are taken from folders. Whoever names a file may call it anything.
const ENDINGS: [&str; 9] = ["bmp", "gif", "jpeg", "jpg", "pdf", "png", "tif", "tiff", "webp"];
/// Questions of one run.
const MOST: usize = 1_000_000;
/// Files that are left out, of which is told.
const MOST_TOLD: usize = 20;
/// Characters of an address or of data that a line repeats.
const LONGEST_SHOWN: usize = 2000;

/// The questions that these inputs come to, in their order; what is named twice comes once.
///
/// # Errors
/// `INVALID_INPUT` naming what cannot be used.
pub(super) fn jobs(inputs: &[String], base: &Ask) -> Result<Inputs> {
    let mut collected = Collected::default();
    for input in inputs {
        if is_manifest(input) {
            manifest(Path::new(input), base, &mut collected)?;
            continue;
        }
        let found = images(input)?;
        collected.left_out.extend(found.left_out);
        for image in found.images {
            if collected.named.insert(image.clone()) {
                collected.add(None, Ask { images: [image].into(), ..base.clone() })?;
            }
        }
    }
    let more = collected.left_out.len().saturating_sub(MOST_TOLD);
    if more > 0 {
        collected.left_out.truncate(MOST_TOLD);
        collected.left_out.push(format!("{more} more"));
    }
    if collected.jobs.is_empty() {
        let message = format!("nothing to ask about in {}", inputs.join(", "));
        let failure = Failure::invalid([vec![message], collected.left_out].concat().join("; "));
        return Err(failure.advise(format!("name files, or folders with files that end in {}", ENDINGS.join(", "))));
    }
    Ok(Inputs { jobs: collected.jobs, left_out: collected.left_out })
}

/// What inputs come to.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) jobs: Vec<Job>,
    /// What was found and nobody is asked about, and why.
    pub(super) left_out: Vec<String>,
}

#[derive(Default)]
struct Collected {
    jobs: Vec<Job>,
    left_out: Vec<String>,
    /// Images that were named without a question of their own.
    named: HashSet<String>,
    ids: HashSet<String>,
    /// How often each name was made.
    times: HashMap<String, usize>,
}

impl Collected {
    fn add(&mut self, id: Option<String>, ask: Ask) -> Result<()> {
        if self.jobs.len() == MOST {
            return Err(Failure::invalid(format!("these are more than {MOST} questions")).advise("split them"));
        }
        let id = match id {
            Some(id) if self.ids.contains(&id) => {
                return Err(Failure::invalid(format!("two questions have the id `{id}`")));
            }
            Some(id) => id,
            None => self.free(&ask.images.iter().map(|image| shown(image)).collect::<Vec<_>>().join(" + ")),
        };
        self.ids.insert(id.clone());
        let images: Vec<String> = ask.images.iter().map(|image| shown(image)).collect();
        let mut head = Map::from_iter([("id".to_owned(), json!(id))]);
        match images.as_slice() {
            [image] => head.insert("image".into(), json!(image)),
            images => head.insert("images".into(), json!(images)),
        };
        self.jobs.push(Job { id, ask, head, earlier: None });
        Ok(())
    }

    /// This name, or this name with the first number that makes it one of its own.
    fn free(&mut self, name: &str) -> String {
        let times = self.times.entry(name.to_owned()).or_default();
        loop {
            *times += 1;
            let id = if *times == 1 { name.to_owned() } else { format!("{name} #{times}") };
            if !self.ids.contains(&id) {
                return id;
            }
        }
    }
}

/// What a line repeats of an image's name: data would fill it.
fn shown(image: &str) -> String {
    if image.chars().nth(LONGEST_SHOWN).is_none() {
        return image.to_owned();
    }
    let digest = &blake3::hash(image.as_bytes()).to_hex()[..16];
    format!("{}… ({} bytes, {digest})", image.chars().take(60).collect::<String>(), image.len())
}

fn is_manifest(input: &str) -> bool {
    let ending = Path::new(input).extension();
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case("jsonl") || ending.eq_ignore_ascii_case("ndjson"))
        && matches!(Source::parse(input), Ok(Source::Path(_)))
}

/// Images that were found.
#[derive(Default)]
struct Found {
    images: Vec<String>,
    left_out: Vec<String>,
}

/// The images that one input names.
fn images(input: &str) -> Result<Found> {
    let (path, mut found) = (Path::new(input), Found::default());
    let is_pattern = input.contains(['*', '?', '[']);
    if path.is_dir() {
        found.folder(path)?;
    } else if path.exists() || !is_pattern || !matches!(Source::parse(input), Ok(Source::Path(_))) {
        found.images.push(input.to_owned());
    } else {
        found.pattern(input)?;
    }
    Ok(found)
}

impl Found {
    fn pattern(&mut self, pattern: &str) -> Result<()> {
        let wrong = |why: &dyn Display| Failure::invalid(format!("reading the pattern {pattern}: {why}"));
        let mut is_any = false;
        for path in glob::glob(pattern).map_err(|error| wrong(&error))? {
            let path = path.map_err(|error| wrong(&error))?;
            is_any = true;
            if path.is_dir() {
                self.folder(&path)?;
            } else {
                self.file(&path);
            }
        }
        let literal = "`*`, `?` and `[` are patterns here: where a name has one, write it as `[*]`, `[?]` or `[[]`";
        if is_any { Ok(()) } else { Err(wrong(&"nothing has such a name").advise(literal)) }
    }

    /// Images in a folder and those below it, in the order of their names. Hidden ones are nobody's to send away, and
    /// folders that links lead to may lie anywhere.
    fn folder(&mut self, folder: &Path) -> Result<()> {
        let is_hidden =
            |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
        for entry in WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(|entry| !is_hidden(entry)) {
            let entry = entry.map_err(|error| Failure::invalid(format!("reading {}: {error}", folder.display())))?;
            let (path, is_link) = (entry.path(), entry.path_is_symlink() && entry.depth() > 0);
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            let is_image = ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending));
            if is_image && path.is_file() {
                self.file(path);
            } else if is_link && path.is_dir() {
                self.left_out.push(format!("{} is a link to a folder, which is not entered", path.display()));
            } else if is_link && is_image {
                self.left_out.push(format!("{} is a link to no file", path.display()));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) {
        match path.to_str() {
            Some(text) => self.images.push(text.to_owned()),
            None => self.left_out.push(format!("the name of {} is not UTF-8 text", path.display())),
        }
    }
}

/// The questions of a manifest: each line is an image, or an object with the arguments of `analyze_image` and perhaps an
/// `id`. What a line does not say, the command says. Paths start from the manifest's folder.
fn manifest(path: &Path, base: &Ask, collected: &mut Collected) -> Result<()> {
    let wrong = |why: String| Failure::invalid(format!("reading {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    for (number, line) in
        text.trim_start_matches('\u{feff}').lines().enumerate().filter(|(_, line)| !line.trim().is_empty())
    {
        let in_line = |failure: Failure| Failure {
            message: format!("{}, line {}: {}", path.display(), number + 1, failure.message),
            ..failure
        };
        let (id, ask) = asked(line, base).map_err(in_line)?;
        let images = ask.images.iter().map(|image| beside(image, path)).collect();
        collected.add(id, Ask { images, ..ask }).map_err(in_line)?;
    }
    Ok(())
}

fn asked(line: &str, base: &Ask) -> Result<(Option<String>, Ask)> {
    let value = serde_json::from_str(line).map_err(|error| Failure::invalid(format!("it is not JSON: {error}")))?;
    let mut said = match value {
        Value::String(image) => Map::from_iter([("image".to_owned(), Value::String(image))]),
        Value::Object(said) => said,
        _ => return Err(Failure::invalid("it must be the name of an image, or an object with an `image`")),
    };
    let id = match said.remove("id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id),
        Some(Value::Number(id)) => Some(id.to_string()),
        Some(_) => return Err(Failure::invalid("`id` must be a text or a number")),
    };
    let says = |name: &str| said.contains_key(name);
    let (detail, fallback, boxes) = (says("detail"), says("fallback"), says("boxes"));
    let own = arguments::ask(said)?;
    let sampling = vision_providers::request::Sampling {
        temperature: own.sampling.temperature.or(base.sampling.temperature),
        top_p: own.sampling.top_p.or(base.sampling.top_p),
        seed: own.sampling.seed.or(base.sampling.seed),
        max_output_tokens: own.sampling.max_output_tokens.or(base.sampling.max_output_tokens),
        stop: own.sampling.stop,
        ..base.sampling.clone()
    };
    let ask = Ask {
        prompt: own.prompt.or_else(|| base.prompt.clone()),
        task: own.task.or_else(|| base.task.clone()),
        schema: own.schema.or_else(|| base.schema.clone()),
        model: own.model.or_else(|| base.model.clone()),
        fallback: if fallback { own.fallback } else { base.fallback },
        boxes: if boxes { own.boxes } else { base.boxes },
        detail: if detail { own.detail } else { base.detail },
        region: own.region.or(base.region),
        system: own.system.or_else(|| base.system.clone()),
        cache: own.cache.or(base.cache),
        sampling,
        ..own
    };
    Ok((id, ask))
}

/// A path of a manifest, seen from where the command runs.
fn beside(image: &str, manifest: &Path) -> String {
    let Ok(Source::Path(path)) = Source::parse(image) else { return image.to_owned() };
    let folder = manifest.parent().unwrap_or(Path::new(""));
    if PathBuf::from(&path).is_absolute() || path.starts_with('~') {
        return path;
    }
    folder.join(path).to_string_lossy().into_owned()
}
