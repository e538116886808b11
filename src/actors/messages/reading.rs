//! Reading the store: requests to the `HistoryReader`, and what it tells the Router.

use actix::{Message, Recipient};

use crate::domain::{ListQuery, Task, TaskId, TaskPage, TaskStatus, TaskType};

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
    pub name: std::sync::Arc<str>,
    /// Who wants to know.
    pub router: Recipient<KeyFound>,
}

/// To the Router: the task that has the key, if there is one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct KeyFound {
    /// The key.
    pub name: std::sync::Arc<str>,
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
        /// Of which type; `None`: of any.
        kind: Option<TaskType>,
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
