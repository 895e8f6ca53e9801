//! Data held against data, field by field and by value: 25.40 is 25.4 and `$25.40`, and 12 March is 12 March.
//!
//! A field is a scalar and its path. Texts that are numbers, amounts or dates (see [`number`] and [`date`]) are
//! compared by value, other texts normalised. A text of digits that begins with 0 or `+`, or has more than 15 of them,
//! is a name and compared as text.
//!
//! - Lists of objects or texts are sets: items are paired with the most alike, and what is left over in order. Lists of
//!   numbers are compared by position, because coordinates are.
//! - A member that the truth does not name is no fault: who labels two members of ten wants to know of these two. It counts
//!   for precision alone; `null` in the truth says that nothing is right there.
//! - `null` and an absent field both say that there is nothing. Where both sides say `null`, that is a field and right;
//!   where one says it and the other nothing at all, it is no field.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::date::{self, Date, DateOrder};
use super::number::{self, Number, Tolerance, Unit};
use super::pairing;
use super::text::{normalised, share};

/// Differences that are listed; all are counted.
pub const MOST_LISTED: usize = 1000;
/// Comparisons of fields that pairing may take; lists beyond it are compared by position.
const PAIRING_WORK: usize = 20_000_000;
/// Characters of a name that a path shows.
const SHOWN: usize = 64;
/// Digits of numbers that floating point keeps apart.
const EXACT_DIGITS: usize = 15;

/// What a comparison of data came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields {
    /// Fields that either side has.
    pub all: usize,
    /// Of those, the ones that the truth does not name.
    pub beyond: usize,
    /// Fields that agree.
    pub right: usize,
    /// Values that the truth has, `null` aside.
    pub expected: usize,
    /// Values that the answer has, `null` aside.
    pub given: usize,
    /// Values that agree.
    pub found: usize,
    /// The first of those that do not, in the order of the truth.
    pub differing: Vec<Difference>,
}

/// A field that is not as the truth has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// A JSON pointer (RFC 6901) into the truth, or into the answer where the truth has no such field; long names are
    /// cut.
    pub path: String,
    pub kind: Kind,
}

/// How a field differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Missing,
    Unexpected,
    Different,
}

impl Fields {
    /// One less the share of differing fields, of those that the truth speaks of; 1 where there are none.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let named = self.all - self.beyond;
        1.0 - share(named - self.right, named)
    }

    /// One less the share of differing fields, of those that either side has; 1 where there are none.
    #[must_use]
    pub fn likeness(&self) -> f64 {
        1.0 - share(self.all - self.right, self.all)
    }

    /// The share of the answer's values that are right; 1 where it has none.
    #[must_use]
    pub fn precision(&self) -> f64 {
        1.0 - share(self.given - self.found, self.given)
    }

    /// The share of the truth's values that were found; 1 where it has none.
    #[must_use]
    pub fn recall(&self) -> f64 {
        1.0 - share(self.expected - self.found, self.expected)
    }

    /// The harmonic mean of precision and recall: twice the values found, of all values on either side.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let all = self.given + self.expected;
        if all == 0 { 1.0 } else { share(2 * self.found, all) }
    }
}

/// Compares an answer with the truth, field by field.
#[must_use]
pub fn compare(truth: &Value, answer: &Value, order: DateOrder) -> Fields {
    let (path, fields) = (Vec::new(), Fields::default());
    let mut comparing = Comparing { order, work: PAIRING_WORK, path, is_beyond: false, fields };
    comparing.pair(Some(truth), Some(answer));
    comparing.fields
}

/// How far two answers agree, from 0 to 1, when neither is the truth.
#[must_use]
pub fn agreement(one: &Value, other: &Value) -> f64 {
    compare(one, other, DateOrder::Unstated).likeness()
}

struct Comparing {
    order: DateOrder,
    /// What pairing may still take.
    work: usize,
    /// Names on the way to where we are.
    path: Vec<String>,
    /// Whether that is below a member that the truth does not name.
    is_beyond: bool,
    fields: Fields,
}

impl Comparing {
    fn pair(&mut self, truth: Option<&Value>, answer: Option<&Value>) {
        match (truth, answer) {
            (Some(Value::Object(truth)), Some(Value::Object(answer))) => {
                for (name, value) in truth {
                    self.below(name, Some(value), answer.get(name));
                }
                for (name, value) in answer.iter().filter(|(name, _)| !truth.contains_key(*name)) {
                    self.is_beyond = true;
                    self.below(name, None, Some(value));
                    self.is_beyond = false;
                }
            }
            (Some(Value::Array(truth)), Some(Value::Array(answer))) => self.lists(truth, answer),
            (Some(one), Some(other)) if is_scalar(one) && is_scalar(other) => self.scalars(Some(one), Some(other)),
            (Some(one), Some(other)) => {
                self.pair(Some(one), None);
                self.pair(None, Some(other));
            }
            (Some(Value::Object(members)), None) => {
                members.iter().for_each(|(name, value)| self.below(name, Some(value), None));
            }
            (None, Some(Value::Object(members))) => {
                members.iter().for_each(|(name, value)| self.below(name, None, Some(value)));
            }
            (Some(Value::Array(items)), None) => self.lists(items, &[]),
            (None, Some(Value::Array(items))) => self.lists(&[], items),
            (one, other) => self.scalars(one, other),
        }
    }

    fn below(&mut self, name: &str, truth: Option<&Value>, answer: Option<&Value>) {
        self.path.push(name.chars().take(SHOWN).collect());
        self.pair(truth, answer);
        self.path.pop();
    }

    fn lists(&mut self, truths: &[Value], answers: &[Value]) {
        let pairs = self.pairs(truths, answers);
        for (truth, answer) in pairing::aligned(truths.len(), answers.len(), pairs) {
            let at = truth.or(answer).unwrap_or_default();
            self.below(&at.to_string(), truth.and_then(|at| truths.get(at)), answer.and_then(|at| answers.get(at)));
        }
    }

    /// Items that have most in common; none where the order counts, or where looking for them would take too long.
    fn pairs(&mut self, truths: &[Value], answers: &[Value]) -> Vec<(usize, usize)> {
        let is_set = |items: &[Value]| items.iter().any(|item| item.is_object() || item.is_string());
        if !is_set(truths) || !is_set(answers) {
            return Vec::new();
        }
        let traits = |items: &[Value]| items.iter().map(|item| traits(item, self.order)).collect::<Vec<_>>();
        let (truths, answers) = (traits(truths), traits(answers));
        let sum = |all: &[Vec<u64>]| all.iter().map(|traits| traits.len() + 1).sum::<usize>();
        let work = truths.len().saturating_mul(sum(&answers)) + answers.len().saturating_mul(sum(&truths));
        match self.work.checked_sub(work) {
            Some(rest) => self.work = rest,
            None => return Vec::new(),
        }
        pairing::pairs(truths.len(), answers.len(), |truth, answer| {
            truths.get(truth).zip(answers.get(answer)).map_or(0.0, |(truth, answer)| likeness(truth, answer))
        })
    }

    fn scalars(&mut self, truth: Option<&Value>, answer: Option<&Value>) {
        let (truth, answer) = (truth.map(|value| self.leaf(value)), answer.map(|value| self.leaf(value)));
        let is_value = |leaf: &Option<Leaf>| leaf.as_ref().is_some_and(|leaf| !matches!(leaf, Leaf::Nothing));
        let (is_expected, is_given) = (is_value(&truth), is_value(&answer));
        let are_stated = truth.is_some() && answer.is_some();
        if !is_expected && !is_given && !are_stated {
            return;
        }
        let is_right = truth.zip(answer).is_some_and(|(truth, answer)| truth.is(&answer));
        self.fields.all += 1;
        self.fields.beyond += usize::from(self.is_beyond);
        self.fields.right += usize::from(is_right);
        self.fields.expected += usize::from(is_expected);
        self.fields.given += usize::from(is_given);
        self.fields.found += usize::from(is_right && is_expected);
        if !is_right {
            self.note(match (is_expected, is_given) {
                (true, false) => Kind::Missing,
                (false, true) => Kind::Unexpected,
                _ => Kind::Different,
            });
        }
    }

    fn leaf(&self, value: &Value) -> Leaf {
        leaf(value, self.order)
    }

    fn note(&mut self, kind: Kind) {
        if self.fields.differing.len() < MOST_LISTED {
            let mut path = String::new();
            for name in &self.path {
                let _ = write!(path, "/{}", name.replace('~', "~0").replace('/', "~1"));
            }
            self.fields.differing.push(Difference { path, kind });
        }
    }
}

/// A scalar by its value.
#[derive(Debug)]
enum Leaf {
    Nothing,
    Flag(bool),
    Number(Number),
    Date(Date),
    Text(String),
}

impl Leaf {
    /// Whether two values are the same; `5%` and 0.05 are.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nothing, Self::Nothing) => true,
            (Self::Flag(one), Self::Flag(other)) => one == other,
            (Self::Number(one), Self::Number(other)) => {
                one.is_near(*other, Tolerance::EXACT) || other.is_near(*one, Tolerance::EXACT)
            }
            (Self::Date(one), Self::Date(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            _ => false,
        }
    }

    /// The same for values that are the same, all but always. It serves to find partners, not to judge.
    fn hash_into(&self, hasher: &mut DefaultHasher) {
        match self {
            Self::Nothing => 0_u8.hash(hasher),
            Self::Flag(flag) => (1_u8, flag).hash(hasher),
            Self::Number(number) => (2_u8, format!("{:.9e}", number.value)).hash(hasher),
            Self::Date(date) => (3_u8, date).hash(hasher),
            Self::Text(text) => (4_u8, text).hash(hasher),
        }
    }
}

fn leaf(value: &Value, order: DateOrder) -> Leaf {
    match value {
        Value::Bool(flag) => Leaf::Flag(*flag),
        Value::Number(number) => {
            let written = number.to_string();
            match number.as_f64().filter(|_| !is_name(&written)) {
                Some(value) => Leaf::Number(Number { value, unit: Unit::None }),
                None => Leaf::Text(written),
            }
        }
        Value::String(text) => match date::read(text, order) {
            Some(date) => Leaf::Date(date),
            None => match number::read(text).filter(|_| !is_name(text)) {
                Some(number) => Leaf::Number(number),
                None => Leaf::Text(normalised(text)),
            },
        },
        Value::Null | Value::Array(_) | Value::Object(_) => Leaf::Nothing,
    }
}

/// Whether digits name something instead of counting: article numbers, telephones, accounts.
fn is_name(text: &str) -> bool {
    let text = text.trim();
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let is_plain = digits == text.len();
    text.starts_with('+') || (is_plain && (digits > EXACT_DIGITS || (digits > 1 && text.starts_with('0'))))
}

fn is_scalar(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

/// What can be recognised of an item: each of its values with the names that lead to it, in order.
fn traits(item: &Value, order: DateOrder) -> Vec<u64> {
    let mut found = Vec::new();
    collect(item, 0, order, &mut found);
    found.sort_unstable();
    found
}

fn collect(value: &Value, above: u64, order: DateOrder, found: &mut Vec<u64>) {
    let mut hasher = DefaultHasher::new();
    above.hash(&mut hasher);
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            let mut hasher = hasher.clone();
            name.hash(&mut hasher);
            collect(value, hasher.finish(), order, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| collect(item, hasher.finish(), order, found)),
        scalar => {
            leaf(scalar, order).hash_into(&mut hasher);
            found.push(hasher.finish());
        }
    }
}

/// What two items have in common, as a share of what both have.
fn likeness(one: &[u64], other: &[u64]) -> f64 {
    let (mut left, mut right, mut same) = (one, other, 0);
    while let ([a, more_left @ ..], [b, more_right @ ..]) = (left, right) {
        same += usize::from(a == b);
        (left, right) = match a.cmp(b) {
            std::cmp::Ordering::Less => (more_left, right),
            std::cmp::Ordering::Greater => (left, more_right),
            std::cmp::Ordering::Equal => (more_left, more_right),
        };
    }
    share(2 * same, one.len() + other.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(truth: &Value, answer: &Value, right: usize, all: usize) -> Fields {
        let fields = compare(truth, answer, DateOrder::Unstated);
        assert_eq!((fields.right, fields.all), (right, all), "{truth} {answer}: {:?}", fields.differing);
        fields
    }

    #[test]
    fn values_are_compared_and_not_spellings() {
        for (truth, answer) in [
            (json!(25.40), json!("25.4")),
            (json!("1,234.50 EUR"), json!("€1.234,50")),
            (json!(1234.5), json!("$1,234.50")),
            (json!("2024-03-12"), json!("12 March 2024")),
            (json!("Café  Müller"), json!("CAFE\u{301} MÜLLER ")),
            (json!("19%"), json!(0.19)),
            (json!("20240312"), json!("20240312")),
        ] {
            check(&truth, &answer, 1, 1);
        }
        for (truth, answer) in [
            (json!("007"), json!("7")),
            (json!("007"), json!(7)),
            (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64)),
            (json!("$5"), json!("€5")),
            (json!(true), json!("true")),
            (json!("03/04/2024"), json!("2024-04-03")),
            (json!("+49 170 1234567"), json!("49 170 1234567")),
        ] {
            check(&truth, &answer, 0, 1);
        }
    }

    #[test]
    fn nothing_is_right_only_where_both_say_so() {
        check(&json!({"a": null}), &json!({"a": null}), 1, 1);
        check(&json!({"a": null}), &json!({}), 0, 0);
        check(&json!({}), &json!({}), 0, 0);
        let invented = check(&json!({"a": null}), &json!({"a": 1}), 0, 1);
        assert_eq!(invented.differing, [Difference { path: "/a".into(), kind: Kind::Unexpected }]);
    }

    #[test]
    fn precision_and_recall_tell_inventing_from_leaving_out() {
        let truth = json!({"a": 1, "b": 2, "c": {"d": 3}});
        let fields = check(&truth, &json!({"a": 1, "b": 5, "e": 6}), 1, 4);
        let kinds: Vec<_> = fields.differing.iter().map(|it| (it.path.as_str(), it.kind)).collect();
        assert_eq!(kinds, [("/b", Kind::Different), ("/c/d", Kind::Missing), ("/e", Kind::Unexpected)]);
        let near = |one: f64, other: f64| assert!((one - other).abs() < 1e-9, "{one} {other}");
        assert_eq!(fields.beyond, 1, "the truth says nothing of `e`");
        near(fields.accuracy(), 1.0 / 3.0);
        near(fields.likeness(), 0.25);
        near(fields.precision(), 1.0 / 3.0);
        near(fields.recall(), 1.0 / 3.0);
        near(fields.f1(), 1.0 / 3.0);
        near(compare(&json!({}), &json!({}), DateOrder::Unstated).f1(), 1.0);
    }

    #[test]
    fn a_label_may_say_less_than_an_answer() {
        let label = json!({"total": 25.41, "tax": null, "items": [{"name": "tea"}]});
        let answer = json!({"total": "$25.41", "vendor": {"name": "Corner", "id": 7},
            "items": [{"name": "Tea", "price": 5}, {"name": "Jam", "price": 3}]});
        let fields = compare(&label, &answer, DateOrder::Unstated);
        // Of the label: the total, and one name; the second item is in a list that the label has, and so are its members.
        assert_eq!((fields.right, fields.all, fields.beyond), (2, 7, 3), "{:?}", fields.differing);
        assert!((fields.accuracy() - 0.5).abs() < 1e-9);
        let invented =
            compare(&label, &json!({"total": 25.41, "tax": 2, "items": [{"name": "tea"}]}), DateOrder::Unstated);
        assert_eq!((invented.right, invented.all, invented.beyond), (2, 3, 0), "nothing was right there");
    }

    #[test]
    fn lists_of_objects_are_sets_and_lists_of_numbers_are_not() {
        let items = json!([{"text": "tea", "price": 2}, {"text": "jam", "price": 3}, {"text": "ham", "price": 4}]);
        check(&items, &json!([{"text": "Ham", "price": "4.00"}, {"text": "tea", "price": 2}]), 4, 6);
        check(&json!(["a", "b", "c"]), &json!(["c", "b", "a"]), 3, 3);
        check(&json!([1, 2]), &json!([2, 1]), 0, 2);
        check(&json!([{"a": 1}]), &json!([{"a": 2}]), 0, 1);
        check(&json!({"a": [1]}), &json!({"a": 1}), 0, 2);
    }

    #[test]
    fn paths_are_pointers_and_long_names_are_cut() {
        let truth = json!({"a/b~": 1, "n".repeat(1000): 1});
        let fields = compare(&truth, &json!({}), DateOrder::Unstated);
        assert_eq!(fields.differing[0].path, "/a~1b~0");
        assert_eq!(fields.differing[1].path.len(), 65);
    }

    #[test]
    fn data_without_end_is_compared_in_bounded_time() {
        let many = |count: usize| Value::from((0..count).map(|at| json!({"at": at, "x": "y"})).collect::<Vec<_>>());
        let fields = compare(&many(20_000), &many(30_000), DateOrder::Unstated);
        assert_eq!((fields.right, fields.all, fields.differing.len()), (40_000, 60_000, MOST_LISTED));
    }
}
