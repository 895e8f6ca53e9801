//! The tools beside `analyze_image`, and what MCP offers beside tools, as a client on pipes meets them.

use serde_json::{Value, json};
use vision_providers::testkit::{Play, Then, Upstream};

use super::mcp::{Client, analyze};
use super::{completion, example};

/// A client of a server with two models that answer at these addresses, in this order of preference.
async fn client_of(first: &Upstream, second: &Upstream) -> Client {
    let mut client = Client::start(&[
        ("MISTRAL_API_KEY", "key-for-a-test".into()),
        ("VISIONGATE_PROVIDERS__PIXTRAL__BASE_URL", first.url("/v1")),
        ("OPENAI_API_KEY", "key-for-a-test".into()),
        ("VISIONGATE_PROVIDERS__OPENAI__BASE_URL", second.url("/v1")),
        ("VISIONGATE_FALLBACK", "[\"openai\"]".into()),
    ]);
    client.shake_hands().await;
    client
}

async fn tool(client: &mut Client, name: &str, arguments: Value) -> Value {
    client.call(5, "tools/call", json!({"name": name, "arguments": arguments})).await["result"].clone()
}

#[tokio::test]
async fn models_are_compared_side_by_side_and_one_that_fails_is_shown_as_such() {
    let first = Upstream::start([Play::json(200, &completion("TOTAL 25.41"))]).await;
    let second = Upstream::start([Play::json(200, &completion("TOTAL 25.47"))]).await;
    let mut client = client_of(&first, &second).await;
    let asked = json!({"image": example("receipt.png"), "prompt": "What is the total?",
        "models": ["pixtral", "openai", "local"], "expected": "TOTAL 25.41"});
    let result = tool(&mut client, "compare_models", asked).await;
    assert_ne!(result["isError"], true, "{result}");
    let answers = &result["structuredContent"]["answers"];
    assert_eq!((&answers[0]["text"], &answers[0]["score"]), (&json!("TOTAL 25.41"), &json!(1.0)));
    assert_eq!((&answers[1]["text"], &answers[1]["score"]), (&json!("TOTAL 25.47"), &json!(0.909)));
    assert_eq!(answers[2]["error"]["code"], "CAPABILITY_MISSING");
    assert_eq!(answers[2]["model_requested"], "local");
    let agreement = &result["structuredContent"]["agreement"];
    assert_eq!(
        agreement["pairs"],
        json!([{"models": ["pixtral", "openai"], "similarity": 0.909, "by": "edits",
        "differences": [{"texts": ["25.41", "25.47"]}]}])
    );
    let text = result["content"][0]["text"].as_str().expect("text");
    assert!(
        text.contains("## pixtral") && text.contains("TOTAL 25.47") && text.contains("## local: CAPABILITY_MISSING")
    );
    assert!(result["_meta"]["accounts"]["openai"]["route"]["attempts"][0]["outcome"] == "ok", "{result}");
    let (mistral, openai) = (first.received(), second.received());
    assert_eq!((mistral.len(), openai.len()), (1, 1), "each is asked once, and nobody in another's place");
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_before_anybody_is_asked() {
    let upstream = Upstream::start([]).await;
    let mut client = client_of(&upstream, &upstream).await;
    let image = example("qr.png");
    for (models, code) in [
        (json!(["pixtral"]), "INVALID_INPUT"),
        (json!(["pixtral", "pixtral"]), "INVALID_INPUT"),
        (json!(["pixtral", "pixtral/mistral-medium-latest"]), "INVALID_INPUT"),
        (json!(["pixtral", "nobody"]), "MODEL_NOT_FOUND"),
        (json!("pixtral"), "INVALID_INPUT"),
        (json!([1, 2]), "INVALID_INPUT"),
    ] {
        let result = tool(&mut client, "compare_models", json!({"image": image, "models": models})).await;
        assert_eq!(result["structuredContent"]["error"]["code"], code, "{models}: {result}");
    }
    assert_eq!(upstream.calls(), 0);
}

#[tokio::test]
async fn a_batch_has_one_outcome_for_each_item_in_order() {
    let upstream = Upstream::start([Play::decide(|received, _| {
        let text = received.body.to_string();
        let said = if text.contains("How many?") { "Two." } else { "A cat." };
        Play::json(200, &completion(said))
    })])
    .await;
    let mut client = client_of(&upstream, &upstream).await;
    let items = json!([
        {"image": example("receipt.png")},
        {"image": "/nonexistent/x.png"},
        {"image": example("qr.png"), "question": "How many?"},
        {"image": example("receipt.png")}
    ]);
    let result =
        tool(&mut client, "analyze_batch", json!({"items": items, "prompt": "What?", "model": "pixtral"})).await;
    let answer = &result["structuredContent"];
    assert_eq!((&answer["succeeded"], &answer["failed"]), (&json!(3), &json!(1)), "{result}");
    let items = answer["items"].as_array().expect("items");
    assert_eq!(
        items.iter().map(|item| item["index"].as_u64()).collect::<Vec<_>>(),
        [Some(0), Some(1), Some(2), Some(3)]
    );
    assert_eq!((&items[0]["text"], &items[2]["text"]), (&json!("A cat."), &json!("Two.")));
    assert_eq!(items[1]["error"]["code"], "UNSAFE_PATH");
    assert_eq!(upstream.calls(), 2, "equal items are one call");
    assert_ne!(items[0]["cached"], items[3]["cached"], "and one bill, whoever has it: {answer}");
    let costs: Vec<f64> = items.iter().filter_map(|item| item["cost_usd"].as_f64()).collect();
    assert!((answer["cost_usd"].as_f64().expect("a cost") - costs.iter().sum::<f64>()).abs() < 1e-9, "{answer}");
    assert!(costs.contains(&0.0), "{costs:?}");
    let wrong = tool(&mut client, "analyze_batch", json!({"items": [{"imgae": "x"}]})).await;
    let message = wrong["structuredContent"]["error"]["message"].as_str().expect("a message");
    assert!(message.contains("item 0: there is no argument called `imgae`"), "{message}");
}

#[tokio::test]
async fn a_conversation_is_passed_on_as_it_is() {
    let upstream = Upstream::start([Play::json(200, &completion("Blue."))]).await;
    let mut client = client_of(&upstream, &upstream).await;
    let messages = json!([
        {"role": "system", "content": "One word."},
        {"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": example("qr.png"), "detail": "low"}}]},
        {"role": "assistant", "content": "A code."},
        {"role": "user", "content": "Which colour?"}
    ]);
    let asked = json!({"messages": messages, "temperature": 0.5, "top_p": 0.9, "seed": 7, "max_tokens": 50});
    let result = tool(&mut client, "vision_chat", asked).await;
    let answer = &result["structuredContent"];
    assert_eq!((&answer["task"], &answer["text"]), (&json!("chat"), &json!("Blue.")), "{result}");
    assert_eq!((&answer["finish_reason"], &answer["model"]), (&json!("stop"), &json!("mistral-medium-2604")));
    assert_eq!(answer["usage"], json!({"input_tokens": 1210, "output_tokens": 96}));
    let sent = upstream.received().remove(0).body;
    let turns = sent["messages"].as_array().expect("messages");
    let roles: Vec<&str> = turns.iter().filter_map(|turn| turn["role"].as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    assert_eq!(turns[0]["content"], "One word.", "without words of ours");
    assert_eq!(turns[1]["content"][0], json!({"type": "text", "text": "What is this?"}));
    assert!(turns[1]["content"][1]["image_url"].to_string().contains("data:image/png;base64,"), "{}", turns[1]);
    assert!(turns[3].to_string().contains("Which colour?"), "{}", turns[3]);
    assert_eq!((&sent["temperature"], &sent["top_p"], &sent["random_seed"]), (&json!(0.5), &json!(0.9), &json!(7)));
    assert_eq!(sent["max_tokens"], 50);
    assert_eq!(answer["warnings"], json!([]));
    let mut later = messages.as_array().expect("messages").clone();
    later.swap(0, 1);
    let answer = tool(&mut client, "vision_chat", json!({"messages": later})).await["structuredContent"].clone();
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("of the system") && warnings.contains("moved to its beginning"), "{warnings}");
    assert_eq!(upstream.received().remove(1).body["messages"][0]["content"], "One word.");
    let refused = tool(&mut client, "vision_chat", json!({"messages": [{"role": "tool", "content": "x"}]})).await;
    assert_eq!(refused["structuredContent"]["error"]["code"], "INVALID_INPUT");
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn a_conversation_needs_no_image_and_its_last_word_is_the_users() {
    let upstream = Upstream::start([Play::json(200, &completion("Hello."))]).await;
    let mut client = client_of(&upstream, &upstream).await;
    let hello = json!({"role": "user", "content": "Hello?"});
    let result = tool(&mut client, "vision_chat", json!({"messages": [hello]})).await;
    assert_eq!(result["structuredContent"]["text"], "Hello.", "{result}");
    let last = json!([hello, {"role": "assistant", "content": "Yes"}]);
    let result = tool(&mut client, "vision_chat", json!({"messages": last})).await;
    assert_eq!(result["structuredContent"]["error"]["code"], "INVALID_INPUT", "{result}");
}

#[tokio::test]
async fn who_watches_sees_the_answer_come_and_another_model_may_begin_anew() {
    let event = |text: &str| format!("data: {}\n\n", json!({"choices": [{"delta": {"content": text}}]})).into_bytes();
    let kind = vec![("content-type", "text/event-stream".to_owned())];
    let half = Play::Pieces(kind.clone(), vec![event("A rec")], Then::Hang);
    let first = Upstream::start([half]).await;
    let end = json!({"choices": [{"delta": {}, "finish_reason": "stop"}], "model": "m"});
    let end = format!("data: {end}\n\ndata: [DONE]\n\n").into_bytes();
    let second = Upstream::start([Play::Pieces(kind, vec![event("A receipt of tea."), end], Then::End)]).await;
    let mut client = Client::start(&[
        ("MISTRAL_API_KEY", "key-for-a-test".into()),
        ("VISIONGATE_PROVIDERS__PIXTRAL__BASE_URL", first.url("/v1")),
        ("OPENAI_API_KEY", "key-for-a-test".into()),
        ("VISIONGATE_PROVIDERS__OPENAI__BASE_URL", second.url("/v1")),
        ("VISIONGATE_FALLBACK", "[\"openai\"]".into()),
        ("VISIONGATE_DEADLINE__IDLE", "2s".into()),
    ]);
    client.shake_hands().await;
    let mut params = analyze(&json!({"image": example("receipt.png"), "prompt": "What is this?"}));
    params["_meta"] = json!({"progressToken": 3});
    client.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})).await;
    let mut seen = Vec::new();
    let answer = loop {
        let message = client.next().await;
        if message["id"] == 1 {
            break message;
        }
        seen.push(message["params"]["message"].as_str().expect("words").to_owned());
    };
    assert!(seen.iter().any(|words| words == "A rec"), "{seen:?}");
    assert_eq!(answer["result"]["structuredContent"]["text"], "A receipt of tea.", "{answer}");
    let warnings = answer["result"]["structuredContent"]["warnings"].to_string();
    assert!(warnings.contains("failed (timed_out): openai/"), "{warnings}");
}

#[tokio::test]
async fn who_watches_a_comparison_is_told_how_many_models_are_done() {
    let first = Upstream::start([Play::json(200, &completion("TOTAL 25.41"))]).await;
    let slow = Play::json(200, &completion("TOTAL 25.47")).after(std::time::Duration::from_millis(1500));
    let second = Upstream::start([slow]).await;
    let mut client = client_of(&first, &second).await;
    let arguments =
        json!({"image": example("receipt.png"), "prompt": "Total?", "models": ["pixtral", "openai", "local"]});
    let params = json!({"name": "compare_models", "arguments": arguments, "_meta": {"progressToken": 3}});
    client.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})).await;
    let mut seen = Vec::new();
    let answer = loop {
        let message = client.next().await;
        if message["id"] == 1 {
            break message;
        }
        seen.push(message["params"]["message"].as_str().expect("words").to_owned());
    };
    let last = seen.last().expect("progress");
    assert!(last.ends_with("1 of 3 models answered, 1 failed"), "{seen:?}");
    assert_eq!(answer["result"]["structuredContent"]["answers"][1]["text"], "TOTAL 25.47", "{answer}");
    assert_eq!(second.received()[0].body["stream"], false, "who only counts needs no stream");
}

#[tokio::test]
async fn an_attachment_of_a_chat_program_takes_the_place_of_what_its_model_wrote() {
    let mut client = Client::start(&[]);
    client.shake_hands().await;
    let listed = client.call(1, "tools/list", json!({})).await;
    assert_eq!(listed["result"]["tools"][0]["_meta"]["openai/fileParams"], json!(["file"]));
    let file = json!({"download_url": "https://127.0.0.1/secret.png", "file_id": "f1", "mime_type": "image/png"});
    let result = tool(&mut client, "analyze_image", json!({"image": "sandbox:/mnt/data/a.png", "file": file})).await;
    assert_eq!(result["structuredContent"]["error"]["code"], "URL_BLOCKED", "its address is guarded as any: {result}");
    let result = tool(&mut client, "analyze_image", json!({"file": {"file_id": "f1"}})).await;
    assert_eq!(result["structuredContent"]["error"]["code"], "INVALID_INPUT", "{result}");
}

#[tokio::test]
async fn prompts_ask_the_assistant_to_use_the_tools() {
    let mut client = Client::start(&[]);
    client.shake_hands().await;
    let listed = client.call(1, "prompts/list", json!({})).await["result"]["prompts"].clone();
    let names: Vec<&str> = listed.as_array().expect("prompts").iter().filter_map(|it| it["name"].as_str()).collect();
    let built_in = ["describe", "extract_text", "compare_images", "compare_models"];
    let shipped = ["alt_text", "chart", "contract", "invoice", "moderate", "product_tags", "ui"];
    assert_eq!(names, [&built_in[..], &shipped[..]].concat());
    let get = |name: &str, arguments: Value| json!({"name": name, "arguments": arguments});
    let said = async |client: &mut Client, params: Value| {
        let answer = client.call(2, "prompts/get", params).await;
        answer["result"]["messages"][0]["content"]["text"].as_str().unwrap_or_default().to_owned()
    };
    let text = said(&mut client, get("invoice", json!({"image": "/tmp/a \"b\".png", "model": "local"}))).await;
    assert!(
        text.contains(r#"Call analyze_image with image "/tmp/a \"b\".png", task "invoice", model "local""#),
        "{text}"
    );
    let text = said(&mut client, get("compare_images", json!({"image": "/a.png", "other_image": "/b.png"}))).await;
    assert!(text.contains(r#"image "/a.png", more_images ["/b.png"]"#), "{text}");
    for (name, arguments) in
        [("invoice", json!({})), ("compare_images", json!({"image": "/a.png"})), ("sing", json!({}))]
    {
        let refused = client.call(3, "prompts/get", get(name, arguments)).await;
        assert_eq!(refused["error"]["code"], -32602, "{name}: {refused}");
    }
}

#[tokio::test]
async fn resources_tell_of_models_and_health_and_nothing_else() {
    let mut client = Client::start(&[]);
    client.shake_hands().await;
    let listed = client.call(1, "resources/list", json!({})).await["result"]["resources"].clone();
    assert_eq!((&listed[0]["uri"], &listed[1]["uri"]), (&json!("vision://models"), &json!("vision://health")));
    let templates = client.call(2, "resources/templates/list", json!({})).await["result"]["resourceTemplates"].clone();
    assert_eq!(templates[0]["uriTemplate"], "vision://models/{provider}");
    let read = async |client: &mut Client, uri: &str| client.call(3, "resources/read", json!({"uri": uri})).await;
    let text = |answer: &Value| -> Value {
        serde_json::from_str(answer["result"]["contents"][0]["text"].as_str().expect("text")).expect("JSON")
    };
    let models = read(&mut client, "vision://models").await;
    assert_eq!(text(&models)["default"], "pixtral");
    let local = read(&mut client, "vision://models/local").await;
    assert_eq!(text(&local)["models"][0]["model"], "local/tesseract");
    let health = read(&mut client, "vision://health").await;
    assert_eq!(text(&health)["pixtral"]["state"], "no_key");
    for uri in ["vision://models/nobody", "vision://images/img_0123456789abcdefgh", "file:///etc/passwd", ""] {
        let missing = read(&mut client, uri).await;
        assert_eq!(
            (&missing["error"]["code"], &missing["error"]["data"]["uri"]),
            (&json!(-32002), &json!(uri)),
            "{missing}"
        );
    }
}

#[tokio::test]
async fn names_are_completed_while_they_are_typed() {
    let mut client = Client::start(&[("MISTRAL_API_KEY", "key-for-a-test".into())]);
    client.shake_hands().await;
    let mut complete = async |reference: Value, name: &str, value: &str| {
        let params = json!({"ref": reference, "argument": {"name": name, "value": value}});
        client.call(1, "completion/complete", params).await["result"]["completion"].clone()
    };
    let prompt = |name: &str| json!({"type": "ref/prompt", "name": name});
    let values = complete(prompt("describe"), "model", "pix").await["values"].clone();
    assert_eq!(values[0], "pixtral");
    assert!(values.as_array().expect("values").iter().any(|it| it == "pixtral/mistral-medium-latest"), "{values}");
    assert_eq!(complete(prompt("compare_models"), "models", "local,by").await["values"], json!(["local,by-turns"]));
    assert_eq!(complete(prompt("compare_models"), "task", "inv").await["values"], json!(["invoice"]));
    let template = json!({"type": "ref/resource", "uri": "vision://models/{provider}"});
    assert_eq!(complete(template, "provider", "loc").await["values"], json!(["local"]));
    assert_eq!(complete(prompt("nobody"), "model", "").await["values"], json!([]));
}
