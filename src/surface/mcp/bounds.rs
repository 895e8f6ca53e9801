//! Results that clients take: some cut what is larger than a megabyte, or refuse it. What is cut here is said.

use serde_json::{Value, json};

use crate::surface::calls::Answered;

/// Bytes of the text, which the tool announces.
const LONGEST_TEXT: usize = 200_000;
/// Bytes of the structured answer.
const LONGEST_ANSWER: usize = 400_000;
/// Bytes to which a single text is cut at last.
const SHORTEST_CUT: usize = 1000;

/// The answer, cut where it is longer than clients take.
pub(super) fn bounded(mut answered: Answered) -> Answered {
    if answered.text.len() > LONGEST_TEXT {
        cut(&mut answered.text, LONGEST_TEXT);
    }
    let mut longest = LONGEST_ANSWER / 4;
    let mut is_cut = false;
    while answered.answer.to_string().len() > LONGEST_ANSWER && longest >= SHORTEST_CUT {
        shorten(&mut answered.answer, longest);
        longest /= 2;
        is_cut = true;
    }
    if is_cut && let Some(answer) = answered.answer.as_object_mut() {
        let warning = "the answer is longer than clients take and was cut: ask about a region or fewer images at once";
        match answer.get_mut("warnings").and_then(Value::as_array_mut) {
            Some(warnings) => warnings.push(json!(warning)),
            None => drop(answer.insert("warnings".into(), json!([warning]))),
        }
    }
    answered
}

/// Cuts every text that is longer, and lists of what is less than the text itself.
fn shorten(value: &mut Value, longest: usize) {
    match value {
        Value::String(text) if text.len() > longest => cut(text, longest),
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, longest)),
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
    use serde_json::Map;

    fn answered(answer: Value) -> Answered {
        Answered { text: answer.to_string(), answer, account: Map::new() }
    }

    #[test]
    fn what_is_too_long_is_cut_and_said() {
        let short = json!({"text": "short", "warnings": []});
        assert_eq!(bounded(answered(short.clone())).answer, short);
        let long = json!({"text": "ä".repeat(400_000), "blocks": [{"text": "x"}], "warnings": ["w"]});
        let cut = bounded(answered(long));
        assert!(cut.text.len() <= LONGEST_TEXT + 50 && cut.text.contains(" bytes]"), "{}", cut.text.len());
        assert!(cut.answer.to_string().len() <= LONGEST_ANSWER);
        assert_eq!(cut.answer["warnings"].as_array().map(Vec::len), Some(2));
        let items: Vec<Value> = (0..100).map(|index| json!({"index": index, "text": "y".repeat(20_000)})).collect();
        let many = bounded(answered(json!({"items": items})));
        assert!(many.answer.to_string().len() <= LONGEST_ANSWER, "{}", many.answer.to_string().len());
        assert_eq!(many.answer["items"].as_array().map(Vec::len), Some(100));
        assert!(many.answer["warnings"][0].as_str().is_some_and(|warning| warning.contains("was cut")));
    }
}
