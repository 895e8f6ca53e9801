//! The tools over MCP. rmcp stays inside this folder.
//!
//! Two habits of rmcp shape this code: it never drops a handler that was cancelled, and it never answers one that
//! panicked. So every call goes through one place that does both.

mod asked;
mod bounds;
mod completions;
mod lines;
mod prompts;
mod resources;
pub mod stdio;
mod tools;
mod watch;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use rmcp::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult,
    ContentBlock, CustomRequest, CustomResult, ErrorCode, ErrorData, GetPromptRequestParams, GetPromptResponse, Icon,
    Implementation, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, MetaObject,
    NumberOrString, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use self::watch::Watch;
use crate::failure::{Code, Failure};
use crate::gateway::Asker;
use crate::intake::Door;
use crate::live::Live;
use crate::spans;
use crate::speech::Listener;
use crate::surface::answer;
use crate::surface::calls::{Call, TOOLS};

/// The longest JSON message that either transport takes: an image of the largest size as base64, and room to spare.
pub const LARGEST_MESSAGE: usize = 48 << 20;
const LIST_TTL_MS: u64 = 3_600_000;
const INSTRUCTIONS: &str = "Call analyze_image whenever the user refers to an image that you cannot see yourself. \
    Placeholders such as [Image #1] are not paths: ask the user for the file's path or an https URL. For many images use \
    analyze_batch; to check a doubtful reading, compare_models.";
const ICON: &[u8] = include_bytes!("icon.png");

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

    /// Who asks: over HTTP whom the door has let in, else whoever is at this machine.
    fn asker(&self, ctx: &RequestContext<RoleServer>) -> Asker {
        let parts = ctx.extensions.get::<http::request::Parts>();
        let known = parts.and_then(|parts| parts.extensions.get::<Asker>()).cloned();
        known.unwrap_or_else(|| match self.door {
            Door::Http => Asker::unknown(self.door),
            Door::CommandLine | Door::Stdio => Asker::local(self.door),
        })
    }

    async fn call(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        asker: &Asker,
        watching: Option<&Listener>,
    ) -> Result<CallToolResult, Failure> {
        let running = self.live.now();
        let answered = Call::read(name, arguments)?.answer(&running.gateway, asker, watching).await?;
        let (text, answer, account) = answered.apart();
        let mut account = bounds::account(account);
        let (text, answer) = bounds::bounded(text, answer);
        let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
        result.structured_content = Some(answer);
        if !account.is_empty() {
            // What a model says of a picture may be what the picture told it to say.
            account.insert("content_is_untrusted".into(), json!(true));
            result.meta = Some(MetaObject(account));
        }
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
        let (span, asker) = (self.span(&name, ctx), self.asker(ctx));
        let (mut watch, listener) = Watch::new(ctx);
        let arguments = request.arguments.unwrap_or_default();
        let work = AssertUnwindSafe(self.call(&name, arguments, &asker, listener.as_ref())).catch_unwind();
        let work = work.instrument(span.clone());
        tokio::pin!(work);
        let outcome = tokio::select! {
            biased;
            () = ctx.ct.cancelled() => Err(Failure::new(Code::Cancelled, "the call was cancelled")),
            outcome = &mut work => outcome.unwrap_or_else(|_| Err(self.panicked())),
            () = self.stopping.cancelled() => Err(Failure::new(Code::Cancelled, "the server is stopping").retryable()),
            () = watch.tell() => Err(Failure::new(Code::Internal, "whoever watched has stopped")),
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

/// What modern clients get with every list.
fn list_meta(ctx: &RequestContext<RoleServer>) -> Option<MetaObject> {
    server_meta(ctx).map(|(key, value)| MetaObject(Map::from_iter([(key, value)])))
}

/// What modern clients are told besides a result: who answers, for how many milliseconds it may be kept, and by whom.
type Hints = (Option<MetaObject>, Option<u64>, Option<CacheScope>);

fn hints(ctx: &RequestContext<RoleServer>, ttl_ms: u64, scope: CacheScope) -> Hints {
    if is_modern(ctx) { (list_meta(ctx), Some(ttl_ms), Some(scope)) } else { (None, None, None) }
}

impl ServerHandler for Mcp {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder();
        let capabilities = capabilities.enable_tools().enable_prompts().enable_resources().enable_completions();
        let icon = Icon::new(format!("data:image/png;base64,{}", STANDARD.encode(ICON)));
        let icon = icon.with_mime_type("image/png").with_sizes(vec!["48x48".into()]);
        let implementation = Implementation::new("visiongate", env!("CARGO_PKG_VERSION")).with_icons(vec![icon]);
        ServerConfig::new(capabilities.build())
            .with_server_info(implementation.with_title("visiongate"))
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
        (result.meta, result.ttl_ms, result.cache_scope) = hints(&ctx, LIST_TTL_MS, CacheScope::Public);
        Ok(result)
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        ctx: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let mut result = ListPromptsResult::with_all_items(prompts::all(&self.live.now().gateway));
        (result.meta, result.ttl_ms, result.cache_scope) = hints(&ctx, LIST_TTL_MS, CacheScope::Public);
        Ok(result)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        ctx: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let mut result = prompts::get(&self.live.now().gateway, &request.name, request.arguments.as_ref())?;
        result.meta = list_meta(&ctx);
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        ctx: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources = resources::all(&self.live.now().gateway, &self.asker(&ctx));
        let mut result = ListResourcesResult::with_all_items(resources);
        // It holds what the caller sent ahead.
        (result.meta, result.ttl_ms, result.cache_scope) = hints(&ctx, 0, CacheScope::Private);
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        ctx: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let mut result = ListResourceTemplatesResult::with_all_items(resources::templates());
        (result.meta, result.ttl_ms, result.cache_scope) = hints(&ctx, LIST_TTL_MS, CacheScope::Public);
        Ok(result)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        ctx: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let contents = resources::read(&self.live.now().gateway, &self.asker(&ctx), &request.uri)?;
        let mut result = ReadResourceResult::new(contents);
        (result.meta, result.ttl_ms, result.cache_scope) = hints(&ctx, 0, CacheScope::Private);
        Ok(result.into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        ctx: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let running = self.live.now();
        let values = completions::of(&running.gateway, &self.asker(&ctx), &request.r#ref, &request.argument);
        let mut result = CompleteResult::new(values);
        result.meta = list_meta(&ctx);
        Ok(result)
    }

    /// Where rmcp leaves requests that fit no shape it knows: most are known ones with wrong parameters.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        ctx: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        const KNOWN: [&str; 9] = [
            "server/discover",
            "tools/list",
            "tools/call",
            "prompts/list",
            "prompts/get",
            "resources/list",
            "resources/templates/list",
            "resources/read",
            "completion/complete",
        ];
        let method = request.method;
        // The modern era has no handshake.
        if KNOWN.contains(&method.as_str()) || (method == "initialize" && !is_modern(&ctx)) {
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
