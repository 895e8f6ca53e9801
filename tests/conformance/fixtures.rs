//! Who answers the suite: it hands every request to the file that knows it.

#![expect(deprecated, reason = "the suite holds servers to what earlier eras of the protocol asked for")]

use std::future::ready;
use std::sync::{Mutex, PoisonError};

use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, ClientCapabilities,
    CompleteRequestParams, CompleteResult, ContentBlock, ErrorCode, ErrorData, GetPromptRequestParams,
    GetPromptResponse, GetTaskParams, GetTaskResult, Implementation, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, LoggingLevel, PaginatedRequestParams, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ServerCapabilities, ServerConfig,
    SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
    UpdateTaskParams,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use rmcp::task_manager::TaskManager;

use super::changes::{Change, Changes};
use super::rounds::Round;
use super::seal::{NoRandomness, Seal};
use super::{asks, content, prompts, resources, signs, tasks, tools};

/// What all sessions have in common, and all requests outside of sessions.
#[derive(Clone)]
pub(crate) struct Shared {
    changes: Changes,
    tasks: TaskManager,
    seal: Seal,
}

impl Shared {
    /// With nobody listening and no task begun.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        Ok(Self { changes: Changes::default(), tasks: TaskManager::new(), seal: Seal::new()? })
    }
}

/// The fixtures, for one session or for one request outside of sessions.
pub(crate) struct Fixtures {
    shared: Shared,
    /// From which level on a client wants to read of what happens.
    level: Mutex<LoggingLevel>,
}

impl Fixtures {
    /// For a client that has not said yet what it wants to read.
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared, level: Mutex::new(LoggingLevel::Info) }
    }

    /// Whether the session takes what is said at the level `info`.
    fn takes_info(&self) -> bool {
        let level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*level, LoggingLevel::Debug | LoggingLevel::Info)
    }

    /// Tools that do more than give something fixed.
    async fn act(
        &self,
        request: &CallToolRequestParams,
        ctx: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let arguments = request.arguments.clone().unwrap_or_default();
        let text = |name: &str| arguments.get(name).and_then(|value| value.as_str()).unwrap_or_default();
        match &*request.name {
            "test_tool_with_progress" => signs::progress(ctx).await,
            "test_tool_with_logging" if self.takes_info() => signs::log(ctx).await,
            "test_logging_tool" if ctx.meta.log_level().is_some() => signs::log(ctx).await,
            "test_tool_with_logging" | "test_logging_tool" => Ok(said("nothing was logged")),
            "test_reconnection" => signs::pause().await,
            "test_sampling" => asks::sampling(ctx, text("prompt")).await,
            "test_elicitation" => asks::elicitation(ctx, text("message")).await,
            "test_elicitation_sep1034_defaults" => asks::defaults(ctx).await,
            "test_elicitation_sep1330_enums" => asks::choices(ctx).await,
            "test_missing_capability" => sampling_only(ctx),
            "test_trigger_tool_change" => Ok(self.shared.changes.announce(Change::Tools)),
            "test_trigger_prompt_change" => Ok(self.shared.changes.announce(Change::Prompts)),
            "test_custom_header" => Ok(said(text("value"))),
            "greet" => Ok(said(&format!("Hello, {}!", text("name")))),
            name => content::named(name).ok_or_else(|| unknown("tool", name)),
        }
    }
}

/// A result that is one text.
pub(crate) fn said(text: &str) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

/// An error for a name that nobody knows.
pub(crate) fn unknown(what: &str, name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("there is no {what} called {name}"), None)
}

/// An error of these fixtures themselves.
pub(crate) fn broken(attempt: &str, error: &dyn std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(format!("{attempt}: {error}"), None)
}

/// Refuses clients that did not say that they have a model to sample from.
fn sampling_only(ctx: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    if ctx.client_capabilities().is_some_and(|able| able.sampling.is_some()) {
        return Ok(said("the client can sample"));
    }
    let needed = ClientCapabilities::builder().enable_sampling().build();
    Err(ErrorData::missing_required_client_capability(needed))
}

/// Methods that the modern era has removed are not known to it.
fn legacy_only(ctx: &RequestContext<RoleServer>, method: &'static str) -> Result<(), ErrorData> {
    let modern = ctx.protocol_version().is_some_and(|it| it.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
    if modern { Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, method, None)) } else { Ok(()) }
}

impl ServerHandler for Fixtures {
    fn get_info(&self) -> ServerConfig {
        let able = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_completions()
            .enable_logging()
            .enable_tasks();
        let name = Implementation::new("visiongate-conformance", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(able.build()).with_server_info(name)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::all().into_iter().find(|tool| tool.name == name)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        ctx: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let round = Round::of(&request, &ctx, &self.shared.seal);
        if let Some(answer) = round.answer() {
            return answer;
        }
        if tasks::TASKS.contains(&&*request.name) {
            return tasks::call(&self.shared.tasks, &round, &request, &ctx).await;
        }
        Ok(self.act(&request, &ctx).await?.into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::all()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        ctx: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let responses = request.input_responses.unwrap_or_default();
        let round = Round::of_prompt(&request.name, responses, &ctx, &self.shared.seal);
        prompts::get(&request.name, &request.arguments.unwrap_or_default(), &round)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::all()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(ReadResourceResult::new(vec![resources::read(&request.uri)?]).into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Ok(CompleteResult::new(prompts::completions(&request.argument.value)))
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        ctx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        legacy_only(&ctx, "logging/setLevel")?;
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = request.level;
        Ok(())
    }

    /// Nothing here ever changes, so that there is nothing to keep of who wants to hear of it.
    fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        ready(Ok(()))
    }

    fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        ready(Ok(()))
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.shared.changes.tell(&context).await;
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.shared.tasks.get_task(&request.task_id).map(GetTaskResult::new)
    }

    async fn update_task(&self, request: UpdateTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.shared.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(&self, request: CancelTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.shared.tasks.cancel_task(&request.task_id)
    }
}
