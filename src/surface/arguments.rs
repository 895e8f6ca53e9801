//! Reading a tool's arguments, in the spellings that models and programs use for them. MCP and REST share them.

use std::sync::Arc;

use serde_json::{Map, Value};
use vision_providers::price::MicroUsd;
use vision_providers::request::{CacheMode, Detail, Sampling};

use super::{conversation, values};
use crate::batch;
use crate::compare::Comparing;
use crate::failure::{Failure, Result};
use crate::gateway::Ask;
use crate::intake::fit::Region;
use crate::router::plan::Fallback;
use crate::tasks::LARGEST_SCHEMA;

/// Names that models guess for an argument, its own first.
const IMAGE: &[&str] = &["image", "image_path", "image_url", "image_source", "path", "url"];
const PROMPT: &[&str] = &["prompt", "question", "query"];
/// Characters of a name that nobody knows, in the error that says so.
const LONGEST_SHOWN: usize = 100;
const MAX_TOKENS: &[&str] = &["max_output_tokens", "max_tokens", "max_completion_tokens"];

/// Bytes of an expected answer.
const LARGEST_EXPECTED: usize = 1 << 20;
/// Bytes of what is said for all items of a batch: each gets a copy.
const LARGEST_FOR_ALL: usize = 128 << 10;

/// What `analyze_image` is asked.
///
/// # Errors
/// `INVALID_INPUT` naming the argument that cannot be understood.
pub(super) fn ask(arguments: Map<String, Value>) -> Result<Ask> {
    let mut arguments = Arguments::new(arguments);
    let ask = arguments.question()?;
    arguments.must_be_empty("image, more_images, prompt, task, schema, model, detail, region, system, max_output_tokens, temperature, top_p, seed, stop, fallback, boxes and cache")?;
    Ok(ask)
}

/// What `compare_models` is asked.
///
/// # Errors
/// As [`ask`].
pub(super) fn comparing(arguments: Map<String, Value>) -> Result<Comparing> {
    let mut arguments = Arguments::new(arguments);
    let (models, expected) = (arguments.texts(&["models"])?, arguments.text(&["expected", "expect"])?);
    if expected.as_ref().is_some_and(|text| text.len() > LARGEST_EXPECTED) {
        return Err(Failure::invalid(format!("`expected` is longer than {LARGEST_EXPECTED} bytes")));
    }
    // It is read as JSON, once for each model.
    values::check(expected.as_deref().map_or(0, |text| values::count(text.as_bytes())), "`expected`")?;
    let max_cost = arguments.dollars("max_cost_usd")?;
    let ask = arguments.question()?;
    arguments.must_be_empty(
        "image, more_images, prompt, task, models, expected, max_cost_usd, schema, detail, region, max_output_tokens and cache",
    )?;
    Ok(Comparing { ask, models, expected, max_cost })
}

/// What `analyze_batch` is asked: one question per item, with what was said for all where an item says nothing.
///
/// # Errors
/// As [`ask`], naming the item.
pub(super) fn batch(arguments: Map<String, Value>) -> Result<Vec<Ask>> {
    let mut arguments = Arguments::new(arguments);
    let wrong = || Failure::invalid("`items` must be an array of objects with an `image`, or of images");
    let items = match arguments.take(&["items"]) {
        Some((_, Value::Array(items))) => items,
        Some(_) => return Err(wrong()),
        // A list of images is a batch of the same question.
        None => arguments.texts(&["images"])?.into_iter().map(Value::String).collect(),
    };
    batch::check(items.len())?;
    let written = items.iter().filter_map(|item| item.get("schema")?.as_str());
    values::check(
        written.map(|schema| values::count(schema.as_bytes())).sum(),
        "what the items' schemas hold together",
    )?;
    // It may be large, and is the same for all.
    let schema = arguments.schema()?;
    let for_all = arguments.named;
    if for_all.values().map(size).sum::<usize>() > LARGEST_FOR_ALL {
        let message = format!("what is said for all items has more than {} KiB", LARGEST_FOR_ALL >> 10);
        return Err(Failure::invalid(message).advise("name images in `items`, and say less for all of them"));
    }
    let asks = items.into_iter().enumerate().map(|(index, item)| {
        let own = match item {
            Value::Object(own) => own,
            Value::String(image) => Map::from_iter([("image".to_owned(), Value::String(image))]),
            _ => return Err(wrong()),
        };
        // An item's own words come before those for all, whatever they are called.
        let is_said = |names: &[&str], name: &String| {
            names.contains(&name.as_str()) && names.iter().any(|name| own.contains_key(*name))
        };
        let mut item = Map::new();
        for (name, value) in &for_all {
            if !own.contains_key(name) && !is_said(PROMPT, name) && !is_said(MAX_TOKENS, name) {
                item.insert(name.clone(), value.clone());
            }
        }
        item.extend(own);
        let asked = ask(item)
            .map_err(|failure| Failure { message: format!("item {index}: {}", failure.message), ..failure })?;
        Ok(Ask { schema: asked.schema.or_else(|| schema.clone()), ..asked })
    });
    asks.collect()
}

/// About how many bytes a value has, told without writing it.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| 1 + size(item)).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| 1 + name.len() + size(value)).sum(),
        _ => 1,
    }
}

/// What `vision_chat` is asked.
///
/// # Errors
/// As [`ask`].
pub(super) fn chat(arguments: Map<String, Value>) -> Result<Ask> {
    let mut arguments = Arguments::new(arguments);
    let messages = arguments.take(&["messages"]).map(|(_, messages)| messages).unwrap_or_default();
    let heard = conversation::read(messages)?;
    let ask = Ask {
        conversation: heard.turns,
        system: heard.system,
        schema: arguments.schema()?,
        model: arguments.text(&["model"])?,
        fallback: arguments.fallback()?,
        detail: arguments.detail()?.unwrap_or(heard.detail),
        sampling: arguments.sampling()?,
        cache: arguments.cache()?,
        notes: heard.notes,
        ..Ask::default()
    };
    arguments.must_be_empty(
        "messages, model, temperature, max_tokens, top_p, seed, stop, schema, detail, fallback and cache",
    )?;
    Ok(ask)
}

/// Arguments that were not read yet.
struct Arguments {
    named: Map<String, Value>,
    /// What was said twice, and not the same.
    conflict: Option<String>,
}

impl Arguments {
    fn new(named: Map<String, Value>) -> Self {
        Self { named, conflict: None }
    }

    /// A question about images.
    fn question(&mut self) -> Result<Ask> {
        Ok(Ask {
            images: self.images()?,
            prompt: self.text(PROMPT)?,
            task: self.text(&["task"])?,
            schema: self.schema()?,
            model: self.text(&["model"])?,
            fallback: self.fallback()?,
            boxes: self.flag("boxes")?,
            detail: self.detail()?.unwrap_or_default(),
            region: self.region()?,
            system: self.text(&["system"])?,
            sampling: self.sampling()?,
            cache: self.cache()?,
            ..Ask::default()
        })
    }

    /// The images, under whatever names they come. One that a chat program uploaded comes as an object and takes the place
    /// of whatever its model wrote for it.
    fn images(&mut self) -> Result<Arc<[String]>> {
        let mut first = Vec::new();
        for name in IMAGE {
            for image in self.texts(&[name])? {
                // Who is unsure of the name writes the same under several.
                if !first.contains(&image) {
                    first.push(image);
                }
            }
        }
        let uploaded = match self.take(&["file"]) {
            None => None,
            Some((_, Value::String(text))) => Some(text),
            Some((_, file)) => {
                let wrong = || Failure::invalid("`file` must be an object with a `download_url`");
                Some(file["download_url"].as_str().ok_or_else(wrong)?.to_owned())
            }
        };
        let first = uploaded.map_or(first, |uploaded| vec![uploaded]);
        let (images, more) = (self.texts(&["images"])?, self.texts(&["more_images"])?);
        Ok(first.into_iter().chain(images).chain(more).collect())
    }

    fn fallback(&mut self) -> Result<Fallback> {
        let choice = self.choice("fallback", &[("auto", Fallback::Auto), ("none", Fallback::Never)])?;
        Ok(choice.unwrap_or_default())
    }

    fn detail(&mut self) -> Result<Option<Detail>> {
        self.choice("detail", &[("auto", Detail::Auto), ("low", Detail::Low), ("high", Detail::High)])
    }

    fn cache(&mut self) -> Result<Option<CacheMode>> {
        let options = [("use", CacheMode::Use), ("refresh", CacheMode::Refresh), ("bypass", CacheMode::Bypass)];
        self.choice("cache", &options)
    }

    fn sampling(&mut self) -> Result<Sampling> {
        Ok(Sampling {
            temperature: self.number("temperature")?,
            top_p: self.number("top_p")?,
            seed: self.seed()?,
            max_output_tokens: self.count(MAX_TOKENS)?,
            stop: self.texts(&["stop"])?,
            ..Sampling::default()
        })
    }

    fn number(&mut self, name: &str) -> Result<Option<f64>> {
        let Some((name, value)) = self.take(&[name]) else { return Ok(None) };
        let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| Failure::invalid(format!("`{name}` must be a number")))
    }

    fn dollars(&mut self, name: &str) -> Result<Option<MicroUsd>> {
        let Some(dollars) = self.number(name)? else { return Ok(None) };
        let wrong = || Failure::invalid(format!("`{name}` must be an amount of US dollars, 0 or more"));
        MicroUsd::from_dollars(dollars).map(Some).ok_or_else(wrong)
    }

    fn seed(&mut self) -> Result<Option<i64>> {
        let Some((_, value)) = self.take(&["seed", "random_seed"]) else { return Ok(None) };
        let seed = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
        seed.map(Some).ok_or_else(|| Failure::invalid("`seed` must be a whole number"))
    }

    /// Takes the first of these names that says something. Two that say different things are reported at the end.
    fn take(&mut self, names: &[&str]) -> Option<(String, Value)> {
        let taken = names.iter().filter_map(|name| Some(((*name).to_owned(), self.named.remove(*name)?)));
        let said = |value: &Value| !value.is_null() && value.as_str() != Some("");
        let mut taken = taken.filter(|(_, value)| said(value)).collect::<Vec<_>>().into_iter();
        let first = taken.next()?;
        if let Some((other, _)) = taken.find(|(_, value)| *value != first.1) {
            self.conflict.get_or_insert(format!("`{}` and `{other}` say different things", first.0));
        }
        Some(first)
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
                // Moved and not copied: they may be images.
                let text = |item| if let Value::String(text) = item { Some(text) } else { None };
                items.into_iter().map(|item| text(item).ok_or_else(|| wrong(&name))).collect()
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
                if text.len() > LARGEST_SCHEMA {
                    return Err(Failure::invalid(format!("the schema is larger than {LARGEST_SCHEMA} bytes")));
                }
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
    fn must_be_empty(&self, known: &str) -> Result<()> {
        if let Some(conflict) = &self.conflict {
            return Err(Failure::invalid(conflict.clone()).advise("give one of them"));
        }
        let Some(name) = self.named.keys().next() else { return Ok(()) };
        let name: String = name.chars().take(LONGEST_SHOWN).collect();
        Err(Failure::invalid(format!("there is no argument called `{name}`"))
            .advise(format!("the arguments are {known}")))
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
            assert_eq!((&*ask.images, ask.prompt.as_deref()), (&["/a.png".to_owned()][..], Some("what?")));
        }
        let ask = read(json!({"images": ["/a.png", "/b.png"]})).expect("read");
        assert_eq!(*ask.images, ["/a.png", "/b.png"]);
        let ask = read(json!({"image": "/a.png", "more_images": "/b.png", "prompt": "", "model": null})).expect("read");
        assert_eq!((ask.images.len(), ask.prompt, ask.model), (2, None, None));
        let ask = read(json!({"image": "/a.png", "image_url": "/b.png", "path": "/a.png", "images": ["/c.png"]}));
        assert_eq!(*ask.expect("read").images, ["/a.png", "/b.png", "/c.png"], "none is lost, and none comes twice");
    }

    #[test]
    fn images_are_moved_and_not_copied() {
        let image = format!("data:image/png;base64,{}", "A".repeat(1000));
        for name in ["image", "images", "more_images", "path"] {
            for is_listed in [false, true] {
                let image = image.clone();
                let there = image.as_ptr();
                let value = if is_listed { Value::Array(vec![Value::String(image)]) } else { Value::String(image) };
                let ask = ask(Map::from_iter([(name.to_owned(), value)])).expect("read");
                assert_eq!(ask.images[0].as_ptr(), there, "{name}");
                assert_eq!(ask.clone().images[0].as_ptr(), there, "{name}: clones share it");
            }
        }
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
        check(json!({"image": 7}), "`image` must be an array of strings");
        check(json!({"image": "a", "prompt": "x", "question": "y"}), "`prompt` and `question` say different things");
        check(json!({"image": "a", "imgae": "b"}), "no argument called `imgae`");
        check(json!({"image": "a", "region": [0, 0, 1]}), "`region` must be four numbers");
        check(json!({"image": "a", "region": [0.5, 0, 0.2, 1]}), "reading `region`");
        check(json!({"image": "a", "detail": "ultra"}), "`detail` must be one of auto, low, high");
        check(json!({"image": "a", "max_output_tokens": -1}), "above 0");
        check(json!({"image": "a", "schema": "{"}), "`schema` must be a JSON Schema object");
        check(json!({"image": "a", "more_images": [1]}), "`more_images` must be an array of strings");
    }
}
