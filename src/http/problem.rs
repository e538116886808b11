//! What goes wrong, in one table: every refusal of the pool, every way a call can fail and every
//! error of the edge has its code, its status and its title here.

mod code;

use std::borrow::Cow;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

pub(super) use code::Code;

use crate::actors::handle::CallError;
use crate::domain::{Attempt, MAX_CHILDREN, MAX_DEPTH, Refusal, TraceId};

/// The media type of a problem.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// The members that some problems have besides those of all, and what they are.
pub(super) const EXTRA_MEMBERS: [(&str, &str); 15] = [
    ("task_status", "of `already_finished` and `not_retryable`: the status of the task"),
    ("finished_by_attempt", "of `already_finished`: which attempt ended the task, or `null`"),
    ("newest_attempt", "of `stale_attempt` and `attempt_required`"),
    ("current_incarnation", "of `stale_incarnation`"),
    ("agent_status", "of `not_degraded`"),
    ("task_id", "of `idempotency_conflict`: the task that has the key"),
    (
        "max_depth",
        "of `queue_full` and `gate_backlog_full`, and of `too_deep`: how far children may stand below a root",
    ),
    ("max_children", "of `too_many_children`: how many one attempt may hand out"),
    ("waiting_parents", "of `would_deadlock`: how many tasks wait for children already"),
    ("live_agents", "of `would_deadlock`"),
    ("gate", "of `gate_backlog_full`: its name"),
    ("max_size", "of `pool_full`"),
    ("min_free_mb", "of `store_full`"),
    ("max_body_bytes", "of `body_too_large`"),
    ("reasons", "of `not_ready`: a list of sentences"),
];

/// Why a request was not done, as it is shown: `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    /// More members, for programs. The state of a task is `task_status` here, because `status` is
    /// the status of the answer.
    extra: Vec<(&'static str, Value)>,
    retry_after_s: Option<u32>,
    allow: Option<&'static str>,
}

impl Problem {
    /// A problem with this sentence for a person.
    pub(super) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            extra: Vec::new(),
            retry_after_s: code.retry_after_s(),
            allow: None,
        }
    }

    /// A value that is not allowed.
    pub(super) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::ValidationFailed, detail)
    }

    /// A method that this path does not know.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("this path allows {allow}");
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed, detail) }
    }

    /// The same with one more member for programs.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        debug_assert!(
            EXTRA_MEMBERS.iter().any(|(known, _)| *known == name),
            "{name} is not described"
        );
        self.extra.push((name, value.into()));
        self
    }

    /// What a client may branch on, and the sentence for a person.
    pub(super) fn code_and_detail(&self) -> (&'static str, &str) {
        (self.code.row().0, &self.detail)
    }

    /// What a client may branch on.
    pub(super) const fn code(&self) -> Code {
        self.code
    }

    /// A sentence for a person.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// More members, for programs.
    pub(super) fn extra(&self) -> &[(&'static str, Value)] {
        &self.extra
    }

    /// When the same may be tried again, in seconds; `None` when that is no use.
    pub(super) const fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s
    }

    /// The answer. Problems become answers only where the trace is known.
    pub(super) fn response(&self, trace: &TraceId) -> HttpResponse {
        let body = serde_json::to_vec(&Shown { problem: self, trace }).unwrap_or_default();
        self.head().body(body)
    }

    fn head(&self) -> HttpResponseBuilder {
        let (_, status, _) = self.code.row();
        let mut response = HttpResponse::build(status);
        let problem_json = HeaderValue::from_static(PROBLEM_JSON);
        response.insert_header((CONTENT_TYPE, problem_json));
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, HeaderValue::from_static(allow)));
        }
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.row().1
    }

    /// Without a body: that is written where the trace is known.
    fn error_response(&self) -> HttpResponse {
        self.head().finish()
    }
}

struct Shown<'a> {
    problem: &'a Problem,
    trace: &'a TraceId,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (code, status, title) = self.problem.code.row();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("urn:daedalus:problem:{code}"))?;
        map.serialize_entry("title", title)?;
        map.serialize_entry("status", &status.as_u16())?;
        map.serialize_entry("detail", &self.problem.detail)?;
        map.serialize_entry("code", code)?;
        map.serialize_entry("trace_id", self.trace.as_str())?;
        for (name, value) in &self.problem.extra {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let problem = |code| Self::new(code, detail);
        match refusal {
            Refusal::TaskNotFound => problem(Code::TaskNotFound),
            Refusal::AgentNotFound => problem(Code::AgentNotFound),
            Refusal::QueueFull { max_depth, retry_after_s } => Self {
                retry_after_s: Some(retry_after_s),
                ..problem(Code::QueueFull).with("max_depth", max_depth)
            },
            Refusal::GateBacklogFull { gate, max_depth, retry_after_s } => Self {
                retry_after_s: Some(retry_after_s),
                ..problem(Code::GateBacklogFull).with("gate", &*gate).with("max_depth", max_depth)
            },
            Refusal::GateNotFound => problem(Code::GateNotFound),
            Refusal::ScheduleNotFound => problem(Code::ScheduleNotFound),
            Refusal::PoolFull { max_size } => problem(Code::PoolFull).with("max_size", max_size),
            Refusal::PoolClosing => problem(Code::PoolClosing),
            Refusal::Draining => problem(Code::Draining),
            Refusal::AlreadyFinished { status, finished_by }
            | Refusal::ParentEnded { status, finished_by } => problem(Code::AlreadyFinished)
                .with("task_status", status.name())
                .with("finished_by_attempt", json!(finished_by.map(Attempt::get))),
            Refusal::StaleAttempt { given: _, newest } => {
                problem(Code::StaleAttempt).with("newest_attempt", newest.get())
            }
            Refusal::AttemptRequired { newest } => {
                problem(Code::AttemptRequired).with("newest_attempt", newest.get())
            }
            Refusal::NotRunning => problem(Code::NotRunning),
            Refusal::NotExternal => problem(Code::NotExternal),
            Refusal::StaleIncarnation { given: _, current } => {
                problem(Code::StaleIncarnation).with("current_incarnation", current.get())
            }
            Refusal::NotDegraded { status } => {
                problem(Code::NotDegraded).with("agent_status", status)
            }
            Refusal::AgentFailed => problem(Code::AgentFailed),
            Refusal::StoreFull { min_free_mb } => {
                problem(Code::StoreFull).with("min_free_mb", min_free_mb)
            }
            Refusal::IdempotencyConflict { task_id } => {
                problem(Code::IdempotencyConflict).with("task_id", task_id.to_string())
            }
            Refusal::NotRetryable { status } => {
                problem(Code::NotRetryable).with("task_status", status.name())
            }
            Refusal::ParentNotFound => problem(Code::TaskNotFound),
            Refusal::ParentNotRunning => problem(Code::NotRunning),
            Refusal::TooDeep => problem(Code::TooDeep).with("max_depth", MAX_DEPTH),
            Refusal::TooManyChildren => {
                problem(Code::TooManyChildren).with("max_children", MAX_CHILDREN)
            }
            Refusal::WouldDeadlock { waiting, live } => problem(Code::WouldDeadlock)
                .with("waiting_parents", waiting)
                .with("live_agents", live),
        }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => refusal.into(),
            CallError::CanaryRunning => Self::new(Code::CanaryRunning, error.to_string()),
            CallError::NoAnswer(_) => Self::new(Code::NoAnswer, error.to_string()),
            CallError::StoreUnreadable | CallError::FailedUnreadable | CallError::Down => {
                Self::new(Code::Unavailable, error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::domain::{Incarnation, TaskStatus};

    fn shown(problem: &Problem) -> Value {
        let trace = TraceId::parse("t-1").unwrap();
        serde_json::to_value(Shown { problem, trace: &trace }).unwrap()
    }

    #[test]
    fn every_code_has_a_name_and_a_title_of_its_own() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.row().0).collect();
        let titles: BTreeSet<_> = Code::ALL.iter().map(|code| code.row().2).collect();
        assert_eq!((names.len(), titles.len()), (Code::ALL.len(), Code::ALL.len()));
    }

    #[test]
    fn every_429_and_503_says_when_to_try_again() {
        for code in Code::ALL {
            let status = code.row().1.as_u16();
            let problem = Problem::new(code, "");
            assert_eq!(problem.retry_after_s.is_some(), matches!(status, 429 | 503), "{code:?}");
            assert_eq!(problem.status_code(), status);
        }
    }

    #[test]
    fn a_refusal_keeps_what_a_program_needs() {
        let refusal = Refusal::AlreadyFinished {
            status: TaskStatus::Completed,
            finished_by: Some(Attempt::new(2)),
        };
        let body = shown(&CallError::Refused(refusal).into());
        assert_eq!(body["code"], "already_finished");
        assert_eq!(body["type"], "urn:daedalus:problem:already_finished");
        assert_eq!(body["status"], 409);
        assert_eq!(body["task_status"], "completed");
        assert_eq!(body["finished_by_attempt"], 2);
        assert_eq!(body["trace_id"], "t-1");

        let (given, current) = (Incarnation::new(1), Incarnation::new(3));
        let body = shown(&Refusal::StaleIncarnation { given, current }.into());
        assert_eq!(body["current_incarnation"], 3);

        let full = Problem::from(Refusal::QueueFull { max_depth: 7, retry_after_s: 33 });
        assert_eq!(full.retry_after_s, Some(33));
        assert_eq!(shown(&full)["max_depth"], 7);
    }

    #[test]
    fn a_call_without_an_answer_says_so() {
        let late = Problem::from(CallError::NoAnswer(Duration::from_millis(10)));
        assert_eq!((late.code(), late.status_code().as_u16()), (Code::NoAnswer, 504));
        let down = Problem::from(CallError::Down);
        assert_eq!((down.code(), down.status_code().as_u16()), (Code::Unavailable, 503));
        let unread = Problem::from(CallError::StoreUnreadable);
        assert_eq!((unread.code(), unread.status_code().as_u16()), (Code::Unavailable, 503));
        assert!(unread.to_string().contains("the log of the daemon says why"));
    }
}
