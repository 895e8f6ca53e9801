//! The description of the HTTP interface, held to what is really taken and said: every answer that any test gets goes
//! through here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use vision_providers::testkit::{Play, Upstream};
use visiongate::failure::Code;

use super::client::{Answer, data_uri, example_bytes, spoken};
use super::http::{Server, locally};
use super::rest::{config, serving};
use super::{described, root};

/// What the program says of itself.
pub(crate) struct Description {
    document: Value,
    validators: Mutex<BTreeMap<String, Arc<Validator>>>,
}

/// It is the same for every server.
static DESCRIPTION: OnceCell<Description> = OnceCell::const_new();

impl Description {
    pub(crate) async fn of(server: &Server) -> &'static Self {
        let read = async {
            let (status, text) = server.get("/openapi.json").await;
            assert_eq!(status, 200);
            Self { document: serde_json::from_str(&text).expect("JSON"), validators: Mutex::default() }
        };
        DESCRIPTION.get_or_init(async || read.await).await
    }

    /// What is said of a request such as `POST /v1/analyze`, if anything is.
    fn operation(&self, line: &str) -> Option<&Value> {
        let (method, path) = line.split_once(' ').expect("a method and a path");
        let is_meant = |described: &str| match described.split_once('{') {
            Some((head, _)) => path.len() > head.len() && path.starts_with(head),
            None => described == path,
        };
        let paths = self.document["paths"].as_object().expect("paths");
        paths.iter().find(|(described, _)| is_meant(described))?.1.get(method.to_lowercase())
    }

    /// Holds an answer to what is said of it. Where nothing is, it can only be refused.
    pub(crate) fn check(&self, line: &str, answer: &Answer) {
        let Some(operation) = self.operation(line) else {
            // What people see in a browser is described nowhere.
            let is_page = line.ends_with(" /") || line.contains(" /page/");
            let is_elsewhere = is_page || ["/mcp", "OPTIONS"].iter().any(|other| line.contains(other));
            return assert!(is_elsewhere || answer.status >= 400, "{line} is not described: {answer:?}");
        };
        if line == "POST /v1/models" || answer.header("access-control-allow-methods").is_some() {
            return;
        }
        let response = &operation["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{line}: {} is not described: {}", answer.status, answer.text());
        let kind = answer.header("content-type").expect("a content type");
        let content = response["content"].as_object().expect("content");
        let plain = |kind: &str| kind.split(';').next().unwrap_or_default().to_owned();
        let described = content.iter().find(|(described, _)| plain(described) == plain(kind));
        let schema = &described.unwrap_or_else(|| panic!("{line}: {kind} is not described")).1["schema"];
        if plain(kind) == "application/json" {
            self.holds(schema, &answer.json()).unwrap_or_else(|wrong| panic!("{line}: {wrong}"));
        }
        if plain(kind) == "text/event-stream" {
            answer.events().iter().for_each(|(name, data)| self.check_event(schema, name, data));
        }
    }

    /// Each event is one of those of its route.
    fn check_event(&self, schema: &Value, name: &str, data: &Value) {
        let described = schema["anyOf"].as_array().expect("events").iter().map(|event| &event["properties"]);
        let meant = described.filter(|event| event["event"]["enum"][0].as_str().unwrap_or_default() == name);
        let outcomes = meant.map(|event| match &event["data"]["contentSchema"] {
            Value::Null if event["data"]["enum"][0] == *data => Ok(()),
            Value::Null => Err("another word".to_owned()),
            schema => self.holds(schema, data),
        });
        let outcomes: Vec<_> = outcomes.collect();
        assert!(outcomes.iter().any(Result::is_ok), "{name}: {outcomes:?}");
    }

    /// Whether a value is as a schema of the description says.
    fn holds(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = validators.entry(schema.to_string()).or_insert_with(|| {
            let mut whole = schema.clone();
            whole["components"] = self.document["components"].clone();
            Arc::new(jsonschema::validator_for(&whole).expect("a JSON Schema"))
        });
        let validator = Arc::clone(validator);
        drop(validators);
        let wrong: Vec<String> =
            validator.iter_errors(value).map(|error| format!("{} at {}", error, error.instance_path())).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{}: {value:.2000}", wrong.join("; "))) }
    }

    fn holds_request(&self, line: &str, value: &Value) -> Result<(), String> {
        let operation = self.operation(line).expect("a described route");
        self.holds(&operation["requestBody"]["content"]["application/json"]["schema"], value)
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

#[tokio::test]
async fn every_route_is_described_and_so_is_every_code() {
    locally(async {
        let server = Server::start(&[]).await;
        let description = Description::of(&server).await;
        assert_eq!(description.document["openapi"], "3.1.0");
        let described: BTreeSet<&str> =
            description.document["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
        let mut offered = BTreeSet::new();
        for folder in ["src/surface/http", "src/surface/http/openai", "src/surface/http/openapi"] {
            for file in std::fs::read_dir(root().join(folder)).expect("a folder").flatten() {
                let text = std::fs::read_to_string(file.path()).unwrap_or_default();
                let routes = text.split("route(\"").skip(1).filter_map(|rest| rest.split('"').next());
                offered.extend(routes.map(|route| route.replace("{*", "{")));
                offered.extend(text.contains("route_service(\"/mcp\"").then(|| "/mcp".to_owned()));
            }
        }
        assert!(offered.remove("/mcp") && described.len() > 8, "{offered:?}");
        assert_eq!(offered.iter().map(String::as_str).collect::<BTreeSet<_>>(), described);
        assert!(description.document["info"]["description"].as_str().is_some_and(|words| words.contains("`/mcp`")));
        let responses = description.document["paths"].to_string();
        // Nobody is there any more to be told that a call was cancelled.
        for code in Code::ALL.into_iter().filter(|code| *code != Code::Cancelled) {
            let said = format!("\"{}\":{{\"description\":\"", code.status());
            let described = responses.split(&said).skip(1).filter_map(|rest| rest.split('"').next());
            assert!(
                described.into_iter().any(|words| words.contains(&format!("`{}`", code.name()))),
                "{}",
                code.name()
            );
        }
    })
    .await;
}

#[tokio::test]
async fn every_type_that_is_referred_to_is_there_and_sound() {
    locally(async {
        let server = Server::start(&[]).await;
        let description = Description::of(&server).await;
        let text = description.document.to_string();
        let schemas = description.document["components"]["schemas"].as_object().expect("schemas");
        for name in text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(schemas.contains_key(name), "{name} is not there");
        }
        for name in schemas.keys() {
            assert!(description.holds(&reference(name), &json!(7)).is_err(), "{name} takes anything");
        }
        assert_eq!(server.request("GET /openapi.json", "", b"").await.header("content-type"), Some("application/json"));
    })
    .await;
}

#[tokio::test]
async fn what_is_described_can_be_asked_and_what_is_not_is_refused() {
    locally(async {
        let upstream = Upstream::start([Play::decide(|received, _| {
            let is_stream = received.body["stream"] == true;
            if is_stream { Play::events(spoken(&["Seen."])) } else { Play::json(200, &described("Seen.", "25.41")) }
        })])
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        let server = serving(folder.path(), &config(&upstream, &upstream, "")).await;
        let description = Description::of(&server).await;
        let (image, other) = (data_uri("qr.png"), data_uri("receipt.png"));
        let message = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
        let parts = json!([{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": image, "detail": "low"}}]);
        for (path, body) in [
            ("/v1/analyze", json!({"image": image})),
            ("/v1/analyze", json!({"image": image, "more_images": [other], "prompt": "What?", "task": "ask", "model": "a",
                "fallback": "none", "boxes": null, "detail": "high", "region": [0, 0, 0.5, 1], "system": "Be brief.",
                "temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["END"], "max_output_tokens": 50, "cache": "bypass", "stream": false})),
            ("/v1/analyze", json!({"image": image, "prompt": "What?", "stream": true})),
            ("/v1/compare", json!({"image": image, "models": ["a", "b"], "expected": "x", "prompt": "What?", "cache": "refresh", "max_cost_usd": null, "max_output_tokens": 50})),
            ("/v1/compare", json!({"image": image, "models": ["a", "b"], "expected": "x", "prompt": "What?", "stream": true})),
            ("/v1/batch", json!({"items": [image, {"image": other, "prompt": "Own?"}], "prompt": "What?", "model": "b"})),
            ("/v1/batch", json!({"items": [image], "stream": true})),
            ("/v1/chat/completions", message(parts)),
            ("/v1/chat/completions", message(json!("Hello?"))),
            ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "Hello?"}], "model": "a", "stream": true,
                "stream_options": {"include_usage": true}, "stop": "END", "reasoning_effort": "low", "user": "passed over"})),
        ] {
            let line = format!("POST {path}");
            description.holds_request(&line, &body).unwrap_or_else(|wrong| panic!("{line}: {wrong}"));
            let answer = server.post_json(path, "", &body).await;
            assert_eq!(answer.status, 200, "{line} {body:.200}: {}", answer.text());
        }
        for (path, body) in [
            ("/v1/analyze", json!({"image": image, "imgae": image})),
            ("/v1/analyze", json!({"image": image, "detail": "ultra"})),
            ("/v1/analyze", json!({"image": image, "region": [0, 0, 1]})),
            ("/v1/analyze", json!({"image": image, "temperature": 3})),
            ("/v1/analyze", json!({"image": 5})),
            ("/v1/compare", json!({"image": image, "models": ["a", "a"]})),
            ("/v1/compare", json!({"image": image, "models": ["a"]})),
            ("/v1/compare", json!({"image": image, "models": ["a", "b"], "max_cost_usd": -1})),
            ("/v1/batch", json!({"items": [{"prompt": "x"}]})),
            ("/v1/batch", json!({"items": [5]})),
            ("/v1/chat/completions", json!({"model": "a"})),
            ("/v1/chat/completions", message(json!([{"type": "input_audio"}]))),
            ("/v1/chat/completions", json!({"messages": [{"role": "tool", "content": "x"}]})),
        ] {
            let line = format!("POST {path}");
            assert!(description.holds_request(&line, &body).is_err(), "{line} {body:.200}");
            let answer = server.post_json(path, "", &body).await;
            let failed = answer.status == 400 || answer.json()["failed"] == 1;
            assert!(failed, "{line} {body:.200}: {}", answer.text());
        }
        let qr = example_bytes("qr.png");
        assert_eq!(server.post_form("/v1/images", "", &[("image", Some("a.png"), &qr)]).await.status, 201);
        for path in ["/healthz", "/readyz", "/metrics", "/v1/status", "/v1/models", "/v1/models/a/m"] {
            assert_eq!(server.request(&format!("GET {path}"), "", b"").await.status, 200, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_examples_of_the_description_are_answered() {
    locally(async {
        let server = Server::start(&[("VISIONGATE_DEFAULT", "local".into())]).await;
        let description = Description::of(&server).await;
        let schemas = &description.document["components"]["schemas"];
        let image = &schemas["AnalyzeRequest"]["properties"]["image"]["examples"][0];
        let answer = server.post_json("/v1/analyze", "", &json!({"image": image})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let messages = &schemas["ChatRequest"]["properties"]["messages"]["examples"][0];
        let chat = json!({"messages": messages});
        description.holds_request("POST /v1/chat/completions", &chat).expect("it is a request");
        assert_eq!(
            server.post_json("/v1/chat/completions", "", &chat).await.json()["error"]["code"],
            "capability_missing"
        );
        let items = &schemas["BatchRequest"]["properties"]["items"]["examples"][0];
        assert_eq!(server.post_json("/v1/batch", "", &json!({"items": items})).await.json()["succeeded"], 1);
    })
    .await;
}
