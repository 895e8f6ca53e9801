//! Who is asked: rules, strategies, what they demand, and what can be read of it in the answer afterwards.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;
use vision_providers::request::CacheMode;
use vision_providers::testkit::{Play, Upstream};
use vision_providers::wire::Delivery;
use visiongate::failure::Failure;
use visiongate::gateway::{Ask, Asker, Gateway};
use visiongate::intake::Door;
use visiongate::rights::Rights;
use visiongate::router::plan::Fallback;
use visiongate::surface::answer;

use super::{completion, example, gateway};

/// Where nobody listens, and which is not this machine.
const FAR: &str = "http://203.0.113.1:9/v1";

fn provider(name: &str, base_url: &str) -> String {
    format!(
        "[providers.{name}]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\nbase_url = \"{base_url}\"\n"
    )
}

/// Providers at these addresses, and these rules; nobody else is asked.
fn configured(providers: &[(&str, &str)], more: &str) -> Gateway {
    let providers: String = providers.iter().map(|(name, url)| provider(name, url)).collect();
    gateway(&format!("default = \"a\"\nfallback = []\n{providers}{more}"))
}

fn asker() -> Asker {
    Asker::local(Door::CommandLine)
}

fn question(image: &str) -> Ask {
    let cache = Some(CacheMode::Bypass);
    Ask { images: vec![example(image)].into(), prompt: Some("What is it?".into()), cache, ..Ask::default() }
}

fn for_model(model: &str) -> Ask {
    Ask { model: Some(model.into()), ..question("receipt.png") }
}

async fn ask(gateway: &Gateway, ask: &Ask) -> Result<Value, Failure> {
    gateway.ask(ask, &asker()).await.map(|reply| answer::whole(&reply))
}

async fn explained(gateway: &Gateway, ask: &Ask) -> Value {
    answer::explained(&gateway.explain(ask, &asker(), Delivery::Whole).await.expect("a plan"))
}

fn order(explained: &Value) -> Vec<String> {
    let models = explained["candidates"].as_array().into_iter().flatten();
    models.filter_map(|model| model["model"].as_str().map(str::to_owned)).collect()
}

fn outcomes(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attempts = answer["route"]["attempts"].as_array().into_iter().flatten();
    attempts.map(|attempt| (text(&attempt["model"]), text(&attempt["outcome"]))).collect()
}

fn says(text: &str) -> Play {
    Play::json(200, &completion(text))
}

fn down() -> Play {
    Play::json(500, &json!({}))
}

#[tokio::test]
async fn every_condition_of_a_rule_is_looked_at() {
    let schema = Some(Arc::new(json!({"type": "object", "properties": {"total": {"type": "number"}}})));
    let two = Ask { images: vec![example("receipt.png"), example("qr.png")].into(), ..question("receipt.png") };
    let asks = [
        question("receipt.png"),
        Ask { prompt: None, task: Some("ocr".into()), ..question("receipt.png") },
        two,
        question("qr.png"),
        Ask { schema, ..question("receipt.png") },
    ];
    // receipt.png has 620 x 1000 pixels, qr.png 600 x 680.
    for (when, expected) in [
        ("", [true; 5]),
        ("task = \"ocr\"", [false, true, false, false, false]),
        ("task = [\"ocr\", \"extract\"]", [false, true, false, false, true]),
        ("images = { min = 2 }", [false, false, true, false, false]),
        ("pixels = { max = 500_000 }", [false, false, false, true, false]),
        ("pixels = { min = 620_000, max = 620_000 }", [true, true, true, false, true]),
        ("bytes = { max = 1 }", [false; 5]),
        ("format = \"jpeg\"", [false; 5]),
        ("format = [\"jpeg\", \"png\"]", [true; 5]),
        ("schema = true", [false, false, false, false, true]),
        ("stream = true", [false; 5]),
        ("caller = \"local\"", [true; 5]),
        ("caller = \"somebody\"", [false; 5]),
        ("model = \"b\"", [false; 5]),
        // Nothing is known of this model's tokens, so no bound on the cost is met.
        ("cost_usd = { min = 0.0 }", [false; 5]),
        ("task = \"ask\", images = { max = 1 }, pixels = { max = 500_000 }", [false, false, false, true, false]),
    ] {
        let rule = format!("[[routes]]\nwhen = {{ {when} }}\nuse = [\"b\"]\n");
        let gateway = configured(&[("a", FAR), ("b", FAR)], &rule);
        for (ask, expected) in asks.iter().zip(expected) {
            let found = explained(&gateway, ask).await;
            assert_eq!(found["rule"] == "routes[0]", expected, "{when}: {found}");
        }
    }
}

#[tokio::test]
async fn a_rule_can_look_at_the_likely_cost() {
    let priced = "[[providers.a.models]]\nid = \"m\"\nprice = { input = 100.0, output = 100.0 }\ntokens = { rule = \"rows\", largest_side = 1540, cell = 28 }\n";
    let rule = "[[routes]]\nwhen = { cost_usd = { min = 0.13 } }\nuse = [\"b\"]\n";
    let gateway = configured(&[("a", FAR), ("b", FAR)], &format!("{priced}{rule}"));
    assert_eq!(explained(&gateway, &question("receipt.png")).await["rule"], "routes[0]");
    assert_eq!(explained(&gateway, &question("qr.png")).await["rule"], "default");
    let named = Ask { model: Some("a".into()), ..question("receipt.png") };
    assert_eq!(explained(&gateway, &named).await["rule"], "request", "who names a model is not chosen for");
}

#[tokio::test]
async fn a_name_that_only_a_rule_knows_is_a_name() {
    let rule = "[[routes]]\nwhen = { model = \"good\" }\nuse = [\"b\", \"a\"]\n";
    let gateway = configured(&[("a", FAR), ("b", FAR)], rule);
    let found = explained(&gateway, &for_model("good")).await;
    assert_eq!((&found["rule"], &found["model_requested"]), (&json!("routes[0]"), &json!("good")));
    assert_eq!(order(&found), ["b/m", "a/m"]);
    assert_eq!(explained(&gateway, &question("receipt.png")).await["rule"], "default");
    let failure = ask(&gateway, &for_model("goood")).await.expect_err("a slip of the pen");
    assert!(failure.advice.as_deref().is_some_and(|advice| advice.contains("good")), "{failure:?}");
}

#[tokio::test]
async fn the_cheapest_is_found_for_this_very_request() {
    // By the picture: `a` charges for its pixels, `b` a little for everything.
    let card = |name: &str, input: f64, tokens: &str| {
        format!(
            "[[providers.{name}.models]]\nid = \"m\"\nprice = {{ input = {input:?}, output = 1.0 }}\ntokens = {tokens}\n"
        )
    };
    let cards = [
        card("a", 1.0, "{ rule = \"rows\", largest_side = 1540, cell = 28 }"),
        card("b", 2.0, "{ rule = \"flat\", tokens = 280 }"),
    ]
    .concat();
    let rule =
        "[[routes]]\nwhen = { model = \"cheap\" }\nuse = { strategy = \"cheapest\", models = [\"c\", \"a\", \"b\"] }\n";
    let gateway = configured(&[("a", FAR), ("b", FAR), ("c", FAR)], &format!("{cards}{rule}"));
    let large = explained(&gateway, &for_model("cheap")).await;
    assert_eq!(order(&large), ["b/m", "a/m", "c/m"], "{large}");
    let small = explained(&gateway, &Ask { images: vec![example("qr.png")].into(), ..for_model("cheap") }).await;
    assert_eq!(order(&small), ["a/m", "b/m", "c/m"], "{small}");
    assert!(small["candidates"][0]["why"].as_str().is_some_and(|why| why.starts_with("likely $0.001")), "{small}");
    assert_eq!(small["candidates"][2]["why"], "its cost cannot be told");
}

#[tokio::test]
async fn turns_go_round() {
    let rule = "[[routes]]\nuse = { strategy = \"round_robin\", models = [\"a\", \"b\", \"c\"] }\n";
    let gateway = configured(&[("a", FAR), ("b", FAR), ("c", FAR)], rule);
    let mut firsts = Vec::new();
    for _ in 0..6 {
        firsts.push(order(&explained(&gateway, &question("receipt.png")).await)[0].clone());
    }
    assert_eq!(firsts, ["a/m", "b/m", "c/m", "a/m", "b/m", "c/m"]);
}

#[tokio::test]
async fn shares_are_kept_and_stick_to_the_image() {
    let rule = "[[routes]]\nuse = { strategy = \"weighted\", models = [\"a\", \"b\"], weights = [90, 10] }\n";
    let gateway = Arc::new(configured(&[("a", FAR), ("b", FAR)], rule));
    let bmp = |number: u32| {
        // A bitmap of 16 x 16 pixels of one colour each.
        let head =
            [b"BM".as_slice(), &822_u32.to_le_bytes(), &[0; 4], &54_u32.to_le_bytes(), &40_u32.to_le_bytes()].concat();
        let size = [16_u32.to_le_bytes(), 16_u32.to_le_bytes(), [1, 0, 24, 0]].concat();
        [head, size, vec![0; 24], number.to_le_bytes()[..3].repeat(256)].concat()
    };
    let first = |number: u32| {
        let gateway = Arc::clone(&gateway);
        async move {
            let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bmp(number));
            let ask = Ask { images: vec![format!("data:image/bmp;base64,{data}")].into(), ..question("receipt.png") };
            order(&explained(&gateway, &ask).await)[0].clone()
        }
    };
    let mut found = Vec::new();
    for batch in (0..10_000).collect::<Vec<u32>>().chunks(100) {
        found.extend(join_all(batch.iter().map(|number| first(*number))).await);
    }
    let share = found.iter().filter(|model| *model == "b/m").count();
    assert!((800..=1200).contains(&share), "{share} of 10,000");
    for number in 0..50 {
        assert_eq!(first(number).await, found[number as usize]);
    }
}

#[tokio::test]
async fn the_fastest_is_the_one_that_was_quick_lately() {
    let slow = Upstream::start([Play::Late(Duration::from_millis(300), Box::new(says("slow")))]).await;
    let quick = Upstream::start([says("quick")]).await;
    let rule = "[[routes]]\nuse = { strategy = \"fastest\", models = [\"a\", \"b\"] }\n";
    let gateway = configured(&[("a", &slow.url("/v1")), ("b", &quick.url("/v1"))], rule);
    let asking = question("receipt.png");
    let mut answered = Vec::new();
    for _ in 0..5 {
        answered.push(ask(&gateway, &asking).await.expect("an answer")["text"].clone());
    }
    // Each is timed once.
    assert_eq!(answered, ["slow", "quick", "quick", "quick", "quick"]);
    assert_eq!((slow.calls(), quick.calls()), (1, 4));
}

#[tokio::test]
async fn a_second_model_is_asked_when_the_first_is_later_than_usual_and_the_loser_is_left() {
    let first = Upstream::start(vec![says("first"); 20].into_iter().chain([Play::Silence])).await;
    let second = Upstream::start([says("second")]).await;
    let rule = "[[routes]]\nuse = { strategy = \"hedged\", models = [\"a\", \"b\"] }\n";
    let gateway = configured(&[("a", &first.url("/v1")), ("b", &second.url("/v1"))], rule);
    for _ in 0..20 {
        assert_eq!(ask(&gateway, &question("receipt.png")).await.expect("an answer")["text"], "first");
    }
    assert_eq!(second.calls(), 0);
    let began = Instant::now();
    let answer = ask(&gateway, &question("receipt.png")).await.expect("an answer");
    // The first one alone would have been waited for until the deadline.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(answer["text"], "second");
    let told = |model: &str, outcome: &str| (model.to_owned(), outcome.to_owned());
    assert_eq!(outcomes(&answer), [told("b/m", "ok"), told("a/m", "cancelled")]);
    assert!(answer["warnings"].to_string().contains("a/m was asked too"), "{}", answer["warnings"]);
    assert_eq!(answer["route"]["strategy"], "hedged");
    assert!(first.has_been_left(1, Duration::from_secs(10)).await, "the loser is cancelled down to its socket");
}

#[tokio::test]
async fn a_hedge_whose_first_fails_goes_on_without_waiting() {
    let first = Upstream::start([Play::json(422, &json!({}))]).await;
    let gone = Upstream::start([Play::json(404, &json!({}))]).await;
    let second = Upstream::start([says("second")]).await;
    let rule = "[[routes]]\nuse = { strategy = \"hedged\", models = [\"a\", \"b\"] }\n";
    let (gone_url, second_url) = (gone.url("/v1"), second.url("/v1"));
    let gateway = configured(&[("a", &gone_url), ("b", &second_url)], rule);
    assert_eq!(ask(&gateway, &question("receipt.png")).await.expect("an answer")["text"], "second");
    let gateway = configured(&[("a", &first.url("/v1")), ("b", &second_url)], rule);
    let failure = ask(&gateway, &question("receipt.png")).await.expect_err("the caller's fault");
    assert_eq!((failure.code.name(), second.calls()), ("INVALID_INPUT", 1));
}

#[tokio::test]
async fn what_must_stay_on_this_machine_stays_whoever_is_named_and_whatever_fails() {
    let here = Upstream::start([down()]).await;
    let rule = "[[routes]]\nwhen = { task = \"ask\" }\nuse = [\"here\"]\nlocal_only = true\n";
    let providers = [("a", FAR), ("here", &*here.url("/v1"))];
    let gateway =
        configured(&providers, &format!("{rule}[breaker]\nfailures = 1000\nopen = \"1s\"\nlongest = \"1s\"\n"));
    let failure = ask(&gateway, &question("receipt.png")).await.expect_err("it is down");
    assert_eq!(failure.code.name(), "UPSTREAM_ERROR");
    let failure = ask(&gateway, &for_model("a")).await.expect_err("a is far away");
    assert_eq!(failure.code.name(), "FORBIDDEN");
    assert!(failure.advice.as_deref().is_some_and(|advice| advice.contains("local")), "{failure:?}");
    let other = Ask { prompt: None, task: Some("describe".into()), ..question("receipt.png") };
    assert_eq!(order(&explained(&gateway, &other).await), ["a/m"], "the rule is about another task");
}

#[tokio::test]
async fn routes_demand_tags_of_providers() {
    let rule = "[[routes]]\nwhen = { task = \"ask\" }\nuse = [\"a\", \"b\"]\ntags = [\"eu\"]\n";
    let tagged = "[providers.b]\ntags = [\"eu\", \"cheap\"]\n";
    let providers = format!("{}{}", provider("a", FAR), provider("b", FAR)).replace("[providers.b]\n", tagged);
    let gateway = gateway(&format!("default = \"a\"\nfallback = [\"a\"]\n{providers}{rule}"));
    let found = explained(&gateway, &question("receipt.png")).await;
    assert_eq!((order(&found), &found["demands"]), (vec!["b/m".to_owned()], &json!(["eu"])));
    assert_eq!((&found["skipped"][0]["model"], &found["skipped"][0]["reason"]), (&json!("a/m"), &json!("kept")));
}

#[tokio::test]
async fn a_model_that_was_named_is_swapped_with_a_warning_or_not_at_all() {
    let (a, b) = (Upstream::start([down()]).await, Upstream::start([says("b")]).await);
    let providers = format!("{}{}", provider("a", &a.url("/v1")), provider("b", &b.url("/v1")));
    let gateway = gateway(&format!("default = \"a\"\nfallback = [\"b\"]\n{providers}"));
    let answer = ask(&gateway, &for_model("a")).await.expect("an answer");
    assert_eq!((&answer["provider"], &answer["model_requested"]), (&json!("b"), &json!("a")));
    assert_eq!(answer["warnings"], json!(["a/m failed (unavailable): b/m answered instead"]));
    let alone = Ask { fallback: Fallback::Never, ..for_model("a") };
    let failure = ask(&gateway, &alone).await.expect_err("nobody else may answer");
    assert_eq!((failure.code.name(), b.calls()), ("UPSTREAM_ERROR", 1));
}

#[tokio::test]
async fn one_question_costs_a_failing_provider_two_calls_and_the_next_one_more() {
    let (a, b) = (Upstream::start([down()]).await, Upstream::start([down()]).await);
    let providers = format!("{}{}", provider("a", &a.url("/v1")), provider("b", &b.url("/v1")));
    let gateway = gateway(&format!("default = \"a\"\nfallback = [\"b\"]\n{providers}"));
    ask(&gateway, &question("receipt.png")).await.expect_err("both are down");
    assert_eq!((a.calls(), b.calls()), (2, 2), "two retries in all, one of them for each");
}

#[tokio::test]
async fn who_fails_is_left_alone_and_the_answer_says_so() {
    let (a, b) = (Upstream::start([down()]).await, Upstream::start([says("b")]).await);
    let providers = format!("{}{}", provider("a", &a.url("/v1")), provider("b", &b.url("/v1")));
    let gateway = gateway(&format!("default = \"a\"\nfallback = [\"b\"]\n{providers}"));
    for _ in 0..20 {
        assert_eq!(ask(&gateway, &question("receipt.png")).await.expect("an answer")["text"], "b");
    }
    assert_eq!((a.calls(), b.calls()), (5, 20));
    let answer = ask(&gateway, &question("receipt.png")).await.expect("an answer");
    assert_eq!(answer["route"]["skipped"], json!([{"model": "a/m", "reason": "failing"}]));
    assert!(answer["warnings"][0].as_str().is_some_and(|it| it.contains("its last calls failed")), "{answer}");
    let alone = Ask { fallback: Fallback::Never, ..for_model("a") };
    let began = Instant::now();
    let failure = ask(&gateway, &alone).await.expect_err("it rests");
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!((failure.code.name(), failure.retryable), ("NO_PROVIDER", true));
    assert!(failure.retry_after.is_some_and(|wait| wait <= Duration::from_secs(6)), "{failure:?}");
}

#[tokio::test]
async fn places_of_text_are_asked_only_of_those_who_know_them() {
    let gateway = gateway("default = \"pixtral\"\nfallback = [\"local\"]\n[providers.pixtral]\nkey = \"none\"\n");
    let boxes = Ask { boxes: true, prompt: None, task: Some("ocr".into()), ..question("receipt.png") };
    let found = explained(&gateway, &boxes).await;
    assert_eq!(order(&found), ["local/tesseract"]);
    assert_eq!(found["skipped"][0]["reason"], "unable");
}

#[tokio::test]
async fn the_route_command_explains_every_strategy_of_the_shipped_configuration() {
    for (name, strategy, words) in [
        ("cheapest", "cheapest", "likely $"),
        ("fastest", "fastest", "not timed lately"),
        ("hedged", "hedged", "the second is asked as well when the first takes longer than 5000 ms"),
        ("canary", "weighted", "95 of 100 images"),
        ("by-turns", "round_robin", "its turn"),
        ("private", "first", "rules keep it with providers that are local"),
    ] {
        let command = |more: &[&str]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_visiongate"));
            command.args(["route", &example("receipt.png"), "-p", "What is it?", "-m", name]).args(more);
            command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("VISIONGATE_CONFIG");
            for key in ["MISTRAL_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"] {
                command.env(key, "not-a-key");
            }
            command.output().expect("it runs")
        };
        let text = String::from_utf8(command(&[]).stdout).expect("text");
        assert!(text.contains(words) && text.contains(&format!("asked for: {name} (routes[")), "{name}: {text}");
        assert!(text.contains(&format!("strategy {strategy})")), "{name}: {text}");
        let json: Value = serde_json::from_slice(&command(&["--json"]).stdout).expect("one JSON document");
        assert_eq!((&json["strategy"], &json["model_requested"]), (&json!(strategy), &json!(name)), "{json}");
        assert!(!order(&json).is_empty());
    }
}

#[tokio::test]
async fn a_hedge_is_run_by_the_rules_own_models_and_only_an_answer_ends_it() {
    let slow = |text: &str| Play::Late(Duration::from_secs(6), Box::new(says(text)));
    let rule = |models: &str| format!("[[routes]]\nuse = {{ strategy = \"hedged\", models = [{models}] }}\n");
    let (a, b) = (Upstream::start([slow("a")]).await, Upstream::start([says("b")]).await);
    let providers = format!("{}{}", provider("a", &a.url("/v1")), provider("b", &b.url("/v1")));
    let alone = gateway(&format!("default = \"a\"\nfallback = [\"b\"]\n{providers}{}", rule("\"a\"")));
    let missing = Upstream::start([Play::json(404, &json!({}))]).await;
    let providers = [("a", &*a.url("/v1")), ("b", &*missing.url("/v1"))];
    let failing = configured(&providers, &rule("\"a\", \"b\""));
    let asking = question("receipt.png");
    let answers = join_all([ask(&alone, &asking), ask(&failing, &asking)]).await;
    for answer in answers {
        assert_eq!(answer.expect("the first is worth the wait")["text"], "a");
    }
    assert_eq!((b.calls(), missing.calls()), (0, 1));
}

#[tokio::test]
async fn one_model_that_its_vendor_does_not_know_does_not_end_a_name_of_many() {
    let (a, b) = (Upstream::start([Play::json(404, &json!({}))]).await, Upstream::start([says("b")]).await);
    let rule = "[[routes]]\nwhen = { model = \"quick\" }\nuse = { strategy = \"fastest\", models = [\"a\", \"b\"] }\n";
    let gateway = configured(&[("a", &a.url("/v1")), ("b", &b.url("/v1"))], rule);
    for _ in 0..5 {
        assert_eq!(ask(&gateway, &for_model("quick")).await.expect("an answer")["text"], "b");
    }
    assert_eq!(a.calls(), 1, "what is not known is left alone");
    let failure = ask(&gateway, &for_model("a")).await.expect_err("it was named");
    assert!(["MODEL_NOT_FOUND", "NO_PROVIDER"].contains(&failure.code.name()), "{failure}");
}

#[tokio::test]
async fn whoever_answers_for_a_name_that_means_somebody_else_is_told_of() {
    let b = Upstream::start([says("b")]).await;
    let providers = [("a", FAR), ("b", &*b.url("/v1"))];
    let renamed = configured(&providers, "[[routes]]\nwhen = { model = \"a\" }\nuse = [\"b\"]\n");
    let answer = ask(&renamed, &for_model("a")).await.expect("an answer");
    assert_eq!(answer["warnings"], json!(["a was asked for: by routes[0], b/m answered instead"]));
    let rule = "[[routes]]\nwhen = { model = \"cheap\" }\nuse = { strategy = \"cheapest\", models = [\"k\"] }\n";
    let keyed = provider("k", FAR).replace("key = \"none\"", "key = { env = \"VISIONGATE_TEST_NO_SUCH_KEY\" }");
    let providers = format!("{keyed}{}", provider("b", &b.url("/v1")));
    let gateway = gateway(&format!("default = \"b\"\nfallback = [\"b\"]\n{providers}{rule}"));
    let answer = ask(&gateway, &for_model("cheap")).await.expect("an answer");
    assert_eq!(answer["warnings"], json!(["cheap was asked for: by routes[0], b/m answered instead"]));
}

#[tokio::test]
async fn names_of_rules_about_pictures_are_names_and_long_ones_are_none() {
    let rule = "[[routes]]\nwhen = { model = \"scan\", format = \"png\" }\nuse = [\"b\"]\n";
    let gateway = configured(&[("a", FAR), ("b", FAR)], rule);
    assert_eq!(order(&explained(&gateway, &for_model("scan")).await), ["b/m"]);
    let failure = ask(&gateway, &for_model(&format!("a/{}", "x".repeat(300)))).await.expect_err("too long");
    assert!(failure.code.name() == "INVALID_INPUT" && failure.message.len() < 200, "{failure}");
}

#[tokio::test]
async fn models_that_a_server_here_passes_on_are_not_local() {
    let rule = "[[routes]]\nwhen = { task = \"ask\" }\nuse = [\"ollama\"]\nlocal_only = true\n";
    let gateway = gateway(&format!("fallback = []\n{rule}"));
    assert_eq!(order(&explained(&gateway, &for_model("ollama")).await), ["ollama/qwen3-vl:8b"]);
    for name in [
        "qwen3-vl:235b-cloud",
        "x:cloud",
        "x-CLOUD",
        "x:235b-Cloud",
        "x-cloud ",
        " x:cloud\t",
        "x:235b-cloud@sha256:0a",
    ] {
        let failure = ask(&gateway, &for_model(&format!("ollama/{name}"))).await.expect_err("it is elsewhere");
        assert_eq!(failure.code.name(), "FORBIDDEN", "{name:?}");
    }
    // A key that is held to what is local gets none of them either.
    let rights = Rights { tags: vec!["local".into()], ..Rights::default() };
    let free = super::gateway("fallback = []\n");
    let roster = &free.roster;
    let allows = |name: &str| roster.resolve(name).is_ok_and(|candidate| roster.allows(&rights, &candidate));
    assert_eq!(["ollama/qwen3-vl:8b", "ollama/x-Cloud", "ollama/cloudy"].map(allows), [true, false, true]);
}

#[tokio::test]
async fn what_the_vendor_says_of_coming_back_is_kept_for_credit_and_outages_too() {
    for (status, body, reason, at_least) in [
        (402, json!({"error": {"message": "no credit"}}), "out_of_credit", 7200),
        (429, json!({"error": {"code": "insufficient_quota", "message": "quota"}}), "out_of_credit", 7200),
        (503, json!({}), "throttled", 7100),
    ] {
        let a = Upstream::start([Play::json(status, &body).header("retry-after", "7200")]).await;
        let b = Upstream::start([says("b")]).await;
        let providers = format!("{}{}", provider("a", &a.url("/v1")), provider("b", &b.url("/v1")));
        let gateway = gateway(&format!("default = \"a\"\nfallback = [\"b\"]\n{providers}"));
        for _ in 0..3 {
            assert_eq!(ask(&gateway, &question("receipt.png")).await.expect("an answer")["text"], "b");
        }
        assert_eq!(a.calls(), 1, "{status}");
        let found = explained(&gateway, &question("receipt.png")).await;
        assert_eq!(found["skipped"][0]["reason"], reason, "{found}");
        let alone = Ask { fallback: Fallback::Never, ..for_model("a") };
        let failure = ask(&gateway, &alone).await.expect_err("it rests");
        assert!(failure.retry_after.is_some_and(|wait| wait >= Duration::from_secs(at_least)), "{failure:?}");
    }
}
