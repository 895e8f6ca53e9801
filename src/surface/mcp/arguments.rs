//! Reading a tool's arguments, in the spellings that models use for them.

use std::sync::Arc;

use serde_json::{Map, Value};
use vision_providers::request::{CacheMode, Detail, Sampling};

use crate::failure::{Failure, Result};
use crate::gateway::Ask;
use crate::intake::fit::Region;
use crate::router::plan::Fallback;

/// Names that models guess for an argument, its own first.
const IMAGE: &[&str] = &["image", "image_path", "image_url", "image_source", "path", "url", "file"];
const MORE: &[&str] = &["more_images", "images"];
const PROMPT: &[&str] = &["prompt", "question", "query"];
const MAX_TOKENS: &[&str] = &["max_output_tokens", "max_tokens"];

/// What `analyze_image` is asked.
///
/// # Errors
/// `INVALID_INPUT` naming the argument that cannot be understood.
pub(super) fn ask(arguments: Map<String, Value>) -> Result<Ask> {
    let mut arguments = Arguments(arguments);
    let mut images: Vec<String> = arguments.text(IMAGE)?.into_iter().collect();
    images.extend(arguments.texts(MORE)?);
    let ask = Ask {
        images,
        prompt: arguments.text(PROMPT)?,
        task: arguments.text(&["task"])?,
        schema: arguments.schema()?,
        model: arguments.text(&["model"])?,
        fallback: arguments
            .choice("fallback", &[("auto", Fallback::Auto), ("none", Fallback::Never)])?
            .unwrap_or_default(),
        boxes: arguments.flag("boxes")?,
        detail: arguments
            .choice("detail", &[("auto", Detail::Auto), ("low", Detail::Low), ("high", Detail::High)])?
            .unwrap_or_default(),
        region: arguments.region()?,
        system: arguments.text(&["system"])?,
        sampling: Sampling { max_output_tokens: arguments.count(MAX_TOKENS)?, ..Sampling::default() },
        cache: arguments.choice(
            "cache",
            &[("use", CacheMode::Use), ("refresh", CacheMode::Refresh), ("bypass", CacheMode::Bypass)],
        )?,
    };
    arguments.must_be_empty()?;
    Ok(ask)
}

/// Arguments that were not read yet.
struct Arguments(Map<String, Value>);

impl Arguments {
    /// Takes the first of these names that says something.
    fn take(&mut self, names: &[&str]) -> Option<(String, Value)> {
        let taken = names.iter().filter_map(|name| Some(((*name).to_owned(), self.0.remove(*name)?)));
        let said = |value: &Value| !value.is_null() && value.as_str() != Some("");
        // All spellings are taken, so that a second one is not reported as unknown.
        taken.filter(|(_, value)| said(value)).collect::<Vec<_>>().into_iter().next()
    }

    fn text(&mut self, names: &[&str]) -> Result<Option<String>> {
        match self.take(names) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text)),
            Some((name, _)) => Err(Failure::invalid(format!("`{name}` must be a string"))),
        }
    }

    fn texts(&mut self, names: &[&str]) -> Result<Vec<String>> {
        let wrong = |name: &str| Failure::invalid(format!("`{name}` must be an array of strings"));
        match self.take(names) {
            None => Ok(Vec::new()),
            Some((_, Value::String(text))) => Ok(vec![text]),
            Some((name, Value::Array(items))) => {
                items.into_iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong(&name))).collect()
            }
            Some((name, _)) => Err(wrong(&name)),
        }
    }

    fn choice<T: Copy>(&mut self, name: &str, options: &[(&str, T)]) -> Result<Option<T>> {
        let Some(text) = self.text(&[name])? else { return Ok(None) };
        let found = options.iter().find(|(option, _)| option.eq_ignore_ascii_case(&text));
        let names: Vec<&str> = options.iter().map(|(option, _)| *option).collect();
        let found = found.ok_or_else(|| Failure::invalid(format!("`{name}` must be one of {}", names.join(", "))))?;
        Ok(Some(found.1))
    }

    fn flag(&mut self, name: &str) -> Result<bool> {
        match self.take(&[name]) {
            None => Ok(false),
            Some((_, Value::Bool(flag))) => Ok(flag),
            Some(_) => Err(Failure::invalid(format!("`{name}` must be true or false"))),
        }
    }

    fn count(&mut self, names: &[&str]) -> Result<Option<u32>> {
        let Some((name, value)) = self.take(names) else { return Ok(None) };
        let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
        let number = number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
        number.map(Some).ok_or_else(|| Failure::invalid(format!("`{name}` must be a whole number above 0")))
    }

    fn schema(&mut self) -> Result<Option<Arc<Value>>> {
        let wrong = || Failure::invalid("`schema` must be a JSON Schema object");
        match self.take(&["schema"]) {
            None => Ok(None),
            // Some clients can only pass objects as text.
            Some((_, Value::String(text))) => {
                serde_json::from_str(&text).map(|schema| Some(Arc::new(schema))).map_err(|_| wrong())
            }
            Some((_, schema @ Value::Object(_))) => Ok(Some(Arc::new(schema))),
            Some(_) => Err(wrong()),
        }
    }

    fn region(&mut self) -> Result<Option<Region>> {
        let Some((_, value)) = self.take(&["region"]) else { return Ok(None) };
        let numbers: Option<Vec<f64>> = value.as_array().and_then(|items| items.iter().map(Value::as_f64).collect());
        let edges = numbers.and_then(|numbers| <[f64; 4]>::try_from(numbers).ok());
        let edges = edges.ok_or_else(|| Failure::invalid("`region` must be four numbers: x0, y0, x1, y1"))?;
        Region::new(edges).map(Some)
    }

    /// An argument that nobody reads would be dropped in silence, and the caller would believe it had worked.
    fn must_be_empty(&self) -> Result<()> {
        let Some(name) = self.0.keys().next() else { return Ok(()) };
        Err(Failure::invalid(format!("there is no argument called `{name}`"))
            .advise("the arguments are image, more_images, prompt, task, schema, model, detail, region, max_output_tokens, fallback, boxes and cache"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(arguments: Value) -> Result<Ask, String> {
        let Value::Object(map) = arguments else { return Err("not an object".into()) };
        ask(map).map_err(|failure| failure.message)
    }

    #[test]
    fn names_that_models_guess_are_understood() {
        for (image, prompt) in [
            ("image", "prompt"),
            ("image_path", "question"),
            ("image_url", "query"),
            ("path", "prompt"),
            ("url", "query"),
        ] {
            let ask = read(json!({image: "/a.png", prompt: "what?"})).expect("read");
            assert_eq!((ask.images, ask.prompt.as_deref()), (vec!["/a.png".to_owned()], Some("what?")));
        }
        let ask = read(json!({"images": ["/a.png", "/b.png"]})).expect("read");
        assert_eq!(ask.images, ["/a.png", "/b.png"]);
        let ask = read(json!({"image": "/a.png", "more_images": "/b.png", "prompt": "", "model": null})).expect("read");
        assert_eq!((ask.images.len(), ask.prompt, ask.model), (2, None, None));
    }

    #[test]
    fn values_are_read_in_the_forms_that_clients_send() {
        let schema = json!({"type": "object"});
        let ask = read(json!({"image": "a", "schema": schema.to_string(), "max_output_tokens": "200", "detail": "LOW",
            "cache": "refresh", "region": [0, 0, 0.5, 1]}))
        .expect("read");
        assert_eq!(ask.schema.as_deref(), Some(&schema));
        assert_eq!(ask.sampling.max_output_tokens, Some(200));
        assert_eq!((ask.detail, ask.cache), (Detail::Low, Some(CacheMode::Refresh)));
        assert!(ask.region.is_some());
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let check = |arguments: Value, expected: &str| {
            let message = read(arguments).expect_err(expected);
            assert!(message.contains(expected), "{message}");
        };
        check(json!({"image": 7}), "`image` must be a string");
        check(json!({"image": "a", "imgae": "b"}), "no argument called `imgae`");
        check(json!({"image": "a", "region": [0, 0, 1]}), "`region` must be four numbers");
        check(json!({"image": "a", "region": [0.5, 0, 0.2, 1]}), "reading `region`");
        check(json!({"image": "a", "detail": "ultra"}), "`detail` must be one of auto, low, high");
        check(json!({"image": "a", "max_output_tokens": -1}), "above 0");
        check(json!({"image": "a", "schema": "{"}), "`schema` must be a JSON Schema object");
        check(json!({"image": "a", "more_images": [1]}), "`more_images` must be an array of strings");
    }
}
