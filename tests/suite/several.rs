//! Comparisons and batches over HTTP: whole, as forms and as events, what they cost, and how many they take.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use vision_providers::testkit::{Play, Upstream};

use super::client::{data_uri, example_bytes, spoken, until};
use super::http::{JSON, locally};
use super::rest::{EVENTS, begins, config, says, server_of, serving};

#[tokio::test]
async fn models_are_compared_whole_and_as_a_form() {
    locally(async {
        let upstream = Upstream::start([says("TOTAL 25.41")]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let asked = json!({"image": data_uri("receipt.png"), "prompt": "Total?", "models": ["a", "b"], "expected": "TOTAL 25.41"});
        let answer = server.post_json("/v1/compare", "", &asked).await;
        let compared = |value: &Value| {
            assert_eq!((&value["answers"][0]["text"], &value["answers"][1]["score"]), (&json!("TOTAL 25.41"), &json!(1.0)), "{value}");
            assert_eq!((&value["answers"][1]["model_requested"], &value["agreement"]["mean"]), (&json!("b"), &json!(1.0)));
        };
        assert_eq!(answer.status, 200);
        compared(&answer.json());
        let receipt = example_bytes("receipt.png");
        let fields =
            [("image", Some("a.png"), &receipt[..]), ("prompt", None, b"Total?"), ("models", None, b"a, b"), ("expected", None, b"TOTAL 25.41")];
        compared(&server.post_form("/v1/compare", "", &fields).await.json());
    })
    .await;
}

#[tokio::test]
async fn a_comparison_is_told_model_by_model_while_it_is_answered() {
    locally(async {
        let slow = Play::events(spoken(&["TOTAL ", "25.41"])).after(Duration::from_millis(600));
        let first = Upstream::start([slow]).await;
        let second = Upstream::start([Play::events(spoken(&["TOTAL ", "25.47"]))]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let server = serving(folder.path(), &config(&first, &second, "")).await;
        let asked = json!({"image": data_uri("receipt.png"), "prompt": "Total?", "models": ["a", "b", "local"],
            "expected": "TOTAL 25.41"});
        let answer = server.post_json("/v1/compare", EVENTS, &asked).await;
        let events = answer.events();
        let said = |model: &str| -> String {
            let of_model = events.iter().filter(|(name, data)| name == "delta" && data["model"] == model);
            of_model.map(|(_, data)| data["text"].as_str().expect("text")).collect()
        };
        assert_eq!(
            (said("a").as_str(), said("b").as_str(), said("local").as_str()),
            ("TOTAL 25.41", "TOTAL 25.47", "")
        );
        let place = |wanted: &str, model: &str, member: &str| {
            events.iter().rposition(|(name, data)| name == wanted && data[member] == model).expect(wanted)
        };
        let results: Vec<&Value> = events.iter().filter(|(name, _)| name == "result").map(|(_, data)| data).collect();
        let order: Vec<_> = results.iter().map(|result| result["index"].as_u64().expect("a place")).collect();
        assert_eq!(order, [2, 1, 0], "each as soon as it is done: {events:?}");
        assert!(place("delta", "a", "model") < place("result", "a", "model_requested"));
        assert!(place("result", "b", "model_requested") < place("delta", "a", "model"), "nobody waits for another");
        let (name, whole) = events.last().expect("an end");
        assert_eq!((name.as_str(), &whole["answers"][0]["text"]), ("answer", &json!("TOTAL 25.41")));
        assert_eq!(whole["agreement"]["mean"], json!(0.909));
        assert_eq!(whole["answers"][2]["error"]["code"], "CAPABILITY_MISSING");
        for mut result in results.into_iter().cloned() {
            let place = result.as_object_mut().and_then(|members| members.remove("index")).expect("a place");
            let answers = whole["answers"].as_array().expect("answers").iter().zip(0_u64..);
            assert_eq!(answers.filter(|(_, at)| place == *at).map(|(it, _)| it).collect::<Vec<_>>(), [&result]);
        }
        let alone = json!({"image": data_uri("qr.png"), "models": ["a"]});
        let refused = server.post_json("/v1/compare", EVENTS, &alone).await;
        assert_eq!(refused.status, 400, "what is refused beforehand says so by its status");
    })
    .await;
}

#[tokio::test]
async fn a_comparison_asks_anew_unless_it_is_told_to_remember() {
    locally(async {
        let upstream = Upstream::start([says("Seen.")]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let mut asked = json!({"image": data_uri("qr.png"), "prompt": "What?", "models": ["a", "b"]});
        for (cache, calls, cached) in
            [(None, 2, false), (None, 4, false), (Some("use"), 6, false), (Some("use"), 6, true), (None, 8, false)]
        {
            asked["cache"] = json!(cache);
            let answers = server.post_json("/v1/compare", "", &asked).await.json()["answers"].clone();
            assert_eq!((&answers[0]["cached"], &answers[1]["cached"]), (&json!(cached), &json!(cached)), "{answers}");
            assert_eq!(upstream.calls(), calls, "{cache:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_comparison_that_may_cost_more_than_it_should_asks_nobody() {
    locally(async {
        let upstream = Upstream::start([says("Seen.")]).await;
        let (_folder, server) = server_of(&upstream, &(priced("a") + &priced("b"))).await;
        // An image of 1000 tokens and 1000 tokens of an answer: more than $0.003 each.
        let mut asked =
            json!({"image": data_uri("qr.png"), "prompt": "What?", "models": ["a", "b"], "max_output_tokens": 1000});
        for (limit, status, code) in [
            (json!(0.006), 402, "BUDGET_EXCEEDED"),
            (json!(0), 402, "BUDGET_EXCEEDED"),
            (json!(-1), 400, "INVALID_INPUT"),
            (json!("much"), 400, "INVALID_INPUT"),
        ] {
            asked["max_cost_usd"] = limit;
            let refused = server.post_json("/v1/compare", EVENTS, &asked).await;
            assert_eq!((refused.status, refused.code().as_str()), (status, code), "{}", refused.text());
        }
        assert_eq!(upstream.calls(), 0);
        // A call that breaks off may be made again and billed twice, at its likely length.
        asked["max_cost_usd"] = json!("0.0075");
        let value = server.post_json("/v1/compare", "", &asked).await.json();
        let costs = value["answers"].as_array().expect("answers").iter().filter_map(|it| it["cost_usd"].as_f64());
        // 1210 tokens in and 96 out, twice.
        assert_eq!((costs.collect::<Vec<_>>(), &value["cost_usd"]), (vec![0.001_402; 2], &json!(0.002_804)), "{value}");
        // Without a price nobody can tell, but what cannot be asked costs nothing.
        let (_folder, server) = server_of(&upstream, &priced("a")).await;
        let refused = server.post_json("/v1/compare", "", &asked).await;
        assert_eq!(refused.code(), "BUDGET_EXCEEDED");
        let message = refused.json()["error"]["message"].to_string();
        assert!(message.contains("what b costs is not known"), "{message}");
        asked["models"] = json!(["a", "local"]);
        let value = server.post_json("/v1/compare", "", &asked).await.json();
        assert_eq!(value["answers"][1]["error"]["code"], "CAPABILITY_MISSING", "{value}");
        assert_eq!(upstream.calls(), 3);
    })
    .await;
}

#[tokio::test]
async fn as_many_models_are_compared_as_the_operator_allows() {
    locally(async {
        let upstream = Upstream::start([says("Seen.")]).await;
        let (_folder, server) = server_of(&upstream, "[compare]\nmax_models = 2\n").await;
        let mut asked = json!({"image": data_uri("qr.png"), "prompt": "What?", "models": ["a", "b", "local"]});
        let refused = server.post_json("/v1/compare", "", &asked).await;
        let message = refused.json()["error"]["message"].to_string();
        assert!(refused.status == 400 && message.contains("from 2 to 2"), "{message}");
        let listed = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
        let (_, listed) = server.post(JSON, &listed).await;
        assert!(listed.to_string().contains("2 to 2 names"), "{listed}");
        asked["models"] = json!((0..9).map(|number| format!("a/m{number}")).collect::<Vec<_>>());
        let (_folder, server) = server_of(&upstream, "[compare]\nmax_models = 9\n").await;
        let value = server.post_json("/v1/compare", "", &asked).await.json();
        assert_eq!(value["answers"].as_array().map(Vec::len), Some(9), "{value}");
    })
    .await;
}

#[tokio::test]
async fn leaving_a_comparison_leaves_every_vendor() {
    locally(async {
        let (first, second) = (Upstream::start([begins("A rec")]).await, Upstream::start([Play::Silence]).await);
        let folder = tempfile::tempdir().expect("a folder");
        let server = serving(folder.path(), &config(&first, &second, "")).await;
        let asked = json!({"image": data_uri("qr.png"), "prompt": "What?", "models": ["a", "b"]}).to_string();
        let mut stream = server.begin("POST /v1/compare", EVENTS, asked.as_bytes()).await;
        until(&mut stream, "A rec").await;
        while second.calls() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        drop(stream);
        for upstream in [first, second] {
            assert!(upstream.has_been_left(1, Duration::from_secs(1)).await, "a vendor was left hanging");
        }
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_answered_whole_or_item_by_item() {
    locally(async {
        let upstream = Upstream::start([Play::decide(|received, _| {
            let slow = received.body.to_string().contains("Slowly?");
            let pause = Duration::from_millis(if slow { 600 } else { 0 });
            Play::Late(pause, Box::new(says(if slow { "Slow." } else { "Quick." })))
        })])
        .await;
        let (_folder, server) = server_of(&upstream, "").await;
        let image = data_uri("qr.png");
        let items = json!([{"image": image, "prompt": "Slowly?"}, {"image": image}, {"image": "/etc/passwd"}]);
        let asked = json!({"items": items, "prompt": "Quickly?", "cache": "bypass"});
        let value = server.post_json("/v1/batch", "", &asked).await.json();
        assert_eq!((&value["succeeded"], &value["failed"]), (&json!(2), &json!(1)), "{value}");
        let texts = value["items"].as_array().expect("items").iter().map(|item| item["text"].clone());
        assert_eq!(texts.collect::<Vec<_>>(), [json!("Slow."), json!("Quick."), Value::Null]);
        assert_eq!(value["items"][2]["error"]["code"], "UNSAFE_PATH");
        let events = server.post_json("/v1/batch", EVENTS, &asked).await.events();
        let (last, items) = events.split_last().expect("events");
        let mut order: Vec<u64> = items.iter().filter_map(|(_, data)| data["index"].as_u64()).collect();
        assert_eq!((items.len(), order.last()), (3, Some(&0)), "the slow one comes last: {events:?}");
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2]);
        assert!(items.iter().all(|(name, _)| name == "item"));
        assert_eq!((last.0.as_str(), &last.1["succeeded"], &last.1["failed"]), ("answer", &json!(2), &json!(1)));
        let (one, two) = (example_bytes("qr.png"), example_bytes("receipt.png"));
        let fields = [("a", Some("1.png"), &one[..]), ("b", Some("2.png"), &two[..]), ("prompt", None, b"Quickly?")];
        let value = server.post_form("/v1/batch", "", &fields).await.json();
        assert_eq!((&value["succeeded"], &value["items"][1]["text"]), (&json!(2), &json!("Quick.")), "{value}");
        let fields =
            [("a", Some("1.txt"), &b"no picture"[..]), ("b", Some("2.png"), &two), ("prompt", None, b"Quickly?")];
        let value = server.post_form("/v1/batch", "", &fields).await.json();
        assert_eq!((&value["succeeded"], &value["failed"]), (&json!(1), &json!(1)), "{value}");
        assert_eq!(value["items"][0]["error"]["code"], "UNSUPPORTED_FORMAT");
        assert_eq!(value["items"][1]["text"], "Quick.");
    })
    .await;
}

/// A card of a model for this provider: an image is 1000 tokens, and a token costs $1 or $2 a million.
fn priced(provider: &str) -> String {
    format!(
        "[[providers.{provider}.models]]\nid = \"m\"\ntokens = {{ rule = \"flat\", tokens = 1000 }}\n\
         price = {{ input = 1.0, output = 2.0 }}\n"
    )
}

#[tokio::test]
async fn what_a_batch_has_no_time_for_is_not_asked_and_what_was_cut_is_in_its_cost() {
    locally(async {
        let upstream = Upstream::start([Play::decide(|received, _| {
            if received.body.to_string().contains("Quick") { says("Quick.") } else { Play::Silence }
        })])
        .await;
        let (_folder, server) = server_of(&upstream, &format!("[deadline]\ntotal = \"2s\"\n{}", priced("a"))).await;
        let image = data_uri("qr.png");
        // Equal questions would be one call.
        let silent = (0..9).map(|number| json!({"image": image, "prompt": format!("Number {number}?")}));
        let items: Vec<_> = std::iter::once(json!({"image": image, "prompt": "Quick?"})).chain(silent).collect();
        let began = Instant::now();
        let value = server.post_json("/v1/batch", "", &json!({"items": items})).await.json();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!((&value["succeeded"], &value["failed"]), (&json!(1), &json!(9)), "{value}");
        assert_eq!(upstream.calls(), 9, "eight at once, one after the quick one, and nobody after that");
        let items = value["items"].as_array().expect("items");
        assert_eq!(items[0]["cost_usd"], json!(0.001_402));
        for item in &items[1..] {
            let error = &item["error"];
            assert_eq!((&error["code"], &error["retryable"]), (&json!("UPSTREAM_TIMEOUT"), &json!(true)), "{item}");
            assert_eq!(error["advice"], "ask for this item again, with fewer others");
        }
        assert!(items[9].get("cost_usd").is_none(), "it was never asked: {value}");
        // 1000 tokens of the image, some words, and 400 tokens of an answer.
        let cut = items[1]["cost_usd"].as_f64().expect("an estimate");
        assert!((0.0018..0.002).contains(&cut), "{cut}");
        let sum: f64 = items.iter().filter_map(|item| item["cost_usd"].as_f64()).sum();
        assert!((value["cost_usd"].as_f64().expect("a sum") - sum).abs() < 1e-9, "{value}");
        assert!(value["warnings"][0].as_str().is_some_and(|it| it.contains("is an estimate")), "{value}");
    })
    .await;
}

#[tokio::test]
async fn an_item_that_begins_late_leaves_time_for_who_comes_next() {
    locally(async {
        let pause = Duration::from_millis(1500);
        let first = Upstream::start([Play::decide(move |received, _| {
            if received.body.to_string().contains("Last") { Play::Silence } else { says("Slow.").after(pause) }
        })])
        .await;
        let second = Upstream::start([says("From b.")]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let toml =
            config(&first, &second, "[deadline]\ntotal = \"4s\"\n").replace("fallback = []", "fallback = [\"b\"]");
        let server = serving(folder.path(), &toml).await;
        let image = data_uri("qr.png");
        let slow = (0..8).map(|number| json!({"image": image, "prompt": format!("Number {number}?")}));
        let items: Vec<_> = slow.chain([json!({"image": image, "prompt": "Last?"})]).collect();
        let value = server.post_json("/v1/batch", "", &json!({"items": items})).await.json();
        assert_eq!((&value["succeeded"], &value["items"][8]["text"]), (&json!(9), &json!("From b.")), "{value}");
    })
    .await;
}

#[tokio::test]
async fn what_is_said_for_all_items_is_said_once() {
    locally(async {
        let upstream = Upstream::start([says("Seen.")]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let image = data_uri("qr.png");
        // A hundred copies of it would be gigabytes.
        let asked = json!({"items": vec![json!({"image": image}); 100], "prompt": "x".repeat(20 << 20)});
        let began = Instant::now();
        let answer = server.post_json("/v1/batch", "", &asked).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "INVALID_INPUT"), "{:?}", began.elapsed());
        // An item's own words come first, whatever they are called.
        let asked = json!({"items": [{"image": image, "max_tokens": 5, "question": "Own?"}], "max_output_tokens": 50, "prompt": "All?"});
        assert_eq!(server.post_json("/v1/batch", "", &asked).await.status, 200);
        let sent = upstream.received().remove(0).body;
        assert_eq!(sent["max_tokens"], 5, "{sent:.300}");
        assert!(sent.to_string().contains("Own?") && !sent.to_string().contains("All?"));
    })
    .await;
}
