//! Tools of the modern era that need something of the client: they end with a question, and are called again with the
//! answer.

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ErrorData, InputRequests, InputRequiredResult,
    InputResponses,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;

use super::fixtures::said;
use super::questions::{self, field};
use super::seal::Seal;

type Answer = Result<CallToolResponse, ErrorData>;

/// A call, with what the client has said to the questions of the one before.
pub(crate) struct Round<'a> {
    name: String,
    responses: InputResponses,
    state: Option<String>,
    able: ClientCapabilities,
    seal: &'a Seal,
}

impl<'a> Round<'a> {
    /// The round that this call of a tool is.
    pub(crate) fn of(request: &CallToolRequestParams, ctx: &RequestContext<RoleServer>, seal: &'a Seal) -> Self {
        let responses = request.input_responses.clone().unwrap_or_default();
        Self { state: request.request_state.clone(), ..Self::of_prompt(&request.name, responses, ctx, seal) }
    }

    /// The same for prompts, none of which has anything to remember.
    pub(crate) fn of_prompt(
        name: &str,
        responses: InputResponses,
        ctx: &RequestContext<RoleServer>,
        seal: &'a Seal,
    ) -> Self {
        let able = ctx.client_capabilities().unwrap_or_default();
        Self { name: name.to_owned(), responses, state: None, able, seal }
    }

    /// What this tool answers, if it is one of these.
    pub(crate) fn answer(&self) -> Option<Answer> {
        Some(match self.name.strip_prefix("test_")? {
            "streaming_elicitation" | "input_required_result_elicitation" => self.greeted(),
            "input_required_result_sampling" => self.sampled(),
            "input_required_result_list_roots" => self.rooted(),
            "input_required_result_request_state" | "input_required_result_tampered_state" => self.confirmed(),
            "input_required_result_multiple_inputs" => self.everything(),
            "input_required_result_multi_round" => self.by_steps(),
            "input_required_result_capabilities" => self.within_abilities(),
            _ => return None,
        })
    }

    /// What the user entered into this field of the form, if the form came back at all.
    pub(crate) fn entered(&self, key: &str, field: &str) -> Option<&Value> {
        let answer = self.responses.get(key)?;
        let value = &answer["content"][field];
        (answer["action"] == "accept" && !value.is_null()).then_some(value)
    }

    /// The text that the user entered.
    pub(crate) fn entered_text(&self, key: &str, field: &str) -> Option<&str> {
        self.entered(key, field)?.as_str()
    }

    fn model_said(&self, key: &str) -> Option<&str> {
        self.responses.get(key)?["content"]["text"].as_str()
    }

    fn roots(&self, key: &str) -> Option<&Vec<Value>> {
        self.responses.get(key)?["roots"].as_array()
    }

    /// What the round before left behind.
    fn remembered(&self) -> Result<Option<String>, ErrorData> {
        self.state.as_deref().map(|sealed| self.seal.open(&self.name, sealed)).transpose()
    }

    fn greeted(&self) -> Answer {
        match self.entered_text("user_name", "name") {
            Some(name) => Ok(done(&format!("Hello, {name}!"))),
            None => Ok(ask([("user_name", name_form())])?.into()),
        }
    }

    fn sampled(&self) -> Answer {
        match self.model_said("capital_question") {
            Some(words) => Ok(done(words)),
            None => Ok(ask([("capital_question", questions::sample("What is the capital of France?", 100))])?.into()),
        }
    }

    fn rooted(&self) -> Answer {
        match self.roots("client_roots") {
            Some(roots) => Ok(done(&format!("The client works in {}", Value::from(roots.clone())))),
            None => Ok(ask([("client_roots", questions::roots())])?.into()),
        }
    }

    fn confirmed(&self) -> Answer {
        if self.remembered()?.is_some() && self.entered("confirm", "ok").is_some() {
            return Ok(done("state-ok"));
        }
        let form = field("Please confirm", "ok", "boolean");
        Ok(self.remembering("asked", ask([("confirm", form)])?).into())
    }

    fn everything(&self) -> Answer {
        let said = (self.entered_text("user_name", "name"), self.model_said("greeting"), self.roots("client_roots"));
        if let (Some(_), (Some(name), Some(greeting), Some(roots))) = (self.remembered()?, said) {
            return Ok(done(&format!("{greeting} {name}, who works in {} places", roots.len())));
        }
        let questions = ask([
            ("user_name", name_form()),
            ("greeting", questions::sample("Generate a greeting", 50)),
            ("client_roots", questions::roots()),
        ])?;
        Ok(self.remembering("asked", questions).into())
    }

    fn by_steps(&self) -> Answer {
        let before = self.remembered()?;
        let first = match before.as_deref() {
            Some("begun") => self.entered_text("step1", "name"),
            Some(state) => state.strip_prefix("name "),
            None => None,
        };
        match (first, self.entered_text("step2", "color")) {
            (Some(name), Some(color)) => Ok(done(&format!("{name} likes {color}"))),
            (Some(name), None) => {
                let form = field("Step 2: What is your favorite color?", "color", "string");
                Ok(self.remembering(&format!("name {name}"), ask([("step2", form)])?).into())
            }
            (None, _) => {
                let form = field("Step 1: What is your name?", "name", "string");
                Ok(self.remembering("begun", ask([("step1", form)])?).into())
            }
        }
    }

    /// Asks nothing that the client did not say it can answer.
    fn within_abilities(&self) -> Answer {
        if self.entered("user_name", "name").is_some() || self.model_said("greeting").is_some() {
            return Ok(done("the client was asked what it can answer"));
        }
        let form = self.able.elicitation.is_some().then(|| ("user_name", name_form()));
        let sample = self.able.sampling.is_some().then(|| ("greeting", questions::sample("Generate a greeting", 50)));
        if form.is_none() && sample.is_none() {
            return Ok(done("the client can be asked nothing"));
        }
        Ok(ask(form.into_iter().chain(sample))?.into())
    }

    fn remembering(&self, state: &str, mut result: InputRequiredResult) -> InputRequiredResult {
        result.request_state = Some(self.seal.close(&self.name, state));
        result
    }
}

fn done(text: &str) -> CallToolResponse {
    said(text).into()
}

/// The question that most of these ask.
pub(crate) fn name_form() -> Value {
    field("What is your name?", "name", "string")
}

/// Ends a round with questions.
pub(crate) fn ask(asked: impl IntoIterator<Item = (&'static str, Value)>) -> Result<InputRequiredResult, ErrorData> {
    let mut requests = InputRequests::new();
    for (key, value) in asked {
        requests.insert(key.to_owned(), questions::question(value)?);
    }
    Ok(InputRequiredResult::from_input_requests(requests))
}
