//! What is wrong with a configuration: every fault of it at once, each with its place, its key and a hint.
//!
//! The shape is checked against a schema made from the types, because a deserialiser stops at the first fault. No
//! message shows a value: values may be keys.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use figment::{Figment, Source};
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use rapidfuzz::distance::damerau_levenshtein;
use serde_json::Value;

use super::shape::Config;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file or environment variable that says so.
    pub place: String,
    /// The path of the key, such as `providers.lab.base_url`; empty when it is about a whole file.
    pub key: String,
    pub message: String,
    pub hint: Option<String>,
}

impl Fault {
    /// A fault of a whole file.
    pub(crate) fn of(file: &Path, message: impl Into<String>) -> Self {
        Self { place: file.display().to_string(), key: String::new(), message: message.into(), hint: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(out, "`{}`: ", self.key)?;
        }
        write!(out, "{}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(out, "; {hint}"))
    }
}

/// Checks the shape of merged configuration data. Yields what is wrong, and the data without the keys that nobody
/// knows; what has the wrong shape is as it was shipped, or not there, so that the rest can be looked at in the same run.
#[expect(clippy::expect_used, reason = "it says why it cannot happen")]
pub(super) fn check_shape(figment: &Figment, data: &Value, shipped: &Value) -> (Vec<Fault>, Value) {
    let schema = schemars::schema_for!(Config).to_value();
    let validator = jsonschema::validator_for(&schema).expect("the schema is made from types and always valid");
    let mut faults = Vec::new();
    let mut plain = data.clone();
    for error in validator.iter_errors(data) {
        for leaf in leaves(&error) {
            let path = dotted(leaf.pointer);
            match leaf.what {
                What::Unknown { keys, schema_path } => {
                    let known = known_keys(&schema, schema_path);
                    faults.extend(keys.iter().map(|name| unknown_key(figment, &path, name, &known)));
                    if let Some(Value::Object(table)) = plain.pointer_mut(leaf.pointer) {
                        table.retain(|name, _| !keys.contains(name));
                    }
                }
                What::Wrong(message) => {
                    put_aside(&mut plain, leaf.pointer, shipped);
                    faults.push(Fault { place: place(figment, &path), message, hint: hint(&path), key: path });
                }
            }
        }
    }
    (faults, plain)
}

/// Puts what was shipped in the place of a value, or nothing.
fn put_aside(data: &mut Value, pointer: &str, shipped: &Value) {
    if let (Some(value), Some(shipped)) = (data.pointer_mut(pointer), shipped.pointer(pointer)) {
        *value = shipped.clone();
        return;
    }
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    let name = name.replace("~1", "/").replace("~0", "~");
    match data.pointer_mut(parent) {
        Some(Value::Object(table)) => drop(table.remove(&name)),
        Some(list @ Value::Array(_)) => *list = Value::Array(Vec::new()),
        _ => {}
    }
}

/// What is wrong at one place.
struct Leaf<'a> {
    pointer: &'a str,
    what: What<'a>,
}

enum What<'a> {
    /// Keys that nobody knows, and where the schema of their table stands.
    Unknown {
        keys: &'a [String],
        schema_path: &'a str,
    },
    Wrong(String),
}

/// What lies at the bottom of an error. Where a value may have one of several forms, it is the form that was meant whose
/// faults are told, and not that there are several.
fn leaves<'a>(error: &'a ValidationError<'_>) -> Vec<Leaf<'a>> {
    let pointer = error.instance_path().as_str();
    let wrong = |message| vec![Leaf { pointer, what: What::Wrong(message) }];
    let branches = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let schema_path = error.schema_path().as_str();
            return vec![Leaf { pointer, what: What::Unknown { keys: unexpected, schema_path } }];
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => context,
        ValidationErrorKind::Enum { .. } => return wrong(format!("expected one of {}", words(error).join(", "))),
        kind => return wrong(wording(kind, error.instance())),
    };
    let of_another_type = |branch: &&Vec<ValidationError<'_>>| {
        let is_type = |error: &ValidationError<'_>| matches!(error.kind(), ValidationErrorKind::Type { .. });
        !branch.iter().any(|error| is_type(error) && error.instance_path().as_str() == pointer)
    };
    let meant: Vec<_> = branches.iter().filter(of_another_type).collect();
    // Forms are told apart by a word: where none has the right one, the words are what there is to tell.
    match meant.as_slice() {
        [] => {
            let types = branches.iter().flatten().filter_map(|error| match error.kind() {
                ValidationErrorKind::Type { kind } => Some(expected(kind)).filter(|name| !name.is_empty()),
                _ => None,
            });
            let types: BTreeSet<String> = types.collect();
            let types: Vec<String> = types.into_iter().collect();
            wrong(format!("expected {}, found {}", types.join(" or "), sort(error.instance())))
        }
        [one] => one.iter().flat_map(leaves).collect(),
        many => {
            let is_right = |branch: &&&Vec<ValidationError<'_>>| branch.iter().all(|error| words(error).is_empty());
            if let Some(right) = many.iter().find(is_right) {
                return right.iter().flat_map(leaves).collect();
            }
            let mut of_words = many.iter().flat_map(|branch| branch.iter()).filter(|error| !words(error).is_empty());
            let pointer = of_words.next().map_or(pointer, |error| error.instance_path().as_str());
            let words: Vec<&str> = many.iter().flat_map(|branch| branch.iter()).flat_map(words).collect();
            vec![Leaf { pointer, what: What::Wrong(format!("expected one of {}", words.join(", "))) }]
        }
    }
}

/// The words of which one was expected.
fn words<'a>(error: &'a ValidationError<'_>) -> Vec<&'a str> {
    match error.kind() {
        ValidationErrorKind::Constant { expected_value } => expected_value.as_str().into_iter().collect(),
        ValidationErrorKind::Enum { options } => {
            options.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
        }
        _ => Vec::new(),
    }
}

/// Where a key was set.
pub(super) fn place(figment: &Figment, path: &str) -> String {
    let mut path = path;
    loop {
        match figment.find_metadata(path) {
            Some(metadata) => {
                return match &metadata.source {
                    Some(Source::File(file)) => file.display().to_string(),
                    _ if metadata.name.contains("environment") => {
                        format!("environment variable VISIONGATE_{}", path.replace('.', "__").to_uppercase())
                    }
                    _ => super::BUILT_IN_NAME.into(),
                };
            }
            // A key that is missing is missing where its table is.
            None => match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return "the configuration".into(),
            },
        }
    }
}

fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~")
}

fn unknown_key(figment: &Figment, parent: &str, name: &str, known: &[String]) -> Fault {
    let key = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
    let hint = match nearest(known.iter().map(String::as_str), name, 3.max(name.len() / 3)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    Fault { place: place(figment, &key), key, message: "there is no such key".into(), hint: Some(hint) }
}

/// The name that comes nearest to a wrong one, when it is within so many slips of the pen.
pub(crate) fn nearest<'a>(names: impl Iterator<Item = &'a str>, wrong: &str, within: usize) -> Option<&'a str> {
    let slips = |name: &str| damerau_levenshtein::distance(name.chars(), wrong.chars());
    names.min_by_key(|name| slips(name)).filter(|name| slips(name) <= within)
}

/// The keys that the object with the failing `additionalProperties` knows.
fn known_keys(schema: &Value, schema_path: &str) -> Vec<String> {
    let parent = schema_path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let properties = follow(schema, parent).and_then(|object| object.get("properties"));
    properties.and_then(Value::as_object).map(|keys| keys.keys().cloned().collect()).unwrap_or_default()
}

/// Walks a schema path, stepping through references as validation did.
fn follow<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/').filter(|step| !step.is_empty()).try_fold(schema, |at, step| {
        let step = step.replace("~1", "/").replace("~0", "~");
        let next = match at {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            _ => at.get(&step),
        }?;
        match (step.as_str(), next.as_str()) {
            ("$ref", Some(target)) => schema.pointer(target.trim_start_matches('#')),
            _ => Some(next),
        }
    })
}

fn wording(kind: &ValidationErrorKind, found: &Value) -> String {
    match kind {
        ValidationErrorKind::Required { property } => {
            format!("the key `{}` is missing", property.as_str().unwrap_or_default())
        }
        ValidationErrorKind::Type { kind } => format!("expected {}, found {}", expected(kind), sort(found)),
        ValidationErrorKind::Pattern { .. } => "this is not written as expected".into(),
        ValidationErrorKind::Minimum { limit } => format!("expected at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("expected at most {limit}"),
        _ => "this is not one of the forms that are understood".into(),
    }
}

fn expected(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(many) => {
            let names = many.iter().map(|one| one.to_string()).filter(|name| name != "null");
            names.collect::<Vec<_>>().join(" or ")
        }
    }
}

fn sort(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
    }
}

/// What the commonest mistakes need to hear.
fn hint(path: &str) -> Option<String> {
    let hint = match path.rsplit('.').next()? {
        "key" => "write { env = \"VARIABLE\" }, { file = \"/path\" } or \"none\"; a key itself never stands here",
        "capacity" | "max_bytes" => "write a size such as \"256MiB\"",
        "ttl" | "total" | "attempt" | "first_byte" | "idle" | "open" | "longest" | "longest_wait" | "timeout" => {
            "write a time such as \"55s\" or \"24h\""
        }
        _ => return None,
    };
    Some(hint.to_owned())
}
