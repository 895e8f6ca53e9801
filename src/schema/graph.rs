//! A schema as the graph that its references make of it: which schemas a value meets in one place, and which its parts
//! meet. It is read only; what it would cost to follow is for `estimate`.

use std::collections::{HashMap, HashSet};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::keyword::{self, Applies};
use super::{DEEPEST, too_deep};

/// A pattern counts as so many steps, and as one more for every so many bytes of it.
const PATTERN: u64 = 20;
const PATTERN_BYTES: u64 = 10;
/// So many values of an `enum`, names of a `required` or schemas of a `properties` count as a step.
const LISTED: u64 = 10;
/// Items of a short list are compared each with each.
const UNIQUE: u64 = 16;
/// What makes the validator go through everything beside it again.
const UNEVALUATED: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

/// One schema, and where it leads.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Steps that it takes by itself, for each value that it meets.
    pub(super) own: u64,
    /// Steps for the name of each member of such a value.
    pub(super) names: u64,
    /// Schemas that the same value meets.
    pub(super) beside: Vec<usize>,
    /// Schemas of which each part of the value meets at most one.
    pub(super) below: Vec<usize>,
    /// Schemas of which each part of the value may meet all.
    pub(super) below_each: Vec<usize>,
    /// Whether it is gone through again to know what was evaluated.
    pub(super) again: bool,
    /// Steps at every part of such a value, however deep, because values are compared whole.
    pub(super) compared: u64,
}

/// All schemas that a schema is made of.
#[derive(Debug)]
pub(super) struct Graph {
    /// The first is the whole.
    pub(super) nodes: Vec<Node>,
    /// All of them, each after those beside it.
    pub(super) order: Vec<usize>,
    /// What all different patterns count.
    pub(super) patterns: u64,
}

impl Graph {
    /// Follows all references of a schema.
    ///
    /// # Errors
    /// When a reference leads out of the schema or in a circle that takes nothing of a value, or when something would make
    /// the validator follow references in another way than this does.
    pub(super) fn of(schema: &Value) -> Result<Self, String> {
        let old = schema["$schema"].as_str().is_some_and(|dialect| dialect.contains("draft-04"));
        let mut reading = Reading {
            root: schema,
            is_old: old,
            known: HashMap::new(),
            names: Vec::new(),
            found: Vec::new(),
            patterns: HashSet::new(),
        };
        reading.place(schema);
        let mut nodes = Vec::new();
        while let Some(schema) = reading.found.get(nodes.len()).copied() {
            nodes.push(reading.node(schema)?);
        }
        let mut sorting =
            Sorting { nodes: &nodes, names: &reading.names, marks: vec![Mark::New; nodes.len()], order: Vec::new() };
        (0..nodes.len()).try_for_each(|node| sorting.visit(node, 0))?;
        let order = sorting.order;
        let patterns = reading.patterns.iter().map(|pattern| cost(pattern)).fold(0, u64::saturating_add);
        Ok(Self { nodes, order, patterns })
    }
}

struct Reading<'a> {
    root: &'a Value,
    is_old: bool,
    /// Where each schema stands in `found`, by its address.
    known: HashMap<*const Value, usize>,
    /// The reference that led to each, if one did.
    names: Vec<Option<&'a str>>,
    found: Vec<&'a Value>,
    patterns: HashSet<&'a str>,
}

impl<'a> Reading<'a> {
    fn place(&mut self, schema: &'a Value) -> usize {
        *self.known.entry(std::ptr::from_ref(schema)).or_insert_with(|| {
            self.found.push(schema);
            self.names.push(None);
            self.found.len() - 1
        })
    }

    fn node(&mut self, schema: &'a Value) -> Result<Node, String> {
        let mut node = Node { own: 1, ..Node::default() };
        let Value::Object(members) = schema else { return Ok(node) };
        self.check_names(schema)?;
        for (word, value) in members {
            match (word.as_str(), value) {
                ("$dynamicRef" | "$recursiveRef", _) => return Err("dynamic references are not taken".into()),
                ("$ref", Value::String(target)) => {
                    let found = self.target(target)?;
                    let place = self.place(found);
                    self.names[place].get_or_insert(target);
                    node.beside.push(place);
                }
                ("pattern", Value::String(pattern)) => node.own += self.pattern(pattern),
                ("patternProperties", Value::Object(by_pattern)) => {
                    // They are matched once more for what is additional.
                    node.names = by_pattern.keys().map(|pattern| 2 * self.pattern(pattern)).sum();
                }
                _ => node.own += values(value) / LISTED,
            }
            self.follow(word, value, &mut node);
        }
        node.again = UNEVALUATED.iter().any(|word| members.contains_key(*word));
        node.compared = compared(members);
        Ok(node)
    }

    fn follow(&mut self, word: &str, value: &'a Value, node: &mut Node) {
        let Some((holds, applies)) = keyword::of(word) else { return };
        for schema in keyword::schemas(holds, value) {
            let place = self.place(schema);
            match applies {
                Applies::Beside => node.beside.push(place),
                Applies::Below => node.below.push(place),
                Applies::BelowEach => node.below_each.push(place),
                Applies::Nowhere => {}
            }
        }
    }

    fn pattern(&mut self, pattern: &'a str) -> u64 {
        self.patterns.insert(pattern);
        cost(pattern)
    }

    /// What a reference leads to. Nothing on the way may change what it means.
    fn target(&self, target: &str) -> Result<&'a Value, String> {
        let nowhere = || format!("the reference {target} leads nowhere inside the schema");
        let pointer = target.strip_prefix('#').ok_or_else(nowhere)?;
        let pointer = percent_decode_str(pointer).decode_utf8().map_err(|_| nowhere())?;
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(nowhere());
        }
        pointer.split('/').skip(1).try_fold(self.root, |place, step| {
            let next = place.pointer(&format!("/{step}")).ok_or_else(nowhere)?;
            self.check_names(next).map(|()| next)
        })
    }

    /// A name inside of a schema would make the validator read the references behind it in another way than this does.
    fn check_names(&self, schema: &Value) -> Result<(), String> {
        const NAMES: [&str; 5] = ["$id", "$anchor", "$dynamicAnchor", "$schema", "id"];
        let Value::Object(members) = schema else { return Ok(()) };
        let is_root = std::ptr::eq(schema, self.root);
        // Elsewhere, `id` is a word like others.
        let name = NAMES.iter().take(if self.is_old { 5 } else { 4 }).find(|name| is_text(members, name));
        match name {
            Some(name) if !is_root => Err(format!("`{name}` is taken at the top of a schema only")),
            _ => Ok(()),
        }
    }
}

fn is_text(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name).is_some_and(Value::is_string)
}

/// Steps as which a pattern counts.
fn cost(pattern: &str) -> u64 {
    PATTERN + pattern.len() as u64 / PATTERN_BYTES
}

/// Steps at each part of a value that is compared whole: with its like, or with what it may be.
fn compared(members: &Map<String, Value>) -> u64 {
    let is_whole = |value: &&Value| value.is_array() || value.is_object();
    let values = members.get("enum").and_then(Value::as_array).into_iter().flatten().chain(members.get("const"));
    let unique = if members.contains_key("uniqueItems") { UNIQUE } else { 0 };
    unique + values.filter(is_whole).count() as u64
}

/// Values that are compared or looked up, to the second level: what is below is a schema of its own, or rare.
fn values(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(|item| 1 + width(item)).sum(),
        Value::Object(members) => members.values().map(|member| 1 + width(member)).sum(),
        _ => 0,
    }
}

fn width(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.len() as u64,
        Value::Object(members) => members.len() as u64,
        _ => 0,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Puts schemas behind those beside them, which only works where none is beside itself.
struct Sorting<'a> {
    nodes: &'a [Node],
    names: &'a [Option<&'a str>],
    marks: Vec<Mark>,
    order: Vec<usize>,
}

impl Sorting<'_> {
    fn visit(&mut self, node: usize, depth: usize) -> Result<(), String> {
        match self.marks[node] {
            Mark::Done => return Ok(()),
            Mark::Open => {
                let name = self.names[node].unwrap_or("#");
                return Err(format!(
                    "the reference {name} leads back to itself, and takes nothing of a value on the way"
                ));
            }
            Mark::New if depth > DEEPEST => return Err(too_deep()),
            Mark::New => self.marks[node] = Mark::Open,
        }
        let nodes = self.nodes;
        nodes[node].beside.iter().try_for_each(|beside| self.visit(*beside, depth + 1))?;
        self.marks[node] = Mark::Done;
        self.order.push(node);
        Ok(())
    }
}
