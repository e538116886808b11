//! A store with a past: tasks as a daemon would have left them, without the time to run them.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use daedalus::domain::{
    AgentId, Attempt, AttemptEnded, AttemptRecord, Candidate, Change, Decision, Incarnation, Json,
    Now, Outcome, Priority, Rule, Seq, Task, TaskId, TaskSpec, TaskState, TaskStatus, TaskType,
    TraceId,
};
use daedalus::store::{SqliteStore, Store};
use uuid::Uuid;

use crate::load::{COMPLETE, SUBMIT};

const BATCH: u64 = 2_000;
/// The tasks are so far apart in time, in microseconds: a million of them is less than a day.
const APART_US: u64 = 80_000;

/// Writes `tasks` tasks, one in `pending_every` of them waiting and the others completed, and
/// returns the ids of a few that ended.
pub(crate) fn write(
    path: &Path,
    tasks: u64,
    pending_every: u64,
    mut tell: impl FnMut(u64),
) -> Vec<TaskId> {
    let wall_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let mut store = SqliteStore::open(path).unwrap();
    let maker = Maker::new(wall_us - tasks * APART_US);
    let mut ended = Vec::new();
    for first in (0..tasks).step_by(BATCH as usize) {
        let batch = (first..tasks.min(first + BATCH)).map(|number| {
            let task = maker.task(number, number % pending_every == pending_every - 1);
            if number % (tasks / 1_000) == 0 {
                ended.push(task.id);
            }
            Change::Task { task: Box::new(task), new: true }
        });
        let batch = batch.collect();
        store.commit(batch).unwrap();
        tell(first + BATCH);
    }
    store.checkpoint().unwrap();
    ended
}

struct Maker {
    begin_us: u64,
    payload: Json,
    result: Json,
    agents: [AgentId; 4],
}

impl Maker {
    /// What clients send in the other benchmarks.
    fn new(begin_us: u64) -> Self {
        let field = |text: &str, name: &str| {
            let whole: serde_json::Value = serde_json::from_str(text).unwrap();
            serde_json::from_str(&whole[name].to_string()).unwrap()
        };
        Self {
            begin_us,
            payload: field(SUBMIT, "payload"),
            result: field(COMPLETE, "result"),
            agents: [(); 4].map(|()| AgentId::from_uuid(Uuid::new_v4())),
        }
    }

    fn task(&self, number: u64, pending: bool) -> Task {
        let created_us = self.begin_us + number * APART_US;
        let after = |us| Now { mono_us: created_us + us, wall_us: created_us + us };
        let mut task = Task::new(
            TaskId::from_uuid(Uuid::now_v7()),
            Seq::new(number + 1),
            TaskSpec {
                kind: TaskType::Research,
                payload: self.payload.clone(),
                priority: Priority::default(),
                preferred: None,
                timeout_us: None,
                key: None,
                trace: TraceId::from_uuid(Uuid::new_v4()),
            },
            after(0),
        );
        if !pending {
            task.state = TaskState::Ended { status: TaskStatus::Completed, at: after(31_000) };
            task.attempt = Attempt::new(1);
            task.attempts.push(self.attempt(after(700), after(1_000), after(31_000)));
            task.first_started = Some(after(1_000));
            task.result = Some(self.result.clone());
        }
        task
    }

    fn attempt(&self, assigned: Now, started: Now, ended: Now) -> AttemptRecord {
        let candidate = |agent_id| Candidate { agent_id, score_ms: Some(30.0) };
        AttemptRecord {
            attempt: Attempt::new(1),
            agent: self.agents[0],
            incarnation: Incarnation::FIRST,
            decision: Decision {
                rule: Rule::Affinity,
                candidates: self.agents.map(candidate).to_vec(),
                candidates_total: self.agents.len(),
                excluded: Vec::new(),
                relaxed: false,
                waited_ms: 0.7,
                preference: None,
            },
            assigned,
            started: Some(started),
            end: Some(AttemptEnded {
                at: ended,
                outcome: Outcome::Completed,
                counted: false,
                failure: None,
                usage: None,
            }),
            overlap_possible: false,
            stop: None,
            children: 0,
        }
    }
}
