//! What a turn of the scheduler changed that must outlive the daemon: changes, as data.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::agent::{AgentKind, Leaving, StatusReason};
use super::ids::{AgentId, Attempt, ContextIds, Incarnation, TaskId};
use super::priority::Seq;
use super::task::Task;
use super::task_type::{TaskType, TaskTypes};

/// One change. The changes of a turn are on disk together, or none of them is.
#[derive(Clone, Debug)]
pub enum Change {
    /// A task is now like this. Deadlines of its state are times of day.
    Task {
        /// The task, whole.
        task: Box<Task>,
        /// Whether the store cannot have it: it was just accepted, and has its key from now on,
        /// whoever had it before. Else its payload, key and what
        /// else never changes are as they were; but one that had ended and came back may have been
        /// forgotten meanwhile.
        new: bool,
    },
    /// An agent is now like this.
    Agent(Box<AgentRecord>),
    /// An agent is gone from the pool, and what was learned of it.
    AgentGone(AgentId),
    /// An agent completed a task.
    Learned(Lesson),
    /// So many agents should live.
    Target(usize),
    /// What a part of the pool remembers under this name is now this text.
    Note {
        /// Whose it is: `gates`, or `schedule:` and its name.
        name: Arc<str>,
        /// The text: JSON of the part's own.
        text: String,
    },
}

/// One success of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// Who.
    pub agent: AgentId,
    /// What sort of task.
    pub kind: TaskType,
    /// The number of this success among those of this agent and type, from 0.
    pub number: u64,
    /// Takes the place of the lesson that has the same one: `number` modulo the window.
    pub slot: usize,
    /// From start to end, in microseconds.
    pub latency_us: u64,
}

/// What of an agent outlives the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRecord {
    /// Its id.
    pub id: AgentId,
    /// What stands behind it.
    pub kind: AgentKind,
    /// What it takes.
    pub types: TaskTypes,
    /// Its newest life.
    pub incarnation: Incarnation,
    /// What belongs to that life alone.
    pub ids: ContextIds,
    /// Why it gets no task, when it is an external agent that was failed or lost.
    pub degraded: Option<(StatusReason, String)>,
    /// Whether it is on its way out of the pool, and how; until when is a time of day.
    pub leaving: Option<Leaving>,
    /// The launcher of its process, while there is one.
    pub launcher: Option<Launcher>,
    /// What an external agent was asked to stop and may still be at: an attempt whose task was
    /// cancelled.
    pub cancelled_run: Option<(TaskId, Attempt)>,
}

/// A process that a later daemon has to find again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// Its number, which may mean another process by then.
    pub pid: u32,
    /// When it began, in clock ticks since the boot: tells it from another one.
    pub start_ticks: u64,
}

/// Everything that a start must know; what an empty store has is the default.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Every task that has not ended, the oldest submission first.
    pub tasks: Vec<Task>,
    /// Every agent.
    pub agents: Vec<AgentRecord>,
    /// The tasks of the agents' `cancelled_run`, whole, as far as they are not forgotten.
    pub cancelled: Vec<Task>,
    /// What was learned, the oldest lesson of an agent and type first.
    pub lessons: Vec<Lesson>,
    /// How many agents should live; `None`: nobody said so yet.
    pub target: Option<usize>,
    /// What parts of the pool remember, by [`Change::Note`].
    pub notes: BTreeMap<String, String>,
    /// The newest number of a submission that the store knows.
    pub last_seq: Option<Seq>,
}
