//! A labelled set of questions: a file of JSON lines, each with images, what is asked about them, and what is right.
//!
//! All of it is checked before anybody is asked, and every fault names its line.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use vision_providers::request::{Detail, Task};

use crate::clean;
use crate::failure::{Failure, Result};
use crate::gateway::Ask;
use crate::intake::fit::Region;
use crate::intake::source::Source;
use crate::score::number::Tolerance;
use crate::score::{Metric, Settings, Truth, Yardstick};

/// Items of one set.
const MOST_ITEMS: usize = 100_000;
/// Bytes of the whole file.
const LARGEST: u64 = 1 << 30;
/// Characters of an id, which stands in tables.
const LONGEST_ID: usize = 200;

/// A set that was read.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub path: PathBuf,
    /// Of the file, so that a report says what it is about.
    pub digest: String,
    pub items: Vec<Item>,
}

/// One question with its truth.
#[derive(Debug, Clone)]
pub struct Item {
    pub id: String,
    /// What is asked, of nobody yet.
    pub ask: Ask,
    pub truth: Truth,
    /// As it stands in the file, for people to look at.
    pub expected: Value,
    pub tags: Vec<String>,
    /// How answers are measured; the first one decides.
    pub yardsticks: Vec<Yardstick>,
}

/// A line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Option<Value>,
    image: Option<String>,
    #[serde(default)]
    images: Vec<String>,
    task: Option<String>,
    prompt: Option<String>,
    system: Option<String>,
    #[serde(alias = "expect", alias = "answer")]
    expected: Option<Value>,
    /// A schema, or the name of a file with one.
    schema: Option<Value>,
    #[serde(default)]
    tags: Tags,
    metric: Option<String>,
    #[serde(default)]
    metrics: Vec<String>,
    /// For `numeric`: how far from the truth is near enough, in its unit.
    tolerance: Option<f64>,
    detail: Option<String>,
    region: Option<[f64; 4]>,
}

/// Words that sort items, or names with values.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Tags {
    List(Vec<String>),
    Named(BTreeMap<String, Value>),
}

impl Default for Tags {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Dataset {
    /// Reads a set. `primary` decides in the place of what items say themselves.
    ///
    /// # Errors
    /// `INVALID_INPUT` naming the first line that cannot be used.
    pub fn read(path: &Path, primary: Option<Metric>) -> Result<Self> {
        // Names and ids of a set stand in messages as they are, and messages in a terminal.
        read(path, primary).map_err(|failure| Failure { message: clean::text(&failure.message), ..failure })
    }
}

fn read(path: &Path, primary: Option<Metric>) -> Result<Dataset> {
    let wrong = |why: String| Failure::invalid(format!("reading {}: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > LARGEST {
        return Err(wrong(format!("it has more than {} MiB", LARGEST >> 20)));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let text = text.trim_start_matches('\u{feff}');
    let (mut items, mut ids) = (Vec::new(), HashSet::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let in_line = |failure: Failure| Failure {
            message: format!("{}, line {}: {}", path.display(), number + 1, failure.message),
            ..failure
        };
        if items.len() == MOST_ITEMS {
            return Err(wrong(format!("it has more than {MOST_ITEMS} items")));
        }
        let item = item(line, number + 1, folder, primary).map_err(in_line)?;
        if !ids.insert(item.id.clone()) {
            return Err(in_line(Failure::invalid(format!("another item has the id `{}`", item.id))));
        }
        items.push(item);
    }
    if items.is_empty() {
        return Err(wrong("it has no items".into()));
    }
    let digest = blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
    Ok(Dataset { path: path.to_owned(), digest, items })
}

fn item(line: &str, number: usize, folder: &Path, primary: Option<Metric>) -> Result<Item> {
    let line: Line = serde_json::from_str(line).map_err(|error| Failure::invalid(error.to_string()))?;
    let images: Vec<String> = line.image.into_iter().chain(line.images).map(|image| beside(image, folder)).collect();
    if images.is_empty() {
        return Err(Failure::invalid("it has no `image`"));
    }
    let schema = line.schema.map(|schema| read_schema(schema, folder)).transpose()?;
    let expected = line.expected.unwrap_or_default();
    let asks_for_data = schema.is_some() || line.task.as_deref() == Some(Task::Extract.name());
    let truth = truth(&expected, schema.clone(), asks_for_data)?;
    let named = line.metric.into_iter().chain(line.metrics).map(|name| name.parse());
    let named = named.collect::<Result<Vec<Metric>>>()?;
    let metrics = measures(primary, &named, &truth, &expected, line.task.as_deref());
    let settings = Settings {
        numeric: line.tolerance.map_or(Tolerance::EXACT, |absolute| Tolerance { absolute, ..Tolerance::EXACT }),
        ..Settings::default()
    };
    let yardsticks = metrics.into_iter().map(|metric| Yardstick::new(metric, &truth, settings));
    let ask = Ask {
        images: images.into(),
        prompt: line.prompt,
        task: line.task,
        system: line.system,
        schema: schema.map(Arc::new),
        detail: detail(line.detail.as_deref())?,
        region: line.region.map(Region::new).transpose()?,
        ..Ask::default()
    };
    Ok(Item {
        id: id(line.id, number)?,
        ask,
        expected,
        tags: tags(line.tags),
        yardsticks: yardsticks.collect::<Result<_>>()?,
        truth,
    })
}

fn id(id: Option<Value>, number: usize) -> Result<String> {
    let id = match id {
        None | Some(Value::Null) => number.to_string(),
        Some(Value::String(id)) => id,
        Some(Value::Number(id)) => id.to_string(),
        Some(_) => return Err(Failure::invalid("`id` must be a text or a number")),
    };
    if id.is_empty() || id.chars().count() > LONGEST_ID {
        return Err(Failure::invalid(format!("`id` must have from 1 to {LONGEST_ID} characters")));
    }
    Ok(id)
}

fn detail(named: Option<&str>) -> Result<Detail> {
    match named {
        None | Some("auto") => Ok(Detail::Auto),
        Some("low") => Ok(Detail::Low),
        Some("high") => Ok(Detail::High),
        Some(_) => Err(Failure::invalid("`detail` must be one of auto, low, high")),
    }
}

fn tags(tags: Tags) -> Vec<String> {
    let shown = |(name, value): (String, Value)| match value {
        Value::String(text) => format!("{name}: {text}"),
        value => format!("{name}: {value}"),
    };
    match tags {
        Tags::List(tags) => tags,
        Tags::Named(tags) => tags.into_iter().map(shown).collect(),
    }
}

fn read_schema(schema: Value, folder: &Path) -> Result<Value> {
    let Value::String(file) = schema else { return Ok(schema) };
    let wrong = |why: String| Failure::invalid(format!("reading the schema {file}: {why}"));
    let text = std::fs::read_to_string(folder.join(&file)).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

/// What is right: one text, any of several, or data.
fn truth(expected: &Value, schema: Option<Value>, asks_for_data: bool) -> Result<Truth> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    };
    let texts = match expected {
        Value::Array(items) => items.iter().map(text).collect::<Option<Vec<_>>>().unwrap_or_default(),
        value => text(value).into_iter().collect(),
    };
    let is_data = match expected {
        Value::Object(_) => true,
        Value::Array(items) => asks_for_data || texts.len() != items.len(),
        _ => false,
    };
    if !is_data && texts.is_empty() && !expected.is_null() {
        return Err(Failure::invalid("`expected` must be a text, a number, several of them, or data"));
    }
    let data = is_data.then(|| expected.clone());
    Ok(Truth { texts: if is_data { Vec::new() } else { texts }, data, schema })
}

/// The measures of an item: the one that decides first, then what else says something about such an answer.
fn measures(
    primary: Option<Metric>,
    named: &[Metric],
    truth: &Truth,
    expected: &Value,
    task: Option<&str>,
) -> Vec<Metric> {
    let usual: &[Metric] = match (task, expected) {
        _ if truth.data.is_some() => &[Metric::FieldAccuracy, Metric::FieldF1, Metric::JsonValid],
        _ if truth.texts.is_empty() => &[],
        (Some(task), _) if task == Task::Ocr.name() => {
            &[Metric::CerNormalized, Metric::WerNormalized, Metric::Cer, Metric::Wer, Metric::Similarity]
        }
        (_, Value::Number(_)) => &[Metric::Numeric, Metric::RelaxedAccuracy, Metric::Exact],
        (Some(task), _) if task == Task::Describe.name() => &[Metric::TokenF1, Metric::Similarity],
        _ => &[Metric::Anls, Metric::Exact, Metric::Contains, Metric::TokenF1],
    };
    let valid = truth.schema.is_some().then_some(Metric::SchemaValid);
    let usual = usual.iter().copied().filter(|_| named.is_empty());
    let mut metrics = Vec::new();
    for metric in primary.into_iter().chain(named.iter().copied()).chain(usual).chain(valid) {
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    metrics
}

/// A path of the set, seen from where the command runs.
fn beside(image: String, folder: &Path) -> String {
    match Source::parse(&image) {
        Ok(Source::Path(path)) if !Path::new(&path).is_absolute() && !path.starts_with('~') => {
            folder.join(path).to_string_lossy().into_owned()
        }
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Item> {
        item(line, 7, Path::new("/sets"), None)
    }

    #[test]
    fn measures_follow_what_is_expected() {
        let first = |line: &str| {
            let item = read(line).expect(line);
            item.yardsticks.iter().map(Yardstick::metric).collect::<Vec<_>>()
        };
        let texts = first(r#"{"image": "a.png", "prompt": "Total?", "expected": "25.41"}"#);
        assert_eq!(texts[0], Metric::Anls);
        assert_eq!(first(r#"{"image": "a.png", "task": "ocr", "expected": "x"}"#)[0], Metric::CerNormalized);
        assert_eq!(first(r#"{"image": "a.png", "prompt": "?", "expected": 3}"#)[0], Metric::Numeric);
        let data = first(r#"{"image": "a.png", "schema": {"type": "object"}, "expected": {"total": 3}}"#);
        assert_eq!((data[0], data[3]), (Metric::FieldAccuracy, Metric::SchemaValid));
        let named = first(r#"{"image": "a.png", "prompt": "?", "expected": ["a", "b"], "metrics": ["exact", "anls"]}"#);
        assert_eq!(named, [Metric::Exact, Metric::Anls]);
    }

    #[test]
    fn a_line_is_read_with_everything_it_says() {
        let item = read(
            r#"{"image": "a.png", "images": ["https://example.org/b.png"], "expected": ["x", 2], "tags": {"kind": "bill"}}"#,
        );
        let item = item.expect("an item");
        assert_eq!(item.ask.images.to_vec(), ["/sets/a.png", "https://example.org/b.png"]);
        assert_eq!(
            (item.id.as_str(), item.truth.texts, item.tags),
            ("7", vec!["x".into(), "2".into()], vec!["kind: bill".to_owned()])
        );
    }

    #[test]
    fn what_is_said_of_a_set_steers_no_terminal() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let line = r#"{"id": "a\u001b[2Jb\u202ec", "image": "a.png"}"#;
        for (text, said) in
            [(format!("{line}\n{line}\n"), "the id `a[2Jbc`"), (line.replace("image", "i\\u001bm"), "`im`")]
        {
            std::fs::write(file.path(), text).expect("a set");
            let failure = Dataset::read(file.path(), None).expect_err("no set");
            assert!(failure.message.contains(said) && !failure.message.contains(['\u{1b}', '\u{202e}']), "{failure:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for (line, said) in [
            ("{", "EOF"),
            (r#"{"expected": "x"}"#, "no `image`"),
            (r#"{"image": "a.png", "expcted": "x"}"#, "unknown field"),
            (r#"{"image": "a.png", "metric": "anlss"}"#, "no metric called"),
            (r#"{"image": "a.png", "metric": "anls"}"#, "needs an expected text"),
            (r#"{"image": "a.png", "expected": "x", "metric": "numeric"}"#, "needs numbers"),
            (r#"{"image": "a.png", "expected": [[1], "x"], "metric": "exact"}"#, "needs an expected text"),
        ] {
            let failure = read(line).expect_err(line);
            assert!(failure.message.contains(said), "{line}: {failure}");
        }
    }
}
