//! The frames between the daemon and a worker: JSON Lines, one flat object with a `type` each.
//!
//! A worker says `hello`, gets `init`, says `ready`, and then gets one `task` at a time, each of
//! which it ends with exactly one `result`, `error` or `cancelled`. Unknown fields are ignored both
//! ways, so adding one is no new version.

mod canary;

use std::borrow::Cow;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::frames::MAX_LOG_LINE_BYTES;
use crate::domain::{
    AgentId, Attempt, Confinement, Incarnation, Json, MAX_CODE_BYTES, MAX_MESSAGE_BYTES, Report,
    TaskError, TaskId, TaskType, TraceId, Usage, cut,
};

pub use canary::{CANARY_PREFIX, CanaryDone, CanaryNews, Find, Found, Hints, Planted};

/// The version of the protocol that this daemon speaks.
pub const PROTO: u32 = 1;

/// The code of the error of a task whose result cannot be passed on.
const RESULT_NOT_JSON: &str = "result_not_json";

/// Why a frame of a worker cannot be taken. The worker broke the protocol, or its pipe broke.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The line is not what a frame looks like.
    #[error("a frame is not a JSON object with a type: {0}")]
    NotAFrame(String),
    /// The type is known, and its fields are not what they must be.
    #[error("a frame of type {kind} is not well-formed: {why}")]
    Malformed {
        /// The type that the frame says it is.
        kind: String,
        /// What is wrong with it.
        why: String,
    },
    /// The line goes on beyond the limit.
    #[error("a frame is longer than {limit} bytes")]
    TooLong {
        /// What the worker was told in `init`.
        limit: usize,
    },
    /// A frame was lost or written twice.
    #[error("frame {found} came where frame {expected} was due")]
    Gap {
        /// The number after that of the frame before.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The pipe cannot be read.
    #[error("cannot read the output of the worker: {0}")]
    Read(#[source] std::io::Error),
}

/// What a worker says: no more of it than somebody reads, so that nothing else can be wrong with it.
/// Its texts are cut to what a log and an answer can bear.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// From the launcher, before there is a worker: what it enforced on it.
    Confined(Box<Confinement>),
    /// The first frame.
    Hello {
        /// The oldest and the newest version that the worker speaks.
        proto: [u32; 2],
        /// Whether it understands the frames of the canary.
        canary: bool,
    },
    /// It can take tasks.
    Ready,
    /// It cannot work with what `init` said; it ends with code 65.
    InitError {
        /// Why.
        message: String,
    },
    /// It began to work on this attempt.
    Started {
        /// Which task.
        task_id: TaskId,
        /// Which attempt of it.
        attempt: Attempt,
    },
    /// One call of a model.
    ModelCall(About),
    /// One step of the agent.
    Step(About),
    /// The agent wants a tool of the daemon.
    ToolCall(ToolCall),
    /// A line for the log.
    Log(Log),
    /// A sign of life.
    Heartbeat(Heartbeat),
    /// An attempt ended: `result`, `error` or `cancelled`.
    Ended {
        /// Which task.
        task_id: TaskId,
        /// Which attempt of it.
        attempt: Attempt,
        /// How.
        report: Report,
    },
    /// What it did about a canary.
    Canary(CanaryNews),
    /// It was asked to cancel something that it does not run.
    CancelIgnored,
    /// The answer to a ping.
    Pong,
    /// It cannot go on; it ends.
    Fatal {
        /// Why.
        message: String,
    },
    /// The answer to `shutdown`; it ends with code 0.
    Bye,
    /// A type of a later version.
    Unknown,
}

/// What is read of a `step` or `model_call`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct About {
    /// Which task.
    pub task_id: TaskId,
}

/// What is read of a `heartbeat`: nothing of it must be there, and what makes no sense is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// The task that the worker is at.
    pub task_id: Option<TaskId>,
    /// What it does for it.
    pub phase: Option<Phase>,
}

/// What a worker does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// `agent`, `model`, `tool:NAME`, or a name of the worker's own.
    pub name: String,
    /// For how long it has been at it, when it says so.
    pub lasts: Option<Duration>,
}

/// The body of `tool_call`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ToolCall {
    /// Which task calls.
    pub task_id: TaskId,
    /// Comes back with the answer; any JSON.
    pub call_id: Json,
    /// Which tool.
    pub name: String,
    /// What it is given; absent: nothing.
    #[serde(default)]
    pub args: Option<Json>,
}

/// The body of `log`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Log {
    /// `debug`, `info`, `warning` or `error`; whatever else it may be is for the reader.
    #[serde(default)]
    pub level: String,
    /// The line.
    pub text: String,
}

/// Reads one line. An unknown type is [`FromWorker::Unknown`]; anything else that does not fit is
/// an error.
pub fn parse(line: &[u8]) -> Result<FromWorker, FrameError> {
    parse_numbered(line).map(|(_, frame)| frame)
}

/// Reads one line and its `seq`, if it has one.
pub(super) fn parse_numbered(line: &[u8]) -> Result<(Option<u64>, FromWorker), FrameError> {
    let head: Head<'_> =
        serde_json::from_slice(line).map_err(|error| FrameError::NotAFrame(brief(&error)))?;
    let frame = body(&head.kind, line).map_err(|error| FrameError::Malformed {
        kind: head.kind.chars().take(32).collect(),
        why: brief(&error),
    })?;
    Ok((head.seq, frame))
}

fn body(kind: &str, line: &[u8]) -> serde_json::Result<FromWorker> {
    let from = line;
    Ok(match kind {
        "confined" => FromWorker::Confined(serde_json::from_slice(from)?),
        "hello" => {
            let Hello { proto, features } = serde_json::from_slice(from)?;
            let canary = canary::is_named_in(features.as_deref());
            FromWorker::Hello { proto, canary }
        }
        "ready" => FromWorker::Ready,
        "init_error" => FromWorker::InitError { message: said(from)? },
        "started" => {
            let Lease { task_id, attempt } = serde_json::from_slice(from)?;
            FromWorker::Started { task_id, attempt }
        }
        "model_call" => FromWorker::ModelCall(serde_json::from_slice(from)?),
        "step" => FromWorker::Step(serde_json::from_slice(from)?),
        "tool_call" => {
            let call: ToolCall = serde_json::from_slice(from)?;
            FromWorker::ToolCall(ToolCall { name: cut(call.name, MAX_CODE_BYTES), ..call })
        }
        "log" => {
            let Log { level, text } = serde_json::from_slice(from)?;
            let [level, text] = [level, text].map(|text| cut(text, MAX_LOG_LINE_BYTES));
            FromWorker::Log(Log { level, text })
        }
        "heartbeat" => FromWorker::Heartbeat(heartbeat(serde_json::from_slice(from)?)),
        "result" => {
            let Completed { task_id, attempt, output, usage } = serde_json::from_slice(from)?;
            FromWorker::Ended { task_id, attempt, report: completed(output, used(usage)) }
        }
        "error" => {
            let Failed { task_id, attempt, code, message, retryable, usage } =
                serde_json::from_slice(from)?;
            let (code, message) = (cut(code, MAX_CODE_BYTES), cut(message, MAX_MESSAGE_BYTES));
            let error = TaskError { code, message, retryable };
            FromWorker::Ended {
                task_id,
                attempt,
                report: Report::Failed { error, usage: used(usage) },
            }
        }
        "cancelled" => {
            let Cancelled { task_id, attempt, usage } = serde_json::from_slice(from)?;
            let report = Report::Cancelled { usage: used(usage) };
            FromWorker::Ended { task_id, attempt, report }
        }
        "cancel_ignored" => FromWorker::CancelIgnored,
        "pong" => FromWorker::Pong,
        "fatal" => FromWorker::Fatal { message: said(from)? },
        "bye" => FromWorker::Bye,
        _ => canary::read(kind, from)?.map_or(FromWorker::Unknown, FromWorker::Canary),
    })
}

fn said(line: &[u8]) -> serde_json::Result<String> {
    serde_json::from_slice(line).map(|Said { message }| cut(message, MAX_MESSAGE_BYTES))
}

/// A result that not every reader can take is the fault of the task, and the worker can go on.
fn completed(output: Box<RawValue>, usage: Option<Usage>) -> Report {
    match Json::checked(output) {
        Ok(result) => Report::Completed { result: Some(result), usage },
        Err(error) => {
            let error = TaskError {
                code: RESULT_NOT_JSON.to_owned(),
                message: format!(
                    "the result is not JSON that every reader can take: {}",
                    brief(&error)
                ),
                retryable: false,
            };
            Report::Failed { error, usage }
        }
    }
}

/// An account that cannot be read is no reason to lose the result that it came with.
fn used(usage: Option<Box<RawValue>>) -> Option<Usage> {
    readable(usage)
}

/// Whatever a worker says of itself, it gave a sign of life.
fn heartbeat(beat: Beat) -> Heartbeat {
    let name = readable(beat.phase).filter(|name: &String| !name.is_empty());
    let lasts = readable(beat.phase_s).and_then(|s| Duration::try_from_secs_f64(s).ok());
    let phase = name.map(|name| Phase { name: cut(name, MAX_CODE_BYTES), lasts });
    Heartbeat { task_id: readable(beat.task_id), phase }
}

/// `None` for what is not there and for what is something else.
fn readable<T: DeserializeOwned>(value: Option<Box<RawValue>>) -> Option<T> {
    serde_json::from_str(value?.get()).ok()
}

/// An error of serde may quote what it did not expect; only its beginning is passed on.
fn brief(error: &serde_json::Error) -> String {
    error.to_string().chars().take(160).collect()
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    seq: Option<u64>,
}

#[derive(Deserialize)]
struct Hello {
    proto: [u32; 2],
    #[serde(default)]
    features: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Beat {
    #[serde(default)]
    task_id: Option<Box<RawValue>>,
    #[serde(default)]
    phase: Option<Box<RawValue>>,
    #[serde(default)]
    phase_s: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Said {
    message: String,
}

#[derive(Deserialize)]
struct Lease {
    task_id: TaskId,
    attempt: Attempt,
}

#[derive(Deserialize)]
struct Completed {
    task_id: TaskId,
    attempt: Attempt,
    /// Not an `Option`: `null` is a result, and no `output` at all is a broken frame.
    output: Box<RawValue>,
    #[serde(default)]
    usage: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Failed {
    task_id: TaskId,
    attempt: Attempt,
    code: String,
    message: String,
    #[serde(default)]
    retryable: bool,
    #[serde(default)]
    usage: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Cancelled {
    task_id: TaskId,
    attempt: Attempt,
    #[serde(default)]
    usage: Option<Box<RawValue>>,
}

/// One task for a worker.
#[derive(Clone, Debug, Serialize)]
pub struct TaskFrame<'a> {
    /// Which task.
    pub task_id: TaskId,
    /// Which attempt of it; goes back with the result.
    pub attempt: Attempt,
    /// Its kind.
    pub task_type: TaskType,
    /// What the client sent.
    pub payload: &'a Json,
    /// Ties the work to the request that caused it.
    pub trace_id: &'a TraceId,
    /// How long the attempt may take, from its assignment.
    pub timeout_s: f64,
    /// Why the attempt before this one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_failure: Option<&'a str>,
}

/// What the daemon says to a worker.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToWorker<'a> {
    /// The answer to `hello`.
    Init {
        /// The version that both speak from here on.
        proto: u32,
        /// Whose process the worker is.
        agent_id: AgentId,
        /// Which life of the agent.
        incarnation: Incarnation,
        /// How often the worker gives a sign of life.
        heartbeat_s: f64,
        /// The longest frame that either side takes.
        max_frame_bytes: usize,
        /// How the agent is to be built, for the worker alone to understand.
        agent: &'a serde_json::Value,
    },
    /// Something to do.
    Task(TaskFrame<'a>),
    /// Asks to stop. Without effect when the worker is not at it any more.
    Cancel {
        /// Which task.
        task_id: TaskId,
        /// Which attempt of it.
        attempt: Attempt,
        /// For the log of the worker.
        reason: &'a str,
    },
    /// The answer to `tool_call`.
    ToolResult {
        /// What the call said.
        call_id: &'a Json,
        /// Whether it was done.
        ok: bool,
        /// What it is answered, when it was.
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<&'a Json>,
        /// Why not, for programs, when it was not.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'a str>,
        /// Why not, for the model.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    },
    /// Asks for a `pong`.
    Ping {
        /// Comes back in the pong.
        nonce: u64,
    },
    /// Asks an idle worker to hide a secret.
    CanaryPlant {
        /// Which run of the check.
        run: Uuid,
        /// What to hide.
        secret: &'a str,
    },
    /// Asks an idle worker to look for the secrets of others.
    CanaryLook {
        /// Which run of the check.
        run: Uuid,
        /// Where the others are.
        #[serde(flatten)]
        hints: &'a Hints,
    },
    /// Asks an idle worker to remove what it hid.
    CanaryClear {
        /// Which run of the check.
        run: Uuid,
    },
    /// Asks an idle worker to end.
    Shutdown {
        /// For the log of the worker.
        reason: &'a str,
    },
}

/// The frame in which a launcher says how its worker is confined, with its line break. It has no
/// number: those are the worker's.
#[must_use]
pub fn confined(confinement: &Confinement) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(tag = "type", rename = "confined")]
    struct Confined<'a> {
        #[serde(flatten)]
        confinement: &'a Confinement,
    }
    let mut line = serde_json::to_vec(&Confined { confinement }).unwrap_or_default();
    line.push(b'\n');
    line
}

impl ToWorker<'_> {
    /// The frame as one line, with its line break.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Every key is a string and nothing here can fail, so there is always a whole line.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
