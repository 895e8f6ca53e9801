//! Tools whose work goes on after the call, as tasks that the client looks after.

use std::time::Duration;

use futures_util::future::try_join;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, CreateTaskResult,
    ErrorData, InputRequest,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions};
use serde_json::Value;
use tokio::time::sleep;

use super::fixtures::{said, unknown};
use super::questions::{field, question};
use super::rounds::{Round, ask, name_form};

/// The tools of this file.
pub(crate) const TASKS: [&str; 6] =
    ["slow_compute", "failing_job", "protocol_error_job", "confirm_delete", "multi_input", "test_tool_with_task"];
/// What work takes that is there to end in some way.
const WORK: Duration = Duration::from_secs(1);
const POLL_MS: u64 = 200;

/// Begins a task, for clients that know what one is.
pub(crate) async fn call(
    tasks: &TaskManager,
    round: &Round<'_>,
    request: &CallToolRequestParams,
    ctx: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let argument = |name: &str| request.arguments.as_ref().and_then(|all| all.get(name)).cloned().unwrap_or_default();
    let knows_tasks = ctx.client_capabilities().is_some_and(|able| able.supports_tasks());
    let seconds = Duration::from_secs(argument("seconds").as_u64().unwrap_or(1).min(60));
    if &*request.name == "slow_compute" && !knows_tasks {
        sleep(seconds).await;
        return Ok(computed().into());
    }
    if !knows_tasks {
        let needed = ClientCapabilities::builder().enable_tasks().build();
        return Err(ErrorData::missing_required_client_capability(needed));
    }
    let name = round.entered_text("user_name", "name").map(str::to_owned);
    let file = argument("filename").as_str().unwrap_or_default().to_owned();
    let options = TaskOptions::new().with_poll_interval_ms(POLL_MS);
    let task = match (&*request.name, name) {
        ("slow_compute", _) => tasks.spawn(options, move |task| Box::pin(compute(task, seconds))),
        ("failing_job", _) => tasks.spawn(options, |_| Box::pin(fail())),
        ("protocol_error_job", _) => tasks.spawn(options, |_| Box::pin(break_down())),
        ("confirm_delete", _) => tasks.spawn(options, move |task| Box::pin(delete(task, file))),
        ("multi_input", _) => tasks.spawn(options, |task| Box::pin(ask_twice(task))),
        ("test_tool_with_task", Some(name)) => tasks.spawn(options, move |_| Box::pin(greet(name))),
        ("test_tool_with_task", None) => return Ok(ask([("user_name", name_form())])?.into()),
        (other, _) => return Err(unknown("task", other)),
    };
    Ok(CreateTaskResult::new(task).into())
}

fn computed() -> CallToolResult {
    said("the computation is done")
}

async fn compute(task: TaskContext, time: Duration) -> Result<CallToolResult, TaskExit> {
    tokio::select! {
        () = sleep(time) => Ok(computed()),
        () = task.cancelled() => Err(TaskExit::Cancelled),
    }
}

async fn fail() -> Result<CallToolResult, TaskExit> {
    sleep(WORK).await;
    Ok(CallToolResult::error(vec![ContentBlock::text("the job failed, as it always does")]))
}

async fn break_down() -> Result<CallToolResult, TaskExit> {
    sleep(WORK).await;
    Err(TaskExit::Error(ErrorData::internal_error("the job broke down, as it always does", None)))
}

async fn delete(task: TaskContext, file: String) -> Result<CallToolResult, TaskExit> {
    let answer = confirm(&task, "confirm", &format!("Delete {file}?")).await?;
    Ok(said(&if answer["content"]["confirm"] == true { format!("{file} is gone") } else { format!("{file} is kept") }))
}

async fn ask_twice(task: TaskContext) -> Result<CallToolResult, TaskExit> {
    let (first, second) = (confirm(&task, "first", "The first?"), confirm(&task, "second", "The second?"));
    let (first, second) = try_join(first, second).await?;
    Ok(said(&format!("{} and {}", first["action"], second["action"])))
}

async fn greet(name: String) -> Result<CallToolResult, TaskExit> {
    sleep(Duration::from_millis(POLL_MS)).await;
    Ok(said(&format!("Hello, {name}!")))
}

/// Asks the client in the middle of a task.
async fn confirm(task: &TaskContext, key: &str, message: &str) -> Result<Value, TaskExit> {
    let form: InputRequest = question(field(message, "confirm", "boolean"))?;
    task.request_input(key, form).await
}
