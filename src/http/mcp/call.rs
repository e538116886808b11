//! The calls of tools: arguments in, the same answer as over HTTP out.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::door::Asked;
use super::tools::Name;
use crate::actors::handle::PoolHandle;
use crate::domain::{AgentId, Refusal, TaskId};
use crate::http::agents::{FailBody, SpawnBody};
use crate::http::complete::{Ending, ErrorBody, ErrorNames};
use crate::http::fields::{attempt, boolean, missing, not_allowed, string};
use crate::http::isolation;
use crate::http::pool::{InitializeBody, close_pool};
use crate::http::problem::{Code, Problem};
use crate::http::query::Nothing;
use crate::http::server::HttpSettings;
use crate::http::task_show::TaskShown;
use crate::http::tasks::{SubmitBody, cancel_task, wait};

/// An answer, as text and as a value.
pub(super) struct Said {
    pub(super) text: String,
    pub(super) value: Value,
}

impl Said {
    /// What the HTTP answer shows.
    pub(super) fn new(shown: &impl Serialize) -> Result<Self, Problem> {
        let broken = |error: serde_json::Error| Problem::new(Code::Internal, error.to_string());
        let text = serde_json::to_string(shown).map_err(broken)?;
        let value = serde_json::from_str(&text).map_err(broken)?;
        Ok(Self { text, value })
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseArgs<'a> {
    #[serde(borrow)]
    drain_s: Option<&'a RawValue>,
    #[serde(borrow)]
    discard: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GetArgs<'a> {
    #[serde(borrow)]
    task_id: Option<&'a RawValue>,
    #[serde(borrow)]
    wait_s: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompleteArgs<'a> {
    #[serde(borrow)]
    task_id: Option<&'a RawValue>,
    #[serde(borrow)]
    attempt: Option<&'a RawValue>,
    #[serde(borrow)]
    success: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error_code: Option<&'a RawValue>,
    #[serde(borrow)]
    error_message: Option<&'a RawValue>,
    #[serde(borrow)]
    retryable: Option<&'a RawValue>,
}

const FLAT_NAMES: ErrorNames =
    ErrorNames { code: "error_code", message: "error_message", retryable: "retryable" };

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelArgs<'a> {
    #[serde(borrow)]
    task_id: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FailArgs<'a> {
    #[serde(borrow)]
    agent_id: Option<&'a RawValue>,
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
}

/// Does what the tool of this name does.
pub(super) async fn call(
    name: Name,
    asked: &Asked,
    pool: &PoolHandle,
    settings: &HttpSettings,
) -> Result<Said, Problem> {
    let arguments = asked.arguments.as_deref();
    match name {
        Name::InitializePool => {
            let body: InitializeBody<'_> = parse(arguments)?;
            Said::new(&body.initialize(pool, settings).await?)
        }
        Name::ShutdownPool => {
            let args: CloseArgs<'_> = parse(arguments)?;
            let (drain, discard) =
                (args.drain_s.map(RawValue::get), args.discard.map(RawValue::get));
            Said::new(&close_pool(pool, drain, discard).await?)
        }
        Name::SpawnCoordinationAgent => {
            let body: SpawnBody<'_> = parse(arguments)?;
            Said::new(&body.spawn(pool, settings).await?)
        }
        Name::SubmitCoordinationTask => {
            let body: SubmitBody<'_> = parse(arguments)?;
            Said::new(&body.submit(pool, asked.trace.clone()).await?)
        }
        Name::GetCoordinationTask => {
            let args: GetArgs<'_> = parse(arguments)?;
            let wait = wait(args.wait_s.map(RawValue::get))?;
            let task = pool.task(task_id(args.task_id)?, wait).await?;
            Said::new(&TaskShown::from(&task))
        }
        Name::CompleteCoordinationTask => complete(parse(arguments)?, pool).await,
        Name::CancelCoordinationTask => {
            let args: CancelArgs<'_> = parse(arguments)?;
            Said::new(&cancel_task(pool, task_id(args.task_id)?).await?)
        }
        Name::FailCoordinationAgent => {
            let args: FailArgs<'_> = parse(arguments)?;
            let id =
                string("agent_id", args.agent_id.ok_or_else(|| missing("agent_id", "an id"))?)?;
            let id = AgentId::parse(&id).ok_or(Refusal::AgentNotFound)?;
            Said::new(&FailBody { reason: args.reason }.fail(pool, id).await?)
        }
        Name::CoordinationMetrics => {
            let Nothing {} = parse(arguments)?;
            metrics(pool).await
        }
        Name::IsolationReport => {
            let Nothing {} = parse(arguments)?;
            isolation_report(pool).await
        }
    }
}

/// The numbers.
pub(super) async fn metrics(pool: &PoolHandle) -> Result<Said, Problem> {
    Said::new(&pool.metrics().await?)
}

/// How far the agents are kept apart.
pub(super) async fn isolation_report(pool: &PoolHandle) -> Result<Said, Problem> {
    Said::new(&isolation::Report::from(&pool.isolation_report().await?))
}

async fn complete(args: CompleteArgs<'_>, pool: &PoolHandle) -> Result<Said, Problem> {
    let CompleteArgs { error_code: code, error_message: message, retryable, .. } = args;
    let success = args.success.map(|success| boolean("success", success.get())).transpose()?;
    // `retryable: false` alone says nothing, and models like to name every argument.
    let says_more = retryable.is_some_and(|retryable| retryable.get() != "false");
    let is_said = code.is_some() || message.is_some() || says_more;
    let ending = Ending {
        success: success.unwrap_or(true),
        result: args.result,
        error: is_said.then_some(ErrorBody { code, message, retryable }),
        names: FLAT_NAMES,
    };
    let attempt = args.attempt.map(|number| attempt(number.get())).transpose()?;
    Said::new(&ending.complete(pool, task_id(args.task_id)?, attempt).await?)
}

/// What cannot be an id is the id of nothing.
fn task_id(raw: Option<&RawValue>) -> Result<TaskId, Problem> {
    let id = string("task_id", raw.ok_or_else(|| missing("task_id", "an id"))?)?;
    TaskId::parse(&id).ok_or_else(|| Refusal::TaskNotFound.into())
}

fn parse<'a, T: Deserialize<'a> + Default>(arguments: Option<&'a RawValue>) -> Result<T, Problem> {
    let Some(raw) = arguments else { return Ok(T::default()) };
    if !raw.get().starts_with('{') {
        return Err(not_allowed("arguments", "an object", raw.get()));
    }
    serde_json::from_str(raw.get())
        .map_err(|error| Problem::invalid(format!("the arguments are not allowed: {error}")))
}
