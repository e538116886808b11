//! What was asked of the daemon and what it answered, in the order of time.
//!
//! Everything that an answer says of a task is a [`Sight`]: facts that hold from then on. A call
//! without an answer may have taken effect or not, so it says nothing; only its [`Span`] is kept.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Of a task, or (from 1) of one of its attempts: a number, a name, a value that stays.
pub(crate) type Facts = BTreeMap<(u64, &'static str), Value>;

/// The first number of [`Facts`] that are the task's own.
pub(crate) const TASK: u64 = 0;

/// The facts of an attempt that stay once they are there.
const OF_ATTEMPT: [&str; 8] = [
    "agent_id",
    "incarnation",
    "assigned_at",
    "started_at",
    "ended_at",
    "outcome",
    "failure",
    "decision",
];

/// The facts of a task that stay from the beginning, or once they are there.
const OF_TASK: [&str; 6] =
    ["task_type", "priority", "created_at", "started_at", "assignment_latency_ms", "trace_id"];

/// When a call was made and answered, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begin: u64,
    /// `u64::MAX` without an answer: the call is then before nothing.
    pub(crate) end: u64,
}

impl Span {
    /// Whether this was over when the other began.
    pub(crate) const fn is_before(self, other: Self) -> bool {
        self.end < other.begin
    }
}

/// What became of one try to submit a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is this task.
    Accepted(String),
    /// No, and nothing changed.
    Refused,
    /// Nothing.
    Unknown,
}

/// One try to submit. Tries of one token have the same payload and, if any, the same key.
#[derive(Clone, Debug)]
pub(crate) struct Submit {
    pub(crate) span: Span,
    pub(crate) token: String,
    pub(crate) payload: Value,
    pub(crate) has_key: bool,
    pub(crate) said: Said,
}

/// A `complete` of an external agent that was answered with 200.
#[derive(Clone, Debug)]
pub(crate) struct Completed {
    pub(crate) task: String,
    pub(crate) attempt: u64,
}

/// How much of a task an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// Everything (`GET /tasks/{id}`).
    Whole,
    /// What lists show.
    Row,
    /// Whatever facts it has.
    Word,
    /// That it is not there (404).
    Nothing,
}

/// What one answer said of one task.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) span: Span,
    pub(crate) task: String,
    pub(crate) shows: Shows,
    pub(crate) status: Option<String>,
    /// The number of its newest attempt, or one that is not newer.
    pub(crate) attempt: u64,
    pub(crate) failures: u64,
    pub(crate) facts: Facts,
}

impl Sight {
    /// The answer to `GET /tasks/{id}`, or a row of `GET /tasks`.
    pub(crate) fn of(span: Span, shows: Shows, task: &Value) -> Self {
        let mut facts = Facts::new();
        let mut keep = |number: u64, of: &Value, names: &[&'static str]| {
            for name in names.iter().filter(|name| !of[**name].is_null()) {
                facts.insert((number, *name), of[*name].clone());
            }
        };
        keep(TASK, task, &OF_TASK);
        if shows == Shows::Whole {
            keep(TASK, task, &["payload"]);
        }
        let attempts = task["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
        for attempt in attempts {
            keep(attempt["attempt"].as_u64().expect("it has a number"), attempt, &OF_ATTEMPT);
        }
        let status = task["status"].as_str().expect("it has a status").to_owned();
        if is_terminal(&status) {
            facts.insert((TASK, "ended_as"), status.as_str().into());
            let mut last = vec!["completed_at", "error", "attempt_count", "failures"];
            if shows == Shows::Whole {
                last.push("result");
            }
            facts.extend(last.into_iter().map(|name| ((TASK, name), task[name].clone())));
        }
        if let Some(last) = attempts.iter().find(|attempt| attempt["outcome"] == "completed") {
            facts.insert((TASK, "finished_by"), last["attempt"].clone());
        }
        Self {
            span,
            task: task["task_id"].as_str().expect("it has an id").to_owned(),
            shows,
            status: Some(status),
            attempt: task["attempt_count"].as_u64().expect("a number"),
            failures: task["failures"].as_u64().expect("a number"),
            facts,
        }
    }

    /// An answer that says only this of a task.
    pub(crate) fn word(span: Span, task: &str, status: Option<&str>) -> Self {
        let mut facts = Facts::new();
        if let Some(status) = status.filter(|status| is_terminal(status)) {
            facts.insert((TASK, "ended_as"), status.into());
        }
        Self {
            span,
            task: task.to_owned(),
            shows: Shows::Word,
            status: status.map(str::to_owned),
            attempt: 0,
            failures: 0,
            facts,
        }
    }

    /// The answer that there is no such task.
    pub(crate) fn nothing(span: Span, task: &str) -> Self {
        Self { shows: Shows::Nothing, ..Self::word(span, task, None) }
    }

    pub(crate) fn and(mut self, number: u64, name: &'static str, value: Value) -> Self {
        self.attempt = self.attempt.max(number);
        self.facts.insert((number, name), value);
        self
    }

    pub(crate) const fn with_attempt(mut self, attempt: u64) -> Self {
        self.attempt = attempt;
        self
    }
}

/// A walk through `GET /tasks`, page by page.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) span: Span,
    /// Which tasks were asked for; `None`: all.
    pub(crate) status: Option<String>,
    /// As they came, the newest submission first.
    pub(crate) ids: Vec<String>,
    /// Whether it went to the end.
    pub(crate) whole: bool,
}

/// What one answer said of one agent.
#[derive(Clone, Debug)]
pub(crate) struct AgentSight {
    pub(crate) span: Span,
    pub(crate) agent: String,
    pub(crate) incarnation: u64,
    pub(crate) context: String,
}

/// The agents of the pool, as one answer named them.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) span: Span,
    pub(crate) agents: Vec<String>,
}

/// An agent that was added, or a try to remove one.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) span: Span,
    pub(crate) agent: String,
}

/// What a worker wrote down of one run. Times are of one clock, for all runs.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) task: String,
    pub(crate) token: String,
    pub(crate) attempt: u64,
    pub(crate) agent: String,
    pub(crate) incarnation: u64,
    pub(crate) pid: u64,
    pub(crate) start: u64,
    /// `None`: it was cut off.
    pub(crate) end: Option<u64>,
    /// Earlier runs of the task whose processes were alive at the start.
    pub(crate) alive: Vec<u64>,
    /// Whether the daemon vouches that it is over before the next one begins (process agents).
    pub(crate) alone: bool,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) submits: Vec<Submit>,
    pub(crate) completed: Vec<Completed>,
    pub(crate) sights: Vec<Sight>,
    pub(crate) walks: Vec<Walk>,
    pub(crate) agents: Vec<AgentSight>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) spawned: Vec<Moved>,
    pub(crate) removed: Vec<Moved>,
    pub(crate) runs: Vec<Run>,
    /// Tasks that the daemon's log told of.
    pub(crate) logged: Vec<String>,
    /// From here on nothing was asked any more, every task has ended, and each was read.
    pub(crate) drained: u64,
}

impl History {
    /// Takes in what a line of the log says of a task. It may have been written at any time.
    pub(crate) fn heard(&mut self, line: &Value) {
        let Some(task) = line["task_id"].as_str() else { return };
        self.logged.push(task.to_owned());
        let span = Span { begin: 0, end: u64::MAX };
        let ended_as = line["msg"].as_str().and_then(|msg| msg.strip_prefix("task_"));
        let mut sight = Sight::word(span, task, ended_as.filter(|status| is_terminal(status)));
        if let Some(attempt) = line["attempt"].as_u64().filter(|_| line["msg"] == "task_assigned") {
            sight = sight.and(attempt, "agent_id", line["agent_id"].clone()).and(
                attempt,
                "incarnation",
                line["incarnation"].clone(),
            );
        }
        if line["msg"] == "task_completed" {
            sight = sight.and(TASK, "finished_by", line["attempt"].clone());
        }
        self.sights.push(sight);
    }

    /// The ids that any answer, or the log, named.
    pub(crate) fn tasks(&self) -> BTreeSet<&str> {
        let acknowledged = self.submits.iter().filter_map(|submit| match &submit.said {
            Said::Accepted(task) => Some(task.as_str()),
            Said::Refused | Said::Unknown => None,
        });
        let walked = self.walks.iter().flat_map(|walk| walk.ids.iter().map(String::as_str));
        let logged = self.logged.iter().map(String::as_str);
        acknowledged.chain(walked).chain(logged).collect()
    }
}

pub(crate) fn is_terminal(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled")
}
