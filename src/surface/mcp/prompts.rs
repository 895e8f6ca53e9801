//! Prompts: what people pick from a menu, and what their assistant is then asked to do with the tools.

use rmcp::model::{ErrorData, GetPromptResult, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::{Map, Value};

use crate::gateway::Gateway;
use crate::surface::calls::{ANALYZE, COMPARE};

/// A built-in prompt.
struct Row {
    name: &'static str,
    title: &'static str,
    words: &'static str,
}

const DESCRIBE: &str = "describe";
const EXTRACT_TEXT: &str = "extract_text";
const COMPARE_IMAGES: &str = "compare_images";
const COMPARE_MODELS: &str = "compare_models";

const BUILT_IN: [Row; 4] = [
    Row { name: DESCRIBE, title: "Describe an image", words: "What an image shows, and the text in it" },
    Row { name: EXTRACT_TEXT, title: "Read an image", words: "All text of an image, exactly as written" },
    Row { name: COMPARE_IMAGES, title: "Compare two images", words: "What differs between two images" },
    Row { name: COMPARE_MODELS, title: "Compare vision models", words: "The same question to several models" },
];

/// Every prompt: the built-in ones, and one for each task of the operator's.
pub(super) fn all(gateway: &Gateway) -> Vec<Prompt> {
    let built_in = BUILT_IN
        .iter()
        .map(|row| Prompt::new(row.name, Some(row.words), Some(arguments(row.name))).with_title(row.title));
    let presets = gateway.presets.iter().map(|(name, preset)| {
        let words: String = preset.prompt.chars().take(120).collect();
        Prompt::new(name.as_str(), Some(words), Some(arguments(name))).with_title(title(name))
    });
    built_in.chain(presets).collect()
}

fn title(task: &str) -> String {
    let mut words = task.replace('_', " ");
    if let Some(first) = words.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// The arguments of a prompt, as clients show them.
fn arguments(prompt: &str) -> Vec<PromptArgument> {
    let required = |name: &str, words: &str| PromptArgument::new(name).with_description(words).with_required(true);
    let optional = |name: &str, words: &str| PromptArgument::new(name).with_description(words).with_required(false);
    let image = required("image", "path, https URL or upload handle");
    match prompt {
        COMPARE_IMAGES => vec![
            image,
            required("other_image", "the image to compare it with"),
            optional("question", "what to look for"),
            optional("model", "who is asked"),
        ],
        COMPARE_MODELS => vec![
            image,
            required("models", "two or more models, separated by commas"),
            optional("question", "what to ask; a description when absent"),
            optional("task", "the task, where it is not a question"),
        ],
        _ => vec![image, optional("model", "who is asked")],
    }
}

/// Whether an argument of a prompt names a model or a task, of which there is a list.
pub(super) fn is_argument(gateway: &Gateway, prompt: &str, argument: &str) -> bool {
    all(gateway).iter().any(|it| it.name == prompt) && arguments(prompt).iter().any(|it| it.name == argument)
}

/// What the assistant is asked to do.
///
/// # Errors
/// Invalid parameters for a prompt that does not exist and for arguments that it needs and were not given.
pub(super) fn get(
    gateway: &Gateway,
    name: &str,
    given: Option<&Map<String, Value>>,
) -> Result<GetPromptResult, ErrorData> {
    let prompt = all(gateway).into_iter().find(|prompt| prompt.name == name);
    let prompt = prompt
        .ok_or_else(|| invalid(format!("there is no prompt called {}", name.chars().take(100).collect::<String>())))?;
    let text = |argument: &str| {
        given.and_then(|given| given.get(argument)?.as_str()).map(str::trim).filter(|text| !text.is_empty())
    };
    for argument in arguments(name).iter().filter(|argument| argument.required == Some(true)) {
        if text(&argument.name).is_none() {
            return Err(invalid(format!("the prompt {name} needs the argument {}", argument.name)));
        }
    }
    let quoted = |argument: &str| Value::from(text(argument).unwrap_or_default()).to_string();
    let and = |argument: &str, words: &str| {
        text(argument).map_or_else(String::new, |_| format!(", {words} {}", quoted(argument)))
    };
    let (image, model) = (quoted("image"), and("model", "model"));
    let asked = match name {
        DESCRIBE => format!("Call {ANALYZE} with image {image}, task \"describe\"{model}, and tell me what it shows."),
        EXTRACT_TEXT => {
            format!(
                "Call {ANALYZE} with image {image}, task \"ocr\"{model}, and give me the text exactly as it was read."
            )
        }
        COMPARE_IMAGES => {
            let other = quoted("other_image");
            let question = text("question").unwrap_or("What differs between the two images?");
            let question = Value::from(question);
            format!(
                "Call {ANALYZE} with image {image}, more_images [{other}], prompt {question}{model}, and tell me the answer."
            )
        }
        COMPARE_MODELS => {
            let models = text("models").unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
            let models = models.collect::<Value>();
            let (question, task) = (and("question", "prompt"), and("task", "task"));
            format!(
                "Call {COMPARE} with image {image}, models {models}{question}{task}, and tell me how the answers differ and which I should trust."
            )
        }
        task => format!("Call {ANALYZE} with image {image}, task \"{task}\"{model}, and show me the result."),
    };
    let message = PromptMessage::new_text(Role::User, asked);
    let result = GetPromptResult::new(vec![message]);
    Ok(match prompt.description {
        Some(words) => result.with_description(words),
        None => result,
    })
}

fn invalid(message: String) -> ErrorData {
    ErrorData::invalid_params(message, None)
}
