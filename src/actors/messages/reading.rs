//! Reading the store: requests to the `HistoryReader`, and what it tells the Router.

use std::sync::Arc;

use actix::{Message, Recipient};

use crate::domain::{
    FollowUpPlan, FollowUpRule, Json, ListQuery, Priority, Task, TaskId, TaskPage, TaskStatus,
    TaskType, TaskTypes,
};

/// The store could not be read; the log says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Asks for a task that is not in memory.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Option<Task>, Unreadable>")]
pub struct ReadTask(pub TaskId);

/// Asks for a page of tasks.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<TaskPage, Unreadable>")]
pub struct ReadPage(pub ListQuery);

/// From the Router: who has this idempotency key?
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct FindKey {
    /// The key.
    pub name: Arc<str>,
    /// Who wants to know.
    pub router: Recipient<KeyFound>,
}

/// To the Router: the task that has the key, if there is one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct KeyFound {
    /// The key.
    pub name: Arc<str>,
    /// Who has it.
    pub found: Result<Option<Task>, Unreadable>,
}

/// What is to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One task.
    Task(TaskId),
    /// The oldest that ended so.
    Oldest {
        /// Failed or cancelled.
        status: TaskStatus,
        /// Of which types they are counted.
        of: TaskTypes,
        /// Of which of these they are read.
        from: TaskTypes,
        /// At most so many.
        at_most: usize,
    },
}

/// From the Router: fetch what is to be tried again.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct FetchEnded {
    /// What.
    pub wanted: Wanted,
    /// Who wants it.
    pub router: Recipient<EndedFetched>,
}

/// To the Router: what was to be fetched.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct EndedFetched {
    /// The tasks, whole, and how many there are in all.
    pub found: Result<(Vec<Task>, u64), Unreadable>,
}

/// A result that rules look at.
#[derive(Clone, Debug)]
pub struct Planning {
    /// Every rule.
    pub rules: Arc<[FollowUpRule]>,
    /// The type of the task.
    pub of: TaskType,
    /// Its priority, which is that of the tasks that come of it.
    pub priority: Priority,
    /// What it found.
    pub result: Option<Json>,
}

/// From the Router: what do the rules make of this result, and who has the keys?
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PlanFollowUps {
    /// The number of the question.
    pub number: u64,
    /// What is to be planned.
    pub planning: Planning,
    /// Who wants to know.
    pub router: Recipient<FollowUpsPlanned>,
}

/// To the Router: what the rules that look at this type of task make of the result.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FollowUpsPlanned {
    /// The number of the question.
    pub number: u64,
    /// A plan of each rule.
    pub planned: Result<Vec<FollowUpPlan>, Unreadable>,
}
