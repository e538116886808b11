//! Tasks, agents and lessons to store.

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{
    AgentId, AgentKind, AgentRecord, Attempt, AttemptEnded, AttemptRecord, Candidate, Change,
    ContextIds, Decision, Failure, Fingerprint, IdempotencyKey, Incarnation, Json, Lesson, Now,
    Outcome, Priority, Rule, Seq, Task, TaskId, TaskSpec, TaskState, TaskStatus, TaskType,
    TaskTypes, TraceId, Usage,
};

pub(super) fn json(text: &str) -> Json {
    Json::new(RawValue::from_string(text.to_owned()).unwrap())
}

/// Some JSON a little longer than this.
pub(super) fn payload(bytes: usize) -> Json {
    json(&format!("{{\"text\": \"{}\"}}", "x".repeat(bytes)))
}

/// A moment as it looks after a restart.
pub(super) fn at(time: u64) -> Now {
    Now { mono_us: time, wall_us: time }
}

pub(super) fn agent_id(number: u128) -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(number))
}

pub(super) fn task_id(seq: u64) -> TaskId {
    TaskId::from_uuid(Uuid::from_u128(u128::from(seq) << 64 | 7))
}

pub(super) fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey { name: name.into(), content: Fingerprint([7; 32]) }
}

/// A task that waits; submitted at `seq` seconds.
pub(super) fn pending(seq: u64) -> Task {
    let created = at(seq * 1_000_000);
    Task::new(
        task_id(seq),
        Seq::new(seq),
        TaskSpec {
            kind: TaskType::ALL[seq as usize % TaskType::COUNT],
            payload: json(&format!("{{\"number\": {seq}}}")),
            priority: Priority::new(seq as i64 % 100).unwrap(),
            preferred: None,
            timeout_us: None,
            key: None,
            trace: TraceId::parse("trace").unwrap(),
        },
        created,
    )
}

/// A task that is with an agent.
pub(super) fn running(seq: u64) -> Task {
    let mut task = pending(seq);
    let agent = agent_id(u128::from(seq) % 64);
    task.state = TaskState::InProgress { agent };
    task.attempt = Attempt::new(1);
    task.attempts.push(AttemptRecord {
        attempt: task.attempt,
        agent,
        incarnation: Incarnation::FIRST,
        decision: Decision {
            rule: Rule::LongestIdle,
            candidates: vec![Candidate { agent_id: agent, score_ms: Some(1.25) }],
            candidates_total: 1,
            excluded: Vec::new(),
            relaxed: false,
            waited_ms: 0.125,
            preference: None,
        },
        assigned: task.created,
        started: None,
        end: None,
        overlap_possible: false,
        stop: None,
        children: 0,
    });
    task
}

/// A task that ended a second after its submission.
pub(super) fn ended(seq: u64, status: TaskStatus) -> Task {
    let mut task = running(seq);
    let at = at((seq + 1) * 1_000_000);
    task.state = TaskState::Ended { status, at };
    let outcome = match status {
        TaskStatus::Failed => Outcome::Failed,
        TaskStatus::Cancelled => Outcome::Cancelled,
        TaskStatus::Pending | TaskStatus::InProgress | TaskStatus::Completed => Outcome::Completed,
    };
    let failure =
        (outcome != Outcome::Completed).then(|| Failure::new("some_cause", "it did not work"));
    let usage = Some(Usage { input_tokens: 12, output_tokens: 3, ..Usage::default() });
    task.attempts[0].end =
        Some(AttemptEnded { at, outcome, counted: status == TaskStatus::Failed, failure, usage });
    task.result = (outcome == Outcome::Completed).then(|| json("{\"answer\": 42}"));
    task
}

pub(super) fn new(task: Task) -> Change {
    Change::Task { task: Box::new(task), new: true }
}

pub(super) fn changed(task: Task) -> Change {
    Change::Task { task: Box::new(task), new: false }
}

pub(super) fn agent(number: u128) -> AgentRecord {
    let uuid = |offset| Uuid::from_u128(number * 10 + offset);
    AgentRecord {
        id: agent_id(number),
        kind: AgentKind::Process,
        types: TaskTypes::ALL,
        incarnation: Incarnation::FIRST,
        ids: ContextIds {
            context_window_id: uuid(1),
            tool_session_id: uuid(2),
            memory_handle_id: uuid(3),
        },
        degraded: None,
        leaving: None,
        launcher: None,
        cancelled_run: None,
    }
}

/// A success in a window of 3.
pub(super) fn lesson(number: u64, latency_us: u64) -> Lesson {
    Lesson {
        agent: agent_id(1),
        kind: TaskType::Research,
        number,
        slot: number as usize % 3,
        latency_us,
    }
}
