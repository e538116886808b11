//! The tools of agents inside the pool: the same arguments and answers as over HTTP, without a
//! request around them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::fields::{not_allowed, string};
use super::isolation::Report;
use super::problem::{Code, Problem};
use super::query::Nothing;
use super::task_show::TaskShown;
use super::tasks::{SubmitBody, Submitted};
use crate::actors::desk::{MakeDesk, ToolAnswer, ToolCall, ToolDesk, ToolRefusal};
use crate::actors::handle::PoolHandle;
use crate::domain::{Json, Refusal, TaskId};

const TOOLS: &str = "submit_coordination_task, get_coordination_task, coordination_metrics, \
                     isolation_report";

/// Answers the tools of agents inside the pool.
#[must_use]
pub fn desk() -> MakeDesk {
    Box::new(|pool| Arc::new(InsideDesk { pool }))
}

#[derive(Debug)]
struct InsideDesk {
    pool: PoolHandle,
}

impl ToolDesk for InsideDesk {
    fn call(&self, call: ToolCall) -> Pin<Box<dyn Future<Output = ToolAnswer>>> {
        let pool = self.pool.clone();
        Box::pin(async move {
            match answer(&pool, &call).await {
                Ok(Some(value)) => Ok(value),
                Ok(None) => {
                    let name = &call.name;
                    let message =
                        format!("there is no tool {name:?} in the pool; there are {TOOLS}");
                    Err(ToolRefusal { code: "unknown_tool".to_owned(), message })
                }
                Err(problem) => {
                    let (code, message) = problem.code_and_detail();
                    Err(ToolRefusal { code: code.to_owned(), message: message.to_owned() })
                }
            }
        })
    }
}

/// The answer; `None` when there is no such tool.
async fn answer(pool: &PoolHandle, call: &ToolCall) -> Result<Option<Json>, Problem> {
    let answer = match call.name.as_str() {
        "submit_coordination_task" => {
            let body: SubmitBody<'_> = args(call)?;
            let (spec, of) = body.parse_inside(call.task_id, call.caller, call.trace.clone())?;
            shown(&Submitted::from(pool.submit_child(spec, of).await?))
        }
        "get_coordination_task" => {
            let id = args::<TaskArgs<'_>>(call)?.parse()?;
            shown(&TaskShown::from(&pool.task(id, std::time::Duration::ZERO).await?))
        }
        "coordination_metrics" => {
            let Nothing {} = args(call)?;
            shown(&pool.metrics().await?)
        }
        "isolation_report" => {
            let Nothing {} = args(call)?;
            shown(&Report::from(&pool.isolation_report().await?))
        }
        _ => return Ok(None),
    };
    answer.map(Some)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskArgs<'a> {
    #[serde(borrow)]
    task_id: Option<&'a RawValue>,
    #[serde(borrow)]
    wait_s: Option<&'a RawValue>,
}

impl TaskArgs<'_> {
    fn parse(&self) -> Result<TaskId, Problem> {
        if let Some(wait) = self.wait_s.filter(|wait| !matches!(wait.get(), "0" | "0.0")) {
            let allowed = "left out: an agent of the pool must not wait here, or it could wait for \
                           itself; ask again later";
            return Err(not_allowed("wait_s", allowed, wait.get()));
        }
        let id = self.task_id.ok_or_else(|| super::fields::missing("task_id", "a task's id"))?;
        let id = string("task_id", id)?;
        TaskId::parse(&id).ok_or_else(|| Refusal::TaskNotFound.into())
    }
}

fn args<'a, T: Deserialize<'a>>(call: &'a ToolCall) -> Result<T, Problem> {
    let args = call.args.as_ref().map_or("{}", Json::as_str);
    serde_json::from_str(args).map_err(|error| {
        Problem::invalid(format!("the arguments of {} are not allowed: {error}", call.name))
    })
}

fn shown(answer: &impl Serialize) -> Result<Json, Problem> {
    to_raw_value(answer)
        .map(Json::new)
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))
}
