//! Results that clients take: some cut what is larger than a megabyte, or refuse it. What is cut here is said.

use serde_json::{Map, Value, json};

/// Bytes of the text, which the tool announces.
const LONGEST_TEXT: usize = 200_000;
/// Bytes of the structured answer.
const LONGEST_ANSWER: usize = 400_000;
/// Bytes to which a single text is cut at last.
const SHORTEST_CUT: usize = 1000;

/// The answer, cut where it is longer than clients take.
pub(super) fn bounded(mut text: String, mut answer: Value) -> (String, Value) {
    if text.len() > LONGEST_TEXT {
        cut(&mut text, LONGEST_TEXT);
    }
    let mut longest = LONGEST_ANSWER / 4;
    let mut is_cut = false;
    while answer.to_string().len() > LONGEST_ANSWER && longest >= SHORTEST_CUT {
        shorten(&mut answer, longest);
        longest /= 2;
        is_cut = true;
    }
    if is_cut && let Some(answer) = answer.as_object_mut() {
        let warning = "the answer is longer than clients take and was cut: ask about a region or fewer images at once";
        match answer.get_mut("warnings").and_then(Value::as_array_mut) {
            Some(warnings) => warnings.push(json!(warning)),
            None => drop(answer.insert("warnings".into(), json!([warning]))),
        }
    }
    (text, answer)
}

/// The account of an answer, unless it is longer than the answer may be.
pub(super) fn account(account: Map<String, Value>) -> Map<String, Value> {
    let is_small = Value::Object(account.clone()).to_string().len() <= LONGEST_ANSWER / 2;
    if is_small { account } else { Map::from_iter([("note".to_owned(), json!("the account is too long to be given"))]) }
}

/// Cuts every text that is longer, and lists of what is less than the text itself.
fn shorten(value: &mut Value, longest: usize) {
    match value {
        Value::String(text) if text.len() > longest => cut(text, longest),
        Value::Array(items) => {
            // What is no text cannot be cut; of a list that is too long, the beginning is kept.
            items.truncate(longest);
            for item in items {
                shorten(item, longest);
            }
        }
        Value::Object(members) => {
            members.remove("blocks");
            members.values_mut().for_each(|member| shorten(member, longest));
        }
        _ => {}
    }
}

fn cut(text: &mut String, longest: usize) {
    let all = text.len();
    let end = text.floor_char_boundary(longest);
    text.truncate(end);
    text.extend(["\n[cut here: ", &end.to_string(), " of ", &all.to_string(), " bytes]"]);
}

#[cfg(test)]
mod tests {
    use super::*;
    fn both(answer: Value) -> (String, Value) {
        bounded(answer.to_string(), answer)
    }

    #[test]
    fn what_is_too_long_is_cut_and_said() {
        let short = json!({"text": "short", "warnings": []});
        assert_eq!(both(short.clone()).1, short);
        let long = json!({"text": "ä".repeat(400_000), "blocks": [{"text": "x"}], "warnings": ["w"]});
        let (text, answer) = both(long);
        assert!(text.len() <= LONGEST_TEXT + 50 && text.contains(" bytes]"), "{}", text.len());
        assert!(answer.to_string().len() <= LONGEST_ANSWER);
        assert_eq!(answer["warnings"].as_array().map(Vec::len), Some(2));
        let (_, numbers) = both(json!({"data": {"numbers": (0..300_000).collect::<Vec<u32>>()}}));
        assert!(numbers.to_string().len() <= LONGEST_ANSWER, "{}", numbers.to_string().len());
        let items: Vec<Value> = (0..100).map(|index| json!({"index": index, "text": "y".repeat(20_000)})).collect();
        let (_, answer) = both(json!({"items": items}));
        assert!(answer.to_string().len() <= LONGEST_ANSWER, "{}", answer.to_string().len());
        assert_eq!(answer["items"].as_array().map(Vec::len), Some(100));
        assert!(answer["warnings"][0].as_str().is_some_and(|warning| warning.contains("was cut")));
    }
}
