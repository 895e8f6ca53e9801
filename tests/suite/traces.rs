//! Traces as a collector gets them: in the caller's trace, by the conventions, and with nothing that anybody wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use vision_providers::testkit::{Play, Upstream};

use super::http::{Server, locally};
use super::{PATIENCE, config_file, described, example};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn spans(collector: &Upstream) -> Vec<Span> {
    let bodies = collector.received().into_iter().map(|received| received.bytes);
    let decoded = bodies.map(|body| ExportTraceServiceRequest::decode(body.as_slice()).expect("a batch"));
    let scopes = decoded.flat_map(|batch| batch.resource_spans).flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: Option<Any>| match value {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        Some(Any::ArrayValue(list)) => format!("{} in a list", list.values.len()),
        other => format!("{other:?}"),
    };
    span.attributes.iter().map(|it| (it.key.clone(), text(it.value.clone().and_then(|value| value.value)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

async fn traced(upstream: &Upstream, collector: &Upstream, meta: &Value) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let file = config_file(
        folder.path(),
        &format!(
            "[providers.pixtral]\nbase_url = \"{}\"\n[intake]\nroots = ['{}']\n\
             [traces]\nendpoint = \"{}\"\nheaders = {{ x-team = {{ env = \"TEAM\" }} }}\n",
            upstream.url("/v1"),
            super::root().join("examples").display(),
            collector.url("")
        ),
    );
    let mut server = Server::start(&[
        ("MISTRAL_API_KEY", "not-a-key".into()),
        ("VISIONGATE_CONFIG", file.display().to_string()),
        ("TEAM", "sesame".into()),
    ])
    .await;
    let arguments = json!({"image": example("qr.png"), "max_output_tokens": 77});
    let call = json!({"name": "analyze_image", "arguments": arguments, "_meta": meta});
    let answer = server.call("tools/call", call).await;
    server.signal("TERM");
    timeout(PATIENCE, server.child.wait()).await.expect("it ends").expect("a status");
    answer
}

#[tokio::test]
async fn a_call_is_a_span_in_its_callers_trace_and_vendors_see_nothing_of_it() {
    locally(async {
        let upstream = Upstream::start([Play::json(200, &described("A code.", "secret words"))]).await;
        let collector = Upstream::start([Play::Reply(200, Vec::new(), Vec::new())]).await;
        let meta = json!({"traceparent": format!("00-{TRACE}-{PARENT}-01"), "tracestate": "rojo=1"});
        let answer = traced(&upstream, &collector, &meta).await;
        assert_eq!(answer["result"]["structuredContent"]["description"], "A code.");
        let spans = spans(&collector);
        assert_eq!(spans.len(), 2, "{spans:?}");
        assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE && span.trace_state == "rojo=1"));
        let named = |name: &str| spans.iter().find(|span| span.name == name).expect(name);
        let (tool, chat) = (named("tools/call analyze_image"), named("chat mistral-medium-latest"));
        assert_eq!((hex(&tool.parent_span_id).as_str(), tool.kind), (PARENT, 2));
        assert_eq!((&chat.parent_span_id, chat.kind), (&tool.span_id, 3));
        let told = attributes(chat);
        for (key, value) in [
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "mistral_ai"),
            ("gen_ai.request.model", "mistral-medium-latest"),
            ("gen_ai.request.max_tokens", "77"),
            ("gen_ai.response.model", "mistral-medium-2604"),
            ("gen_ai.response.finish_reasons", "1 in a list"),
            ("gen_ai.usage.input_tokens", "1210"),
            ("gen_ai.usage.output_tokens", "96"),
            ("gen_ai.output.type", "json"),
            ("server.address", "127.0.0.1"),
        ] {
            assert_eq!(told.get(key).map(String::as_str), Some(value), "{key} in {told:?}");
        }
        assert_eq!(attributes(tool).get("mcp.method.name").map(String::as_str), Some("tools/call"));
        let received = &collector.received()[0];
        assert!(received.line == "POST /v1/traces" && received.headers.contains("x-team: sesame"), "{received:?}");
        let vendor = &upstream.received()[0].headers;
        assert!(!vendor.contains("traceparent") && !vendor.contains(TRACE), "{vendor}");
        let all = format!("{spans:?}");
        assert!(!["qr.png", "secret words", "not-a-key", "A code"].iter().any(|text| all.contains(text)), "{all}");
    })
    .await;
}

#[tokio::test]
async fn failures_are_told_and_what_is_no_trace_is_ignored() {
    locally(async {
        let upstream = Upstream::start([Play::json(422, &json!({}))]).await;
        let collector = Upstream::start([Play::Reply(200, Vec::new(), Vec::new())]).await;
        let meta = json!({"traceparent": format!("00-{TRACE}-tail-01")});
        traced(&upstream, &collector, &meta).await;
        let spans = spans(&collector);
        assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE && !span.trace_id.is_empty()));
        let errors: Vec<String> = spans.iter().filter_map(|span| attributes(span).remove("error.type")).collect();
        assert_eq!(errors, ["invalid_request", "INVALID_INPUT"], "{spans:?}");
        assert!(spans.iter().all(|span| span.status.as_ref().is_some_and(|status| status.code == 2)));
    })
    .await;
}

#[tokio::test]
async fn a_collector_that_is_away_costs_nothing() {
    locally(async {
        let upstream = Upstream::start([Play::json(200, &described("A code.", ""))]).await;
        let away = Upstream::start([Play::Silence]).await;
        let began = tokio::time::Instant::now();
        let answer = traced(&upstream, &away, &json!({})).await;
        assert_eq!(answer["result"]["structuredContent"]["description"], "A code.");
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    })
    .await;
}
