//! The tools that agents of the pool call while they work: who answers them is wired in from above,
//! so that an answer looks the same here as at every other door.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::handle::PoolHandle;
use crate::domain::{Caller, Json, TaskId, TraceId};

/// One call of a tool.
#[derive(Debug)]
pub struct ToolCall {
    /// Which tool.
    pub name: String,
    /// What it is given; `None`: nothing.
    pub args: Option<Json>,
    /// The task that the caller runs.
    pub task_id: TaskId,
    /// Who calls.
    pub caller: Caller,
    /// The trace of that task.
    pub trace: TraceId,
}

/// Why a call was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolRefusal {
    /// Stable, for programs.
    pub code: String,
    /// A sentence for the model.
    pub message: String,
}

/// What a call is answered: JSON, or why not.
pub type ToolAnswer = Result<Json, ToolRefusal>;

/// Answers calls.
pub trait ToolDesk: fmt::Debug + Send + Sync {
    /// The answer to a call, when it is there.
    fn call(&self, call: ToolCall) -> Pin<Box<dyn Future<Output = ToolAnswer>>>;
}

/// Makes the desk of a pool.
pub type MakeDesk = Box<dyn FnOnce(PoolHandle) -> Arc<dyn ToolDesk> + Send>;

/// A desk that nobody sits at: there is no tool.
#[must_use]
pub fn no_desk() -> MakeDesk {
    #[derive(Debug)]
    struct NoDesk;

    impl ToolDesk for NoDesk {
        fn call(
            &self,
            ToolCall { name, .. }: ToolCall,
        ) -> Pin<Box<dyn Future<Output = ToolAnswer>>> {
            let message = format!("there is no tool {name} here");
            let refusal = ToolRefusal { code: "unknown_tool".to_owned(), message };
            Box::pin(std::future::ready(Err(refusal)))
        }
    }

    Box::new(|_pool| Arc::new(NoDesk))
}
