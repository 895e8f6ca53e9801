//! What leaves for a collector: spans by the conventions for generative models and for MCP, names and attributes only.
//! Nothing that a caller wrote, and nothing that a model said.
//!
//! A caller's trace is followed, and goes no further: vendors get none of it.

use http::HeaderName;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId};
use opentelemetry::{Array, Context, StringValue, Value};
use secrecy::SecretString;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use url::Url;

/// The target of the spans that leave. No module may have a path that begins with it: the log is silent for it.
pub const TARGET: &str = "visiongate::trace";

/// Where spans go.
#[derive(Debug, Clone)]
pub struct Collector {
    /// The base address, or that of traces: `/v1/traces` is added where it is missing.
    pub endpoint: Url,
    /// Sent along with every batch: the key, as a rule.
    pub headers: Vec<(HeaderName, SecretString)>,
}

/// The handling of one call of an MCP tool, which came over `pipe` or `tcp`.
#[must_use]
pub fn tool_call(tool: &str, request: &str, transport: &'static str) -> Span {
    tracing::info_span!(
        target: TARGET,
        "mcp",
        otel.name = format!("tools/call {tool}"),
        otel.kind = "server",
        otel.status_code = Empty,
        mcp.method.name = "tools/call",
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = tool,
        jsonrpc.request.id = request,
        network.transport = transport,
        "error.type" = Empty,
    )
}

/// Who is asked, as the conventions want it said.
#[derive(Debug, Clone)]
pub struct Vendor {
    /// The well-known name of the vendor, or another.
    pub name: String,
    /// Host and port; absent for what runs in this process.
    pub server: Option<(String, u16)>,
}

/// One question to one model, with everything that is tried for it.
#[must_use]
pub fn inference(vendor: &Vendor, model: &str) -> Span {
    let kind = if vendor.server.is_some() { "client" } else { "internal" };
    let span = tracing::info_span!(
        target: TARGET,
        "chat",
        otel.name = format!("chat {model}"),
        otel.kind = kind,
        otel.status_code = Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = vendor.name,
        gen_ai.request.model = model,
        gen_ai.request.max_tokens = Empty,
        gen_ai.request.temperature = Empty,
        gen_ai.output.type = Empty,
        gen_ai.response.model = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        "error.type" = Empty,
        server.address = Empty,
        server.port = Empty,
    );
    if let Some((host, port)) = &vendor.server {
        span.record("server.address", host).record("server.port", i64::from(*port));
    }
    span
}

/// Says that what a span is about has failed.
pub fn failed(span: &Span, kind: &str) {
    span.record("error.type", kind).record("otel.status_code", "error");
}

/// Says why an answer ends, which `tracing` has no value for: a list of one.
pub fn finished(span: &Span, reason: &'static str) {
    let reasons = vec![StringValue::from(reason)];
    span.set_attribute("gen_ai.response.finish_reasons", Value::Array(Array::String(reasons)));
}

/// What W3C asks everybody to pass on; more is a caller's cost that we do not take.
const MAX_STATE: usize = 512;

/// Makes a span the child of the caller's. It must not have children yet. What is no W3C trace context is ignored.
pub fn follow(span: &Span, traceparent: &str, tracestate: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    if let Some(caller) = remote(traceparent, tracestate) {
        // It fails where spans go nowhere, which is no fault.
        let _ = span.set_parent(Context::new().with_remote_span_context(caller));
    }
}

/// Notes another trace that a span belongs to: that of the HTTP request which carried an MCP message.
pub fn link(span: &Span, traceparent: &str, tracestate: Option<&str>) {
    if let Some(caller) = remote(traceparent, tracestate) {
        span.add_link(caller);
    }
}

/// Reads a trace context strictly. The reader of the SDK takes ids of any length, and signs.
fn remote(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    let (version, fields) = traceparent.trim().split_once('-')?;
    let (version, mut fields) = (hex(version, 2)?, fields.split('-'));
    let (trace, parent, flags) = (fields.next()?, fields.next()?, fields.next()?);
    if version == 0xff || (version == 0 && fields.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::try_from(hex(flags, 2)?).ok()?) & TraceFlags::SAMPLED;
    let (trace, parent) = (TraceId::from(hex(trace, 32)?), SpanId::from(u64::try_from(hex(parent, 16)?).ok()?));
    let state = tracestate.filter(|state| state.len() <= MAX_STATE).and_then(|state| state.parse().ok());
    Some(SpanContext::new(trace, parent, flags, true, state.unwrap_or_default())).filter(SpanContext::is_valid)
}

fn hex(digits: &str, length: usize) -> Option<u128> {
    let lower = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    (digits.len() == length && digits.bytes().all(lower)).then(|| u128::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_w3c_allows_and_nothing_else() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        let check = |text: &str, sampled: Option<bool>| {
            assert_eq!(remote(text, None).map(|caller| caller.is_sampled()), sampled, "{text}");
        };
        check(&format!("00-{id}-01"), Some(true));
        check(&format!(" 00-{id}-00 "), Some(false));
        check(&format!("00-{id}-ff"), Some(true));
        check(&format!("cc-{id}-01-what-comes"), Some(true));
        for text in [
            "",
            "00",
            "é",
            "00-42-42-01",
            "00-4bf9-00f0-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            check(text, None);
        }
        check(&format!("ff-{id}-01"), None);
        check(&format!("00-{id}-01-more"), None);
        check(&format!("00-{id}-01-"), None);
        check(&format!("00-{id}-1"), None);
        check(&format!("00-{id}"), None);
    }

    #[test]
    fn takes_a_state_of_a_sane_size() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let state = |state: &str| remote(text, Some(state)).unwrap().trace_state().header();
        assert_eq!(state("rojo=00f067aa0ba902b7,congo=t61"), "rojo=00f067aa0ba902b7,congo=t61");
        assert_eq!(state("no pairs"), "");
        assert_eq!(state(&format!("a={}", "b".repeat(600))), "");
    }
}
