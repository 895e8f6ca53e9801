//! Mistral's dialect: the bodies it is sent, the forms of its answers, and each of its ways to say no.

use std::sync::Arc;

use serde_json::{Value, json};
use vision_providers::answer::{Finish, Usage};
use vision_providers::error::{Error, ErrorKind, Retry};
use vision_providers::request::{Output, Sampling, Schema, Task, VisionRequest};
use vision_providers::testkit::{Expected, Play, Upstream, about, behaves, ctx, image, request};

use super::{KEY, PATIENCE, completion, provider};

const MODEL: &str = "mistral-medium-latest";

async fn ask(plays: Vec<Play>, req: &VisionRequest) -> (Result<vision_providers::answer::Answer, Error>, Upstream) {
    let upstream = Upstream::start(plays).await;
    let provider = provider("pixtral", &upstream, MODEL);
    (provider.complete(&ctx(PATIENCE), req).await, upstream)
}

async fn outcome(play: Play) -> Result<vision_providers::answer::Answer, Error> {
    ask(vec![play], &request(MODEL, Task::Ask)).await.0
}

fn described() -> VisionRequest {
    let schema = json!({"type": "object", "properties": {"description": {"type": "string"}}, "required": ["description"],
        "additionalProperties": false});
    let mut req = request(MODEL, Task::Describe);
    req.system = Some("Be brief.".into());
    req.output = Output::Json(Schema { name: "describe".into(), value: Arc::new(schema) });
    req.sampling = Sampling {
        temperature: Some(0.2),
        top_p: Some(0.9),
        seed: Some(7),
        max_output_tokens: Some(600),
        stop: vec!["###".into()],
        ..Sampling::default()
    };
    req.messages = vec![about(vec![image(32, 32, 1), image(20, 20, 9)], "What are these?")];
    req
}

#[tokio::test]
async fn the_provider_behaves() {
    let answer = completion(&json!(r#"{"description":"a cat","detected_text":""}"#));
    let upstream = Upstream::start([Play::json(200, &answer)]).await;
    let provider = provider("pixtral", &upstream, MODEL);
    behaves(&provider, Expected { secret: KEY, calls: &|| upstream.calls() }).await;
}

#[tokio::test]
async fn a_request_holds_mistrals_own_fields_and_nothing_else() {
    let (answered, upstream) = ask(vec![Play::json(200, &completion(&json!("fine")))], &described()).await;
    answered.expect("an answer");
    let received = upstream.received().remove(0);
    assert_eq!(received.line, "POST /v1/chat/completions");
    assert!(received.headers.contains(&format!("authorization: bearer {KEY}")));
    assert!(received.headers.contains("content-type: application/json"));
    insta::assert_json_snapshot!("pixtral_describe", received.body);
}

#[tokio::test]
async fn a_bare_question_sends_no_defaults_of_ours() {
    let (_, upstream) = ask(vec![Play::json(200, &completion(&json!("fine")))], &request(MODEL, Task::Ask)).await;
    insta::assert_json_snapshot!("pixtral_ask", upstream.received()[0].body);
}

#[tokio::test]
async fn an_answer_gives_text_model_and_usage() {
    let answer = outcome(Play::json(200, &completion(&json!("a cat")))).await.expect("an answer");
    assert_eq!((answer.text.as_str(), answer.model.as_str()), ("a cat", "mistral-medium-2604"));
    let usage = Usage { input_tokens: 1210, output_tokens: 96, ..Usage::default() };
    assert_eq!((answer.usage, answer.finish), (Some(usage), Finish::Stop));
}

#[tokio::test]
async fn chunks_are_joined_and_thoughts_left_out() {
    let chunks = json!([
        {"type": "thinking", "thinking": [{"type": "text", "text": "hmm"}]},
        {"type": "text", "text": "a "}, {"type": "text", "text": "cat"}, {"type": "reference", "reference_ids": [1]}
    ]);
    assert_eq!(outcome(Play::json(200, &completion(&chunks))).await.expect("an answer").text, "a cat");
}

#[tokio::test]
async fn odd_but_harmless_members_do_not_lose_an_answer() {
    let mut odd = completion(&json!("<think>let me {see}</think>\n\na cat"));
    odd["choices"][0]["message"]["refusal"] = json!(false);
    odd["choices"][0]["finish_reason"] = json!(3);
    odd["service_tier"] = json!({"nested": [1]});
    assert_eq!(outcome(Play::json(200, &odd)).await.expect("an answer").text, "a cat");
    let endless = completion(&json!("<think>still thinking"));
    assert_eq!(outcome(Play::json(200, &endless)).await.expect_err("nothing said").kind(), ErrorKind::Empty);
}

#[tokio::test]
async fn a_notice_of_retirement_becomes_a_warning() {
    let play = Play::json(200, &completion(&json!("fine"))).header("x-model-deprecation-timestamp", "1803859200");
    let warnings = outcome(play).await.expect("an answer").warnings;
    assert_eq!(warnings, [format!("the vendor will retire {MODEL} on 2027-03-01: choose a successor")]);
}

#[tokio::test]
async fn each_way_to_say_nothing_is_an_error_of_its_own() {
    let with = |finish: &str, content: Value| {
        let mut answer = completion(&content);
        answer["choices"][0]["finish_reason"] = json!(finish);
        answer
    };
    let cases = [
        (json!({"choices": []}), ErrorKind::Empty),
        (json!({"id": "x"}), ErrorKind::Garbled),
        (completion(&json!("")), ErrorKind::Empty),
        (completion(&json!(null)), ErrorKind::Empty),
        (completion(&json!([])), ErrorKind::Empty),
        (completion(&json!(7)), ErrorKind::Garbled),
        (json!([]), ErrorKind::Garbled),
        (json!(null), ErrorKind::Garbled),
        (with("length", json!("")), ErrorKind::Truncated),
        (with("model_length", json!(null)), ErrorKind::Truncated),
        (with("content_filter", json!("")), ErrorKind::Refused),
        (with("error", json!("half")), ErrorKind::Unavailable),
        (with("tool_calls", json!(null)), ErrorKind::Empty),
        (json!({"error": {"message": "overloaded", "code": 503}}), ErrorKind::Unavailable),
        (json!({"error": {"message": "slow down", "code": 429}}), ErrorKind::RateLimited),
        (json!({"error": "gone"}), ErrorKind::Unavailable),
    ];
    for (body, expected) in cases {
        let error = outcome(Play::json(200, &body)).await.expect_err(&body.to_string());
        assert_eq!(error.kind(), expected, "{body}");
    }
    let mut refusal = completion(&json!(null));
    refusal["choices"][0]["message"]["refusal"] = json!("I must not");
    assert_eq!(outcome(Play::json(200, &refusal)).await.expect_err("a refusal").kind(), ErrorKind::Refused);
}

#[tokio::test]
async fn an_answer_that_was_cut_is_said_to_be_cut() {
    let mut answer = completion(&json!("half an ans"));
    answer["choices"][0]["finish_reason"] = json!("length");
    assert_eq!(outcome(Play::json(200, &answer)).await.expect("an answer").finish, Finish::Length);
}

/// The six shapes, and the replies of gateways in front, as section 4.5 of our notes on vendors lists them
/// (2026-11-20).
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of data")]
async fn every_shape_of_error_is_understood() {
    let later = |wait: Option<u64>| Retry::Later(wait.map(std::time::Duration::from_secs));
    let extra = json!([{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 7}]);
    let cases = [
        (
            400,
            json!({"object": "error", "message": "Invalid model: pixtral-large-latest", "type": "invalid_model", "param": null, "code": "1500"}),
            ErrorKind::UnknownModel,
            Retry::Never,
            "Invalid model: pixtral-large-latest",
        ),
        (
            429,
            json!({"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "param": null, "code": "1300", "raw_status_code": 429}),
            ErrorKind::RateLimited,
            later(None),
            "Rate limit exceeded",
        ),
        (
            429,
            json!({"message": "Requests rate limit exceeded"}),
            ErrorKind::RateLimited,
            later(None),
            "Requests rate limit exceeded",
        ),
        (
            401,
            json!({"message": "Unauthorized", "request_id": "0b6f"}),
            ErrorKind::Unauthorized,
            Retry::Never,
            "Unauthorized",
        ),
        (401, json!({"detail": "Unauthorized"}), ErrorKind::Unauthorized, Retry::Never, "Unauthorized"),
        (
            422,
            json!({"detail": extra}),
            ErrorKind::InvalidRequest,
            Retry::Never,
            "body.seed: Extra inputs are not permitted",
        ),
        (
            422,
            json!({"object": "error", "message": {"detail": extra}, "type": "invalid_request_error", "param": null, "code": null}),
            ErrorKind::InvalidRequest,
            Retry::Never,
            "body.seed: Extra inputs are not permitted",
        ),
        (
            404,
            json!({"message": "no Route matched with those values", "request_id": "1"}),
            ErrorKind::UnknownModel,
            Retry::Never,
            "no Route matched",
        ),
        (
            429,
            json!({"object": "error", "message": "Service tier capacity exceeded for this model.", "type": "service_tier_capacity_exceeded", "code": "3505"}),
            ErrorKind::Unavailable,
            later(None),
            "capacity exceeded",
        ),
        (402, json!({"message": "Payment required"}), ErrorKind::OutOfCredit, Retry::Never, "Payment required"),
        (413, json!({"message": "too large"}), ErrorKind::TooLarge, Retry::Never, "too large"),
        (
            400,
            json!({"message": "your prompt: is this billing overloaded? content_policy moderation unauthorized", "type": "invalid_request_error"}),
            ErrorKind::InvalidRequest,
            Retry::Never,
            "your prompt",
        ),
        (400, json!({"message": "no", "type": "content_policy_violation"}), ErrorKind::Refused, Retry::Never, "no"),
        (
            429,
            json!({"error": {"message": "You exceeded your current quota, please check your plan and billing details.", "code": "insufficient_quota"}}),
            ErrorKind::OutOfCredit,
            Retry::Never,
            "quota",
        ),
        (
            429,
            json!({"error": {"message": "Rate limit reached for model `x` on tokens per minute (TPM): Limit 6000, Used 5990. Please try again in 7.66s. Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing", "type": "tokens", "code": "rate_limit_exceeded"}}),
            ErrorKind::RateLimited,
            later(None),
            "Rate limit reached",
        ),
        (500, json!({"message": "oops"}), ErrorKind::Unavailable, later(None), "oops"),
        (504, json!({}), ErrorKind::TimedOut, Retry::Once, "504"),
    ];
    for (status, body, kind, retry, said) in cases {
        let error = outcome(Play::json(status, &body)).await.expect_err(&body.to_string());
        assert_eq!((error.kind(), error.retry_verdict()), (kind, retry), "{status} {body}");
        assert!(error.message().contains(said), "{}", error.message());
    }
    let html = Play::Reply(502, Vec::new(), b"<html>bad gateway</html>".to_vec());
    let error = outcome(html).await.expect_err("HTML");
    assert_eq!((error.kind(), error.message().contains("html")), (ErrorKind::Unavailable, false));
}

#[tokio::test]
async fn the_hint_to_wait_is_kept() {
    let play = Play::json(429, &json!({"message": "slow down"})).header("retry-after", "2");
    let error = outcome(play).await.expect_err("a limit");
    assert_eq!(error.retry_verdict(), Retry::Later(Some(std::time::Duration::from_secs(2))));
}

#[tokio::test]
async fn rate_limit_headers_say_what_is_left_and_whether_waiting_helps() {
    let limit = || Play::json(429, &json!({"message": "Requests rate limit exceeded"}));
    let minute =
        limit().header("x-ratelimit-remaining-req-minute", "0").header("x-ratelimit-remaining-tokens-minute", "480000");
    let error = outcome(minute).await.expect_err("a limit");
    assert_eq!((error.kind(), error.retry_verdict()), (ErrorKind::RateLimited, Retry::Later(None)));
    assert!(error.to_string().contains("requests left this minute: 0, tokens left this minute: 480000"), "{error}");
    let error = outcome(limit().header("x-ratelimit-remaining-tokens-month", "0")).await.expect_err("a limit");
    assert_eq!((error.kind(), error.retry_verdict()), (ErrorKind::OutOfCredit, Retry::Never));
}

#[tokio::test]
async fn a_vendor_that_echoes_the_key_does_not_get_it_shown() {
    let said = format!("your key Bearer {} is bad: {} ({KEY})", "sk-abc123", "A".repeat(300));
    for status in [200, 401, 422, 500] {
        let error = outcome(Play::json(status, &json!({"error": {"message": said}}))).await.expect_err("refused");
        let shown = format!("{error} {error:?} {:?}", error.advice());
        for secret in ["sk-abc123", "AAAA", KEY] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Upstream::start([Play::json(200, &completion(&json!("stolen")))]).await;
    for status in [301, 302, 303, 307, 308] {
        let play = Play::json(status, &json!({})).header("location", elsewhere.url("/v1/chat/completions"));
        let error = outcome(play).await.expect_err("a redirect");
        assert_eq!((error.kind(), error.retry_verdict()), (ErrorKind::Unavailable, Retry::Never));
    }
    assert_eq!(elsewhere.calls(), 0);
}

#[tokio::test]
async fn broken_connections_are_tried_again_only_before_an_answer_began() {
    let error = outcome(Play::Reset).await.expect_err("a reset");
    assert_eq!((error.kind(), error.retry_verdict()), (ErrorKind::Unavailable, Retry::Once));
    let half = b"HTTP/1.1 200 X\r\ncontent-length: 500\r\n\r\n{\"choices\":".to_vec();
    let error = outcome(Play::Raw(half)).await.expect_err("half an answer");
    assert_eq!((error.kind(), error.retry_verdict()), (ErrorKind::Unavailable, Retry::Never));
    let error = outcome(Play::Raw(b"garbage\r\n\r\n".to_vec())).await.expect_err("garbage");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn answers_without_end_are_cut_off() {
    let endless = [b"HTTP/1.1 200 X\r\n\r\n".to_vec(), vec![b'x'; 3 << 20]].concat();
    let error = outcome(Play::Raw(endless)).await.expect_err("too long");
    assert_eq!((error.kind(), error.message().contains("longer than")), (ErrorKind::Garbled, true));
    let endless_error = [b"HTTP/1.1 503 X\r\n\r\n".to_vec(), vec![b'x'; 3 << 20]].concat();
    assert_eq!(outcome(Play::Raw(endless_error)).await.expect_err("too long").kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn absurd_figures_do_not_destroy_an_answer() {
    for usage in [
        "{\"prompt_tokens\": 1e400, \"completion_tokens\": 1}",
        "null",
        "{\"prompt_tokens\": -5, \"completion_tokens\": 2}",
        "[]",
    ] {
        let body = format!("\u{feff}{{\"choices\":[{{\"message\":{{\"content\":\"fine\"}}}}],\"usage\":{usage}}}");
        let answer = outcome(Play::Reply(200, Vec::new(), body.into_bytes())).await.expect(usage);
        assert_eq!((answer.text.as_str(), answer.usage), ("fine", None), "{usage}");
    }
}

#[tokio::test]
async fn a_hang_ends_at_the_deadline_and_is_not_tried_again() {
    for play in [Play::Silence, Play::Stall] {
        let upstream = Upstream::start([play]).await;
        let provider = provider("pixtral", &upstream, MODEL);
        let patience = std::time::Duration::from_millis(300);
        let error = provider.complete(&ctx(patience), &request(MODEL, Task::Ask)).await.expect_err("a hang");
        assert_eq!((error.kind(), error.retry_verdict()), (ErrorKind::TimedOut, Retry::Never));
        assert!(upstream.has_been_left(1, PATIENCE).await, "the connection stayed open");
    }
}

#[tokio::test]
async fn a_retired_model_is_replaced_at_its_vendor_and_left_alone_elsewhere() {
    let hosted = super::build("pixtral", super::settings(None, None));
    assert!(hosted.card("pixtral-large-latest").is_called("mistral-medium-3-5"));
    assert!(hosted.card("pixtral-12b").is_called("ministral-14b-2512"));
    let own = Upstream::start([Play::json(200, &completion(&json!("fine")))]).await;
    let provider = provider("pixtral", &own, "pixtral-12b-2409");
    let answer = provider.complete(&ctx(PATIENCE), &request("pixtral-12b-2409", Task::Ask)).await.expect("an answer");
    assert_eq!(own.received()[0].body["model"], "pixtral-12b-2409");
    assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
    assert_eq!(provider.card("pixtral-12b-2409").limits.target_side, 1024);
}

#[tokio::test]
async fn the_rewritten_name_is_sent_and_said() {
    // The vendor's own address, answered on loopback: what is known of hosted models holds for listed hosts.
    let upstream = Upstream::start([Play::json(200, &completion(&json!("fine")))]).await;
    let presets = include_str!("../../providers/catalog/presets.toml").replace("\"api.mistral.ai\"", "\"127.0.0.1\"");
    let catalog =
        vision_providers::catalog::Catalog::read(&presets, include_str!("../../providers/catalog/models.toml"));
    let catalog = catalog.expect("the catalog");
    let settings = super::settings(Some(upstream.url("/v1")), None);
    let http = vision_providers::http::VendorHttp::new(None);
    let provider = vision_providers::adapters::build(catalog.preset("pixtral").expect("it"), settings, &http);
    let provider = provider.expect("a provider");
    let answer =
        provider.complete(&ctx(PATIENCE), &request("pixtral-large-latest", Task::Ask)).await.expect("an answer");
    assert_eq!(upstream.received()[0].body["model"], "mistral-medium-3-5");
    assert!(
        answer.warnings[0].contains("pixtral-large-latest was retired by its vendor on 2026-05-31"),
        "{:?}",
        answer.warnings
    );
}

#[tokio::test]
async fn a_probe_asks_for_the_list_of_models() {
    let upstream =
        Upstream::start([Play::json(200, &json!({"data": []})), Play::json(401, &json!({"detail": "Unauthorized"}))])
            .await;
    let provider = provider("pixtral", &upstream, MODEL);
    provider.probe(&ctx(PATIENCE)).await.expect("reachable");
    assert_eq!(upstream.received()[0].line, "GET /v1/models");
    assert_eq!(provider.probe(&ctx(PATIENCE)).await.expect_err("refused").kind(), ErrorKind::Unauthorized);
}
