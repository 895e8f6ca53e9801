//! The gateway in front of a scripted Mistral: one true answer, or one honest error.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;
use vision_providers::request::CacheMode;
use vision_providers::testkit::{Play, Upstream};
use visiongate::failure::Failure;
use visiongate::gateway::{Ask, Asker, Gateway};
use visiongate::intake::Door;
use visiongate::reply::Reply;
use visiongate::surface::answer;

use super::{PATIENCE, completion, described, example, gateway, pixtral_at};

fn about(image: &str) -> Ask {
    Ask { images: vec![example(image)].into(), ..Ask::default() }
}

fn asked(prompt: &str) -> Ask {
    Ask { prompt: Some(prompt.into()), ..about("receipt.png") }
}

async fn ask(gateway: &Gateway, ask: &Ask) -> Result<Reply, Failure> {
    gateway.ask(ask, &Asker::local(Door::CommandLine)).await
}

async fn behind(plays: impl IntoIterator<Item = Play>, more: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start(plays).await;
    (gateway(&format!("{}{more}", pixtral_at(&upstream.url("/v1")))), upstream)
}

#[tokio::test]
async fn one_request_yields_description_and_text_with_usage_and_cost() {
    let (gateway, upstream) = behind([Play::json(200, &described("A till receipt.", "TOTAL 25.41"))], "").await;
    let reply = ask(&gateway, &about("receipt.png")).await.expect("an answer");
    let answer = answer::whole(&reply);
    assert_eq!(answer["description"], "A till receipt.");
    assert_eq!(answer["detected_text"], "TOTAL 25.41");
    assert_eq!(answer["model"], "mistral-medium-2604");
    assert_eq!(answer["model_requested"], "pixtral");
    assert_eq!(answer["usage"], json!({"input_tokens": 1210, "output_tokens": 96}));
    assert_eq!(answer["cost_usd"], json!(0.002_535));
    assert_eq!(answer["finish_reason"], "stop");
    assert_eq!((&answer["cached"], &answer["warnings"]), (&json!(false), &json!([])));
    assert_eq!(answer["route"]["rule"], "default");
    assert_eq!(answer["route"]["attempts"][0]["model"], "pixtral/mistral-medium-latest");
    assert_eq!(answer["route"]["attempts"][0]["outcome"], "ok");
    let image = &answer["images"][0];
    assert_eq!((&image["source"], &image["width"], &image["height"]), (&json!("path"), &json!(620), &json!(1000)));
    assert_eq!(upstream.calls(), 1);
    assert!(answer["latency_ms"].is_u64());
}

#[tokio::test]
async fn a_call_that_was_cut_off_before_the_answer_came_is_told_of() {
    let late = Play::json(504, &json!({"error": {"message": "upstream request timeout"}}));
    let (gateway, upstream) = behind([late, Play::json(200, &described("A till receipt.", ""))], "").await;
    let reply = ask(&gateway, &about("receipt.png")).await.expect("an answer");
    assert_eq!((upstream.calls(), reply.cost.map(|cost| cost.0)), (2, Some(2535)), "what is known, and no more");
    let told = reply.warnings.iter().any(|warning| warning.contains("broken off may be billed as well, about $0.00"));
    assert!(told, "{:?}", reply.warnings);
}

#[tokio::test]
async fn the_operators_price_is_what_counts() {
    let more =
        "[[providers.pixtral.models]]\nid = \"mistral-medium-latest\"\nprice = { input = 10.0, output = 100.0 }\n";
    let (gateway, _upstream) = behind([Play::json(200, &described("A receipt.", ""))], more).await;
    let reply = ask(&gateway, &about("receipt.png")).await.expect("an answer");
    assert_eq!(answer::whole(&reply)["cost_usd"], json!(0.0217));
}

#[tokio::test]
async fn the_second_identical_call_is_remembered_whatever_it_was_called() {
    let (gateway, upstream) = behind([Play::json(200, &described("A receipt.", ""))], "").await;
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("other name.png");
    std::fs::copy(example("receipt.png"), &copy).expect("a copy");
    ask(&gateway, &about("receipt.png")).await.expect("an answer");
    let again = Ask { images: vec![copy.display().to_string()].into(), ..Ask::default() };
    let reply = ask(&gateway, &again).await.expect("an answer");
    assert!(reply.cached);
    assert_eq!(reply.cost.map(|cost| cost.0), Some(0));
    assert_eq!((upstream.calls(), reply.route.attempts[0].outcome), (1, "cached"));
    let fresh = Ask { cache: Some(CacheMode::Refresh), ..about("receipt.png") };
    assert!(!ask(&gateway, &fresh).await.expect("an answer").cached);
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn fifty_at_once_make_one_request() {
    let play = Play::Late(Duration::from_millis(300), Box::new(Play::json(200, &described("A receipt.", ""))));
    let (gateway, upstream) = behind([play], "").await;
    let ask_about = about("receipt.png");
    let replies = join_all((0..50).map(|_| ask(&gateway, &ask_about))).await;
    assert!(replies.iter().all(Result::is_ok));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn each_fault_is_an_error_of_its_own_and_never_an_empty_success() {
    let cut = {
        let mut cut = completion("");
        cut["choices"][0]["finish_reason"] = json!("length");
        cut
    };
    let cases: Vec<(Play, &str, usize)> = vec![
        (Play::json(401, &json!({"detail": "Unauthorized"})), "UPSTREAM_AUTH", 1),
        (Play::json(402, &json!({"message": "no credit"})), "BUDGET_EXCEEDED", 1),
        (Play::json(429, &json!({"message": "slow"})).header("retry-after", "86400"), "RATE_LIMITED", 1),
        (Play::json(400, &json!({"message": "Invalid model: x", "type": "invalid_model"})), "MODEL_NOT_FOUND", 1),
        (Play::json(422, &json!({"detail": [{"loc": ["body", "seed"], "msg": "no"}]})), "INVALID_INPUT", 1),
        (Play::json(500, &json!({})), "UPSTREAM_ERROR", 3),
        (Play::Reset, "UPSTREAM_ERROR", 2),
        (Play::Reply(200, vec![], b"<html>".to_vec()), "BAD_UPSTREAM_RESPONSE", 1),
        (Play::json(200, &json!({"choices": []})), "EMPTY_RESPONSE", 1),
        (Play::json(200, &completion("")), "EMPTY_RESPONSE", 1),
        (Play::json(200, &cut), "TRUNCATED", 1),
        (Play::Silence, "UPSTREAM_TIMEOUT", 1),
        (Play::Stall, "UPSTREAM_TIMEOUT", 1),
    ];
    for (play, code, calls) in cases {
        let (gateway, upstream) = behind([play.clone()], "[deadline]\ntotal = \"3s\"\n").await;
        let failure = ask(&gateway, &asked("What is the total?")).await.expect_err(code);
        assert_eq!(failure.code.name(), code, "{play:?}: {failure}");
        assert_eq!(upstream.calls(), calls, "{play:?}");
        assert!(!failure.message.is_empty());
    }
}

#[tokio::test]
async fn a_fault_that_passes_is_tried_again_within_the_deadline() {
    let plays = [Play::json(503, &json!({})).header("retry-after", "1"), Play::json(200, &completion("25.41"))];
    let (gateway, upstream) = behind(plays, "").await;
    let began = Instant::now();
    let reply = ask(&gateway, &asked("What is the total?")).await.expect("an answer");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(upstream.calls(), 2);
    let outcomes: Vec<_> = reply.route.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, ["unavailable", "ok"]);
}

#[tokio::test]
async fn a_limit_says_when_to_come_back() {
    let (gateway, _upstream) =
        behind([Play::json(429, &json!({"message": "slow"})).header("retry-after", "90")], "").await;
    let failure = ask(&gateway, &asked("What?")).await.expect_err("a limit");
    let error = &answer::error(&failure)["error"];
    assert_eq!((&error["retryable"], &error["retry_after_s"]), (&json!(true), &json!(90)));
}

#[tokio::test]
async fn the_caller_leaving_cancels_upstream_within_a_second() {
    let (gateway, upstream) = behind([Play::Silence], "").await;
    let asking = tokio::time::timeout(Duration::from_millis(500), ask(&gateway, &asked("What?"))).await.is_err();
    assert!(asking, "nobody answered, so it must have been left");
    assert!(upstream.has_been_left(1, Duration::from_secs(1)).await, "the socket stayed open");
}

#[tokio::test]
async fn without_a_key_the_local_provider_answers_and_says_why() {
    let gateway = gateway("[providers.pixtral]\nkey = { env = \"NO_SUCH_KEY_IN_THIS_TEST\" }\n");
    let reply = ask(&gateway, &about("receipt.png")).await.expect("an answer");
    let answer = answer::whole(&reply);
    assert_eq!(answer["provider"], "local");
    assert!(answer["detected_text"].as_str().expect("text").contains("TOTAL EUR 25.41"));
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("pixtral") && warnings.contains("NO_SUCH_KEY_IN_THIS_TEST"), "{warnings}");
    assert_eq!(answer["route"]["skipped"][0]["reason"], "no_key");
    let failure = ask(&gateway, &asked("What is the total?")).await.expect_err("nobody can");
    assert_eq!(failure.code.name(), "NO_PROVIDER");
    assert!(failure.advice.expect("advice").contains("NO_SUCH_KEY_IN_THIS_TEST"));
    let local = Ask { model: Some("local".into()), ..asked("What?") };
    assert_eq!(ask(&gateway, &local).await.expect_err("it cannot").code.name(), "CAPABILITY_MISSING");
}

#[tokio::test]
async fn a_failing_model_is_replaced_openly() {
    let upstream = Upstream::start([Play::json(401, &json!({"detail": "Unauthorized"}))]).await;
    let config = pixtral_at(&upstream.url("/v1")).replace("fallback = []", "fallback = [\"local\"]");
    let reply = ask(&gateway(&config), &about("receipt.png")).await.expect("an answer");
    assert_eq!((reply.provider.as_str(), reply.model_requested.as_str()), ("local", "pixtral"));
    assert!(
        reply.warnings.iter().any(|warning| warning.contains("failed") && warning.contains("local/tesseract")),
        "{:?}",
        reply.warnings
    );
    let outcomes: Vec<_> = reply.route.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes[0], "unauthorized");
}

#[tokio::test]
async fn a_hang_leaves_time_for_the_next() {
    let upstream = Upstream::start([Play::Silence]).await;
    let config = pixtral_at(&upstream.url("/v1")).replace("fallback = []", "fallback = [\"local\"]");
    let began = Instant::now();
    let reply =
        ask(&gateway(&format!("{config}[deadline]\ntotal = \"12s\"\n")), &about("qr.png")).await.expect("an answer");
    assert_eq!(reply.provider, "local");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_route_chooses_by_task_and_an_alias_names_a_model() {
    let upstream = Upstream::start([Play::json(200, &completion("fine"))]).await;
    let more = "[aliases]\nsmall = \"pixtral/mistral-small-latest\"\n[[routes]]\nwhen = { task = \"ocr\" }\nuse = [\"local\"]\n";
    let gateway = gateway(&format!("{}{more}", pixtral_at(&upstream.url("/v1"))));
    let ocr = Ask { task: Some("ocr".into()), ..about("receipt.png") };
    let reply = ask(&gateway, &ocr).await.expect("an answer");
    assert_eq!((reply.provider.as_str(), reply.route.rule.as_str()), ("local", "routes[0]"));
    let small = Ask { model: Some("small".into()), ..asked("What?") };
    let reply = ask(&gateway, &small).await.expect("an answer");
    assert_eq!((reply.model_requested.as_str(), reply.route.rule.as_str()), ("small", "request"));
    assert_eq!(upstream.received()[0].body["model"], "mistral-small-latest");
    let unknown = Ask { model: Some("smal".into()), ..asked("What?") };
    let failure = ask(&gateway, &unknown).await.expect_err("unknown");
    assert_eq!((failure.code.name(), failure.advice.as_deref()), ("MODEL_NOT_FOUND", Some("did you mean small?")));
}

#[tokio::test]
async fn data_follows_the_schema_or_is_refused() {
    let schema: Arc<Value> =
        Arc::new(json!({"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}));
    let plays = [
        Play::json(200, &completion("```json\n{\"total\": 25.41}\n```")),
        Play::json(200, &completion("{\"total\": \"much\"}")),
    ];
    let (gateway, _upstream) = behind(plays, "").await;
    let extract = Ask { schema: Some(schema), cache: Some(CacheMode::Bypass), ..about("receipt.png") };
    let reply = ask(&gateway, &extract).await.expect("data");
    assert_eq!(answer::whole(&reply)["data"], json!({"total": 25.41}));
    let failure = ask(&gateway, &extract).await.expect_err("out of form");
    assert_eq!(failure.code.name(), "SCHEMA_MISMATCH");
    assert!(failure.message.contains("much"), "{failure}");
}

#[tokio::test]
async fn an_answer_out_of_form_is_told_from_one_that_was_fine() {
    let upstream = Upstream::start([Play::json(200, &completion("{\"text\": 7}"))]).await;
    let config = pixtral_at(&upstream.url("/v1")).replace("fallback = []", "fallback = [\"local\"]");
    let ocr = Ask { task: Some("ocr".into()), ..about("receipt.png") };
    let reply = ask(&gateway(&config), &ocr).await.expect("the local provider reads it");
    let outcomes: Vec<_> = reply.route.attempts.iter().map(|attempt| attempt.outcome).collect();
    // It was asked once more, with its fault in front of it.
    assert_eq!(outcomes, ["schema_mismatch", "schema_mismatch", "ok"]);
}

#[tokio::test]
async fn an_image_that_one_model_cannot_take_goes_to_the_next() {
    let upstream = Upstream::start([Play::json(200, &described("never", ""))]).await;
    let limits = "[[providers.pixtral.models]]\nid = \"mistral-medium-latest\"\nlimits = { max_bytes = 10 }\n";
    let config = pixtral_at(&upstream.url("/v1")).replace("fallback = []", "fallback = [\"local\"]");
    let reply = ask(&gateway(&format!("{config}{limits}")), &about("receipt.png")).await.expect("an answer");
    assert_eq!(
        (reply.provider.as_str(), reply.route.attempts[0].outcome, upstream.calls()),
        ("local", "does_not_fit", 0)
    );
}

#[tokio::test]
async fn a_schema_that_never_ends_costs_neither_money_nor_the_server() {
    let (gateway, upstream) = behind([Play::json(200, &completion("{}"))], "").await;
    let level = |n: usize| json!({"anyOf": [{"allOf": [{"$ref": format!("#/$defs/d{}", n + 1)}]}, {"$ref": format!("#/$defs/d{}", n + 1)}]});
    let mut definitions: serde_json::Map<String, Value> = (0..40).map(|n| (format!("d{n}"), level(n))).collect();
    definitions.insert("d40".into(), json!({"type": "string"}));
    let bomb = json!({"$ref": "#/$defs/d0", "$defs": definitions});
    let failure =
        ask(&gateway, &Ask { schema: Some(Arc::new(bomb)), ..about("receipt.png") }).await.expect_err("a bomb");
    assert_eq!((failure.code.name(), upstream.calls()), ("INVALID_INPUT", 0));
    let misplaced = Ask { schema: Some(Arc::new(json!({}))), task: Some("describe".into()), ..about("receipt.png") };
    assert_eq!(ask(&gateway, &misplaced).await.expect_err("misplaced").code.name(), "INVALID_INPUT");
}

#[tokio::test]
async fn presets_are_tasks_and_every_shipped_one_has_a_sound_schema() {
    let (gateway, upstream) = behind([Play::json(200, &completion("A receipt from a grocer."))], "").await;
    for name in ["invoice", "alt_text", "product_tags", "moderate", "chart", "ui", "contract"] {
        assert!(gateway.presets.contains_key(name), "{name}");
    }
    let reply = ask(&gateway, &Ask { task: Some("alt_text".into()), ..about("receipt.png") }).await.expect("text");
    let answer = answer::whole(&reply);
    assert_eq!((&answer["task"], &answer["text"]), (&json!("alt_text"), &json!("A receipt from a grocer.")));
    assert!(upstream.received()[0].body["messages"][1]["content"].to_string().contains("alternative text"));
}

#[tokio::test]
async fn hostile_output_is_made_harmless() {
    let text = "safe\u{1b}[2J \u{202e}evil\u{200b}\u{0} end";
    let (gateway, _upstream) = behind([Play::json(200, &completion(text))], "").await;
    let reply = ask(&gateway, &asked("What?")).await.expect("text");
    assert_eq!(answer::whole(&reply)["text"], "safe[2J evil end");
}

#[tokio::test]
async fn a_cut_description_is_delivered_as_cut_and_not_remembered() {
    let mut cut = completion("{\"description\": \"A long receipt with");
    cut["choices"][0]["finish_reason"] = json!("length");
    let (gateway, upstream) = behind([Play::json(200, &cut)], "").await;
    for _ in 0..2 {
        let reply = ask(&gateway, &about("receipt.png")).await.expect("what there is");
        assert_eq!(answer::whole(&reply)["finish_reason"], "length");
        assert!(
            reply.warnings.iter().any(|warning| warning.contains("cut by the token limit")),
            "{:?}",
            reply.warnings
        );
    }
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn bad_questions_cost_nothing() {
    let (gateway, upstream) = behind([Play::json(200, &completion("fine"))], "").await;
    let bad = [
        Ask::default(),
        Ask { images: vec!["missing.png".into()].into(), ..Ask::default() },
        Ask { task: Some("sing".into()), ..about("receipt.png") },
        Ask { task: Some("ask".into()), ..about("receipt.png") },
        Ask { schema: Some(Arc::new(json!({"type": "strnig"}))), ..about("receipt.png") },
        Ask { model: Some("nobody".into()), ..about("receipt.png") },
        Ask { images: vec![example("receipt.png"); 9].into(), prompt: Some("What?".into()), ..Ask::default() },
        Ask { prompt: Some("x".repeat(200_000)), ..about("receipt.png") },
        Ask {
            sampling: vision_providers::request::Sampling { temperature: Some(-1.0), ..Default::default() },
            ..asked("What?")
        },
    ];
    for ask_badly in &bad {
        assert!(ask(&gateway, ask_badly).await.is_err(), "{ask_badly:?}");
    }
    assert_eq!(upstream.calls(), 0);
    assert!(tokio::time::timeout(PATIENCE, ask(&gateway, &asked("Good?"))).await.expect("in time").is_ok());
}

#[tokio::test]
async fn documents_go_to_models_that_read_them_and_past_those_that_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let pdf = folder.path().join("invoice.pdf");
    std::fs::write(&pdf, b"%PDF-1.7\n1 0 obj\n").expect("a file");
    let seeing = Upstream::start([Play::json(200, &completion("never"))]).await;
    let reading = Upstream::start([Play::json(200, &completion("An invoice."))]).await;
    let config = format!(
        "default = \"seeing\"\n{}[providers.seeing]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\nbase_url = \"{}\"\n",
        pixtral_at(&reading.url("/v1")).replace("fallback = []", "fallback = [\"pixtral\"]"),
        seeing.url("/v1")
    );
    let ask = Ask {
        prompt: Some("What is it?".into()),
        images: vec![pdf.display().to_string()].into(),
        cache: Some(CacheMode::Bypass),
        ..Ask::default()
    };
    let asking = gateway(&config);
    let reply = answer::whole(&self::ask(&asking, &ask).await.expect("a reply"));
    assert_eq!((reply["provider"].as_str(), seeing.calls(), reading.calls()), (Some("pixtral"), 0, 1));
    assert_eq!(reply["route"]["skipped"][0], json!({"model": "seeing/m", "reason": "unable"}));
    assert!(reply["warnings"][0].as_str().is_some_and(|it| it.contains("not PDF documents")), "{}", reply["warnings"]);
    assert_eq!((&reply["images"][0]["format"], reply["images"][0].get("width")), (&json!("pdf"), None));
    let part = &reading.received()[0].body["messages"][1]["content"][0];
    assert_eq!(part["type"], "document_url");
    assert!(part["document_url"].as_str().expect("a URI").starts_with("data:application/pdf;base64,JVBERi0xLjc"));
    let alone = config.replace("fallback = [\"pixtral\"]", "fallback = []");
    let failure = self::ask(&gateway(&alone), &ask).await.expect_err("nobody reads it");
    assert_eq!(failure.code.name(), "CAPABILITY_MISSING");
    assert!(failure.message.contains("PDF"), "{failure}");
}

#[tokio::test]
async fn what_a_call_will_take_is_known_before_it_is_made() {
    let upstream = Upstream::start([Play::json(200, &completion("never"))]).await;
    let gateway = gateway(&pixtral_at(&upstream.url("/v1")));
    let asker = Asker::local(Door::CommandLine);
    let foreseen = answer::foreseen(&gateway.foresee(&asked("What is the total?"), &asker).await.expect("a plan"));
    let estimate = &foreseen["candidates"][0]["estimate"];
    // 620 x 1000 is 23 cells and a break across, 36 down.
    assert_eq!((&estimate["image_tokens"], &estimate["basis"]), (&json!(864), &json!("assumed")));
    assert!(estimate["max_cost_usd"].as_f64().expect("a price") > 0.03, "{estimate}");
    assert_eq!(upstream.calls(), 0);
}

#[tokio::test]
async fn a_backend_that_reports_no_usage_gets_an_estimate_that_says_so() {
    let mut silent = completion("A receipt.");
    silent.as_object_mut().expect("an object").remove("usage");
    let upstream = Upstream::start([Play::json(200, &silent)]).await;
    let gateway = gateway(&pixtral_at(&upstream.url("/v1")));
    let reply = answer::whole(&ask(&gateway, &asked("What?")).await.expect("a reply"));
    assert!(reply["usage"]["input_tokens"].as_u64().expect("tokens") > 864);
    assert!(reply["warnings"][0].as_str().expect("a warning").contains("estimates"), "{reply}");
}

#[tokio::test]
async fn models_without_a_key_are_foreseen_too() {
    let gateway =
        gateway("default = \"openai\"\n[providers.openai]\nkey = { env = \"VISIONGATE_TEST_NO_SUCH_KEY\" }\n");
    let asker = Asker::local(Door::CommandLine);
    let foreseen = answer::foreseen(&gateway.foresee(&about("receipt.png"), &asker).await.expect("a plan"));
    let first = &foreseen["candidates"][0];
    assert_eq!(first["model"], "openai/gpt-6-luna");
    assert!(first["note"].as_str().expect("a note").contains("NO_SUCH_KEY"), "{first}");
    assert!(first["estimate"]["max_cost_usd"].as_f64().expect("a cost") > 0.0, "{first}");
    assert_eq!(foreseen["candidates"][1]["model"], "local/tesseract");
}

#[tokio::test]
async fn money_that_went_into_unusable_answers_is_in_the_bill() {
    let broken = Upstream::start([Play::json(200, &completion("{\"total\": \"much\"}"))]).await;
    let good = Upstream::start([Play::json(200, &completion("{\"total\": 9}"))]).await;
    let more = format!("[providers.second]\nkind = \"pixtral\"\nkey = \"none\"\nbase_url = \"{}\"\n", good.url("/v1"));
    let config =
        format!("{}{more}", pixtral_at(&broken.url("/v1"))).replace("fallback = []", "fallback = [\"second\"]");
    let schema = json!({"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]});
    let extract = Ask { schema: Some(Arc::new(schema)), ..about("receipt.png") };
    let reply = answer::whole(&ask(&gateway(&config), &extract).await.expect("data"));
    // Three calls of 1210 and 96 tokens at 1.50 and 7.50: 3 x 2,535 micro-dollars.
    assert_eq!(reply["cost_usd"], json!(0.007_605));
    assert!(reply["warnings"].to_string().contains("$0.00507"), "{}", reply["warnings"]);
}

#[tokio::test]
async fn documents_that_are_too_much_together_go_to_a_model_that_takes_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let pdf = folder.path().join("half.pdf");
    std::fs::write(&pdf, [b"%PDF-1.7\n".as_slice(), &vec![b' '; 900_000]].concat()).expect("a file");
    let reading = Upstream::start([Play::json(200, &completion("Two invoices."))]).await;
    let more = format!(
        "[[providers.pixtral.models]]\nid = \"mistral-medium-latest\"\nlimits = {{ max_total_bytes = 1_000_000 }}\n\
         [providers.second]\nkind = \"pixtral\"\nkey = \"none\"\nbase_url = \"{}\"\n",
        reading.url("/v1")
    );
    let config =
        format!("{}{more}", pixtral_at("http://127.0.0.1:9/v1")).replace("fallback = []", "fallback = [\"second\"]");
    let both = Ask {
        images: vec![pdf.display().to_string(), pdf.display().to_string()].into(),
        prompt: Some("What are they?".into()),
        ..Ask::default()
    };
    let reply = answer::whole(&ask(&gateway(&config), &both).await.expect("an answer"));
    assert_eq!(
        (reply["provider"].as_str(), reply["route"]["skipped"][0]["reason"].as_str()),
        (Some("second"), Some("unable"))
    );
}
