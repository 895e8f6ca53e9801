//! The prompts of the suite: of every kind of content, and one that asks back.

use rmcp::model::{
    CompletionInfo, ContentBlock, ErrorData, GetPromptResponse, GetPromptResult, JsonObject, Prompt, PromptArgument,
    PromptMessage, Role,
};

use super::content;
use super::fixtures::unknown;
use super::questions::field;
use super::rounds::{Round, ask};

/// The prompts, with their arguments, all of which are needed.
pub(crate) fn all() -> Vec<Prompt> {
    let prompt = |name: &str, words: &str, arguments: &[&str]| {
        let arguments = arguments.iter().map(|name| PromptArgument::new(*name).with_required(true)).collect();
        Prompt::new(name, Some(words), Some(arguments))
    };
    vec![
        prompt("test_simple_prompt", "A prompt that is always the same", &[]),
        prompt("test_prompt_with_arguments", "A prompt with two arguments in it", &["arg1", "arg2"]),
        prompt("test_prompt_with_embedded_resource", "A prompt with a resource in it", &["resourceUri"]),
        prompt("test_prompt_with_image", "A prompt with a picture in it", &[]),
        prompt("test_input_required_result_prompt", "A prompt that asks back", &[]),
    ]
}

/// A prompt, filled in.
pub(crate) fn get(name: &str, arguments: &JsonObject, round: &Round<'_>) -> Result<GetPromptResponse, ErrorData> {
    let argument = |name: &str| {
        let given = arguments.get(name).and_then(|value| value.as_str());
        given.ok_or_else(|| ErrorData::invalid_params(format!("the argument {name} is missing"), None))
    };
    let text = |words: String| vec![ContentBlock::text(words)];
    let blocks = match name {
        "test_simple_prompt" => text("This is a simple prompt for testing.".to_owned()),
        "test_prompt_with_arguments" => {
            text(format!("Prompt with arguments: arg1='{}', arg2='{}'", argument("arg1")?, argument("arg2")?))
        }
        "test_prompt_with_embedded_resource" => vec![
            content::embedded(argument("resourceUri")?, "text/plain", "Embedded resource content for testing."),
            ContentBlock::text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image" => {
            vec![content::image(), ContentBlock::text("Please analyze the image above.")]
        }
        "test_input_required_result_prompt" => {
            let Some(context) = round.entered_text("user_context", "context") else {
                let form = field("What context should the prompt use?", "context", "string");
                return Ok(ask([("user_context", form)])?.into());
            };
            text(format!("Use this context: {context}"))
        }
        _ => return Err(unknown("prompt", name)),
    };
    let messages = blocks.into_iter().map(|block| PromptMessage::new(Role::User, block)).collect();
    Ok(GetPromptResult::new(messages).into())
}

/// What an argument may be that begins like this.
pub(crate) fn completions(typed: &str) -> CompletionInfo {
    let words = ["paris", "park", "party"].into_iter().filter(|word| word.starts_with(typed));
    CompletionInfo::new(words.map(str::to_owned).collect()).unwrap_or_default()
}
