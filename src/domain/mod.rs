//! The rules of the pool, pure: time, ids and random parts are arguments, effects come out as data.

mod exit;
mod ids;
mod json;
mod report;
mod task_type;

pub use exit::Exit;
pub use ids::{AgentId, Attempt, ContextIds, Incarnation, TaskId, TraceId};
pub use json::Json;
pub use report::{Report, TaskError, Usage};
pub use task_type::{PerType, TaskType, TaskTypes};
