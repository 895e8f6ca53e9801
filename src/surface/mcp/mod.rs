//! The tools over MCP. rmcp stays inside this folder.
//!
//! Two habits of rmcp shape this code: it never drops a handler that was cancelled, and it never answers one that
//! panicked. So every call goes through one place that does both.

mod arguments;
pub mod stdio;
mod tools;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use rmcp::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest, CustomResult,
    ErrorCode, ErrorData, Implementation, ListToolsResult, MetaObject, NumberOrString, PaginatedRequestParams,
    ProgressNotificationParam, ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};
use vision_providers::request::Caller;

use crate::failure::{Code, Failure};
use crate::gateway::Asker;
use crate::intake::Door;
use crate::live::Live;
use crate::spans;
use crate::surface::{answer, models};

pub use self::tools::TOOLS;

/// The longest JSON message that either transport takes: an image of the largest size as base64, and room to spare.
pub const LARGEST_MESSAGE: usize = 48 << 20;
/// Clients that extend their patience on progress give up after 60 s without it.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
const LIST_TTL_MS: u64 = 3_600_000;
const INSTRUCTIONS: &str = "Call analyze_image whenever the user refers to an image that you cannot see yourself. \
    Placeholders such as [Image #1] are not paths: ask the user for the file's path or an https URL.";

/// Answers one MCP client, or many: it holds nothing of any of them.
#[derive(Debug, Clone)]
pub struct Mcp {
    live: Arc<Live>,
    door: Door,
    /// Cancelled when the program does not wait for calls any longer.
    stopping: CancellationToken,
    /// Everything that is being answered.
    calls: TaskTracker,
}

impl Mcp {
    /// The tools for clients that come through `door`. Calls are cancelled with `stopping`.
    #[must_use]
    pub fn new(live: Arc<Live>, door: Door, stopping: CancellationToken) -> Self {
        Self { live, door, stopping, calls: TaskTracker::new() }
    }

    /// Everything that is being answered.
    #[must_use]
    pub fn calls(&self) -> TaskTracker {
        self.calls.clone()
    }

    /// The tools that the operator offers.
    fn tools(&self) -> Vec<Tool> {
        let offered = self.offered();
        let tools = tools::all(&self.live.now().gateway).into_iter();
        tools.filter(|tool| offered.contains(&&*tool.name)).collect()
    }

    /// Their names, for which no schema has to be written.
    fn offered(&self) -> Vec<&'static str> {
        let running = self.live.now();
        let offered = running.config().mcp.tools.as_deref();
        TOOLS.into_iter().filter(|tool| offered.is_none_or(|names| names.iter().any(|name| name == tool))).collect()
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<CallToolResult, Failure> {
        let running = self.live.now();
        let gateway = &running.gateway;
        if name != tools::ANALYZE {
            let list = models::usable(gateway);
            let mut result = CallToolResult::success(vec![ContentBlock::text(models::text(&list))]);
            result.structured_content = Some(list);
            return Ok(result);
        }
        let ask = arguments::ask(arguments)?;
        let asker = Asker { door: self.door, caller: Caller::local() };
        let reply = gateway.ask(&ask, &asker).await?;
        let mut result = CallToolResult::success(vec![ContentBlock::text(answer::plain(&reply))]);
        result.structured_content = Some(Value::Object(answer::lean(&reply)));
        let account = json!({
            "route": answer::route(&reply.route),
            "images": answer::images(&reply.images),
            // What a model says of a picture may be what the picture told it to say.
            "content_is_untrusted": true,
        });
        result.meta = account.as_object().cloned().map(MetaObject);
        Ok(result)
    }

    fn panicked(&self) -> Failure {
        self.live.metrics().panicked();
        Failure::new(Code::Internal, "answering the call: the program met a fault of its own")
            .advise("do not repeat the same call; report it with the log")
    }

    /// Runs a call to its end, its cancellation or its panic, with signs of life in between.
    async fn attend(&self, request: CallToolRequestParams, ctx: &RequestContext<RoleServer>) -> CallToolResult {
        let name = request.name.to_string();
        let span = self.span(&name, ctx);
        let work = AssertUnwindSafe(self.call(&name, request.arguments.unwrap_or_default())).catch_unwind();
        let work = work.instrument(span.clone());
        tokio::pin!(work);
        let token = ctx.meta.get_progress_token();
        let mut signs = tokio::time::interval(PROGRESS_EVERY);
        signs.tick().await;
        let mut sent = 0.0;
        let outcome = loop {
            tokio::select! {
                biased;
                () = ctx.ct.cancelled() => break Err(Failure::new(Code::Cancelled, "the call was cancelled")),
                outcome = &mut work => break outcome.unwrap_or_else(|_| Err(self.panicked())),
                () = self.stopping.cancelled() => break Err(Failure::new(Code::Cancelled, "the server is stopping").retryable()),
                _ = signs.tick() => if let Some(token) = &token {
                    sent += 1.0;
                    let sign = ProgressNotificationParam::new(token.clone(), sent).with_message("looking at the image");
                    // A client that does not listen will not be told.
                    let _ = ctx.peer.notify_progress(sign).await;
                },
            }
        };
        outcome.unwrap_or_else(|failure| {
            spans::failed(&span, failure.code.name());
            refused(&failure)
        })
    }

    /// The span of a call, in the trace of its caller: that of the message, or else that of the request around it.
    fn span(&self, tool: &str, ctx: &RequestContext<RoleServer>) -> Span {
        let transport = if self.door == Door::Stdio { "pipe" } else { "tcp" };
        // Numbers say no more than they have to.
        let id = match &ctx.id {
            NumberOrString::Number(id) => id.to_string(),
            NumberOrString::String(_) => "text".to_owned(),
        };
        let span = spans::tool_call(tool, &id, transport);
        let headers = ctx.extensions.get::<http::request::Parts>().map(|parts| &parts.headers);
        let header = |name: &str| headers?.get(name)?.to_str().ok();
        match (ctx.meta.get_traceparent(), header("traceparent")) {
            (Some(message), request) => {
                spans::follow(&span, message, ctx.meta.get_tracestate());
                if let Some(request) = request {
                    spans::link(&span, request, header("tracestate"));
                }
            }
            (None, Some(request)) => spans::follow(&span, request, header("tracestate")),
            (None, None) => {}
        }
        span
    }
}

/// An error that the calling model can read and act on, in both places where clients look.
fn refused(failure: &Failure) -> CallToolResult {
    let error = answer::error(failure);
    let mut result = CallToolResult::error(vec![ContentBlock::text(error.to_string())]);
    result.structured_content = Some(error);
    result
}

fn is_modern(ctx: &RequestContext<RoleServer>) -> bool {
    ctx.protocol_version().is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Modern clients are told in every result who answers.
fn server_meta(ctx: &RequestContext<RoleServer>) -> Option<(String, Value)> {
    let info = json!({"name": "visiongate", "version": env!("CARGO_PKG_VERSION")});
    is_modern(ctx).then(|| ("io.modelcontextprotocol/serverInfo".to_owned(), info))
}

impl ServerHandler for Mcp {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("visiongate", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools().into_iter().find(|tool| *tool.name == *name)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        ctx: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut result = ListToolsResult::with_all_items(self.tools());
        if let Some((key, value)) = server_meta(&ctx) {
            result = result.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Public);
            result.meta = Some(MetaObject(Map::from_iter([(key, value)])));
        }
        Ok(result)
    }

    /// Where rmcp leaves requests that fit no shape it knows: most are known ones with wrong parameters.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        const KNOWN: [&str; 4] = ["initialize", "server/discover", "tools/list", "tools/call"];
        let method = request.method;
        if KNOWN.contains(&method.as_str()) {
            return Err(ErrorData::invalid_params(format!("the parameters do not fit {method}"), None));
        }
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, method, None))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        ctx: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let offered = self.offered();
        if !offered.contains(&&*request.name) {
            let message = format!("there is no tool called {}; there are {}", request.name, offered.join(", "));
            return Err(ErrorData::invalid_params(message, None));
        }
        let mut result = self.calls.track_future(self.attend(request, &ctx)).await;
        if let Some((key, value)) = server_meta(&ctx) {
            result.meta.get_or_insert_with(|| MetaObject(Map::new())).0.insert(key, value);
        }
        Ok(result.into())
    }
}
