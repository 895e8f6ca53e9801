//! What it can cost at most to hold a value to a schema, worked out before it is done.
//!
//! A validator goes through a value from the top. Each schema that a value meets there takes a step or more; so does
//! each beside it (`allOf`, `$ref`), and those below it are met by its parts. So for a schema that is met once at the top of
//! a value, the steps at any one value so many levels further down are at most
//!
//! ```text
//! steps(schema, 0)     = own + Σ steps(beside, 0)
//! steps(schema, level) = Σ steps(beside, level) + max steps(below, level - 1) + Σ steps(below each, level - 1)
//! ```
//!
//! A member has one name and an item one place, so of `properties` it meets one: seven hundred members cost each of them
//! what one does. A tree, whose nodes are what their children are, costs the same on every level. A schema that leads to
//! itself twice costs twice as much on every level; that is bounded by what there is to be held to it: all steps are
//! the sum over the levels of a value of `steps(whole, level)`, times what is on that level. That sum is looked at
//! before anything is validated. With a bound on it, no schema and no value can take longer than the bound says.
//!
//! Where `unevaluated…` stands, the validator evaluates all that lies beside it, on every level of nesting, to know
//! which parts were evaluated. This counts as
//!
//! ```text
//! marks(schema, level) = Σ (steps(beside, level) + marks(beside, level)) + Σ steps(below each, level - 1)
//! ```
//!
//! twice, once for members and once for items. The validator remembers some results and stops at the first fault; none
//! of that is counted on. How high it climbs, and so how much of its stack it takes, is worked out in the same way.

use serde_json::Value;

use super::graph::{Graph, Node};

/// Levels of a value, one more than the reader of JSON takes.
const LEVELS: usize = 129;
/// Bytes of a text or a name that count as a value more.
const TEXT: usize = 16;
/// The most that holding a value to one schema costs.
#[derive(Debug)]
pub(super) struct Estimate {
    /// Steps at each value of so many levels down.
    steps: Vec<u64>,
    /// Schemas inside of one another that are open at once, for a value of so many levels.
    heights: Vec<usize>,
    /// The most steps that any schema takes at the value that it is met by.
    pub(super) widest: u64,
    /// The most schemas beside one another, each inside of the one before.
    pub(super) highest: usize,
    /// Schemas that are compiled, with what is compiled again for `unevaluated…`.
    pub(super) compiled: u64,
}

/// What each schema of a graph costs on one level.
#[derive(Debug, Clone, PartialEq)]
struct Level {
    steps: Vec<u64>,
    marks: Vec<u64>,
    heights: Vec<usize>,
}

impl Estimate {
    pub(super) fn of(graph: &Graph) -> Self {
        let none = vec![0; graph.nodes.len()];
        let nothing = Level { steps: none.clone(), marks: none, heights: vec![0; graph.nodes.len()] };
        let mut last = level(graph, &nothing, 0);
        let (widest, highest) = (most(&last.steps), most(&last.heights));
        let (mut steps, mut heights) = (vec![last.steps[0]], vec![last.heights[0]]);
        for depth in 1..LEVELS {
            let next = level(graph, &last, depth);
            steps.push(next.steps[0]);
            heights.push(next.heights[0]);
            last = next;
        }
        Self { steps, heights, widest, highest, compiled: compiled(graph) }
    }

    /// The most steps that it takes to hold this value to the schema, and the most schemas that are open at once. `None` for
    /// a value that is too deep.
    pub(super) fn of_value(&self, value: &Value) -> Option<(u64, usize)> {
        let mut census = Vec::new();
        count(value, 0, 0, &mut census)?;
        let steps = census.iter().zip(&self.steps).map(|(values, steps)| values.saturating_mul(*steps));
        let height = self.heights.get(census.len().saturating_sub(1))?;
        Some((steps.fold(0, u64::saturating_add), *height))
    }
}

fn level(graph: &Graph, above: &Level, depth: usize) -> Level {
    let mut level =
        Level { steps: vec![0; above.steps.len()], marks: vec![0; above.steps.len()], heights: above.heights.clone() };
    for place in &graph.order {
        let node = &graph.nodes[*place];
        let parts = if depth == 0 { 0 } else { parts(node, above, depth) };
        let beside = sum(node.beside.iter().map(|other| level.steps[*other]));
        let each = if depth == 0 { 0 } else { sum(node.below_each.iter().map(|other| above.steps[*other])) };
        let marks =
            sum(node.beside.iter().map(|other| level.marks[*other])).saturating_add(beside).saturating_add(each);
        level.marks[*place] = marks;
        let own = if depth == 0 { node.own } else { 0 };
        let again = if node.again { marks.saturating_mul(2) } else { 0 };
        level.steps[*place] = sum([own, node.compared, beside, parts, again].into_iter());
        let beside = node.beside.iter().map(|other| level.heights[*other]);
        let below = node.below.iter().chain(&node.below_each).map(|other| above.heights[*other]).filter(|_| depth > 0);
        level.heights[*place] = 1 + beside.chain(below).max().unwrap_or(0);
    }
    level
}

/// Steps that a part of a value takes because the value meets this schema.
fn parts(node: &Node, above: &Level, depth: usize) -> u64 {
    let one = node.below.iter().map(|other| above.steps[*other]).max().unwrap_or(0);
    let each = node.below_each.iter().map(|other| above.steps[*other]);
    let names = if depth == 1 { node.names } else { 0 };
    sum(each.chain([one, names]))
}

/// Each schema is compiled once, and all that is beside one with `unevaluated…` once more for that.
fn compiled(graph: &Graph) -> u64 {
    let mut paths = vec![0_u64; graph.nodes.len()];
    let mut all = graph.nodes.len() as u64;
    for place in &graph.order {
        let node = &graph.nodes[*place];
        paths[*place] = sum(node.beside.iter().map(|other| paths[*other])).saturating_add(1);
        if node.again {
            all = all.saturating_add(paths[*place].saturating_mul(2));
        }
    }
    all
}

fn sum(parts: impl Iterator<Item = u64>) -> u64 {
    parts.fold(0, u64::saturating_add)
}

fn most<N: Copy + Ord + Default>(all: &[N]) -> N {
    all.iter().copied().max().unwrap_or_default()
}

/// Counts what is on each level of a value; `None` where there are more levels than can be told.
fn count(value: &Value, name: usize, depth: usize, census: &mut Vec<u64>) -> Option<()> {
    if depth >= LEVELS {
        return None;
    }
    if census.len() == depth {
        census.push(0);
    }
    let text = name + value.as_str().map_or(0, str::len);
    census[depth] += 1 + (text / TEXT) as u64;
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| count(item, 0, depth + 1, census)),
        Value::Object(members) => {
            members.iter().try_for_each(|(name, member)| count(member, name.len(), depth + 1, census))
        }
        _ => Some(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn steps(schema: &Value, levels: usize) -> Vec<u64> {
        let graph = Graph::of(schema).expect("a graph");
        Estimate::of(&graph).steps.into_iter().take(levels).collect()
    }

    #[test]
    fn a_member_meets_one_of_many_properties_and_a_tree_costs_the_same_everywhere() {
        let nullable = json!({"anyOf": [{"type": "string"}, {"type": "null"}]});
        let names = |count| (0..count).map(|index| (format!("p{index}"), nullable.clone())).collect();
        assert_eq!(steps(&json!({"properties": Value::Object(names(9))}), 3)[1..], [3, 0]);
        assert_eq!(steps(&json!({"properties": Value::Object(names(700))}), 3)[1..], [3, 0]);
        let tree = json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}});
        assert_eq!(steps(&tree, 40)[1..], [2; 39]);
    }

    #[test]
    fn what_leads_to_itself_twice_costs_twice_as_much_on_every_level() {
        let twice = json!({"allOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]});
        let steps = steps(&twice, 129);
        assert!((1..60).all(|level| steps[level + 1] >= 2 * steps[level]), "{steps:?}");
        assert_eq!(steps[128], u64::MAX);
    }

    #[test]
    fn what_is_evaluated_again_counts_for_that() {
        let leaf = || json!({"properties": {"a": {"type": "number"}}});
        let nested =
            |keyword: &str, levels| (0..levels).fold(leaf(), |inner, _| json!({"anyOf": [inner], keyword: false}));
        let cost = |keyword: &str, levels| steps(&nested(keyword, levels), 1)[0];
        assert!(cost("unevaluatedProperties", 12) > 100 * cost("unevaluatedProperties", 6));
        assert_eq!(cost("additionalProperties", 12), 13);
    }

    #[test]
    fn long_texts_and_names_count_for_their_length() {
        let graph = Graph::of(&json!({"additionalProperties": {"pattern": "a"}})).expect("a graph");
        let cost = |value: Value| Estimate::of(&graph).of_value(&value).expect("a cost").0;
        assert!(cost(json!({"a": "x".repeat(16_000)})) > 900 * cost(json!({"a": "x"})) / 2);
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(Estimate::of(&graph).of_value(&deep), None);
    }
}
