//! The rules of the pool, pure: time, ids and random parts are arguments, effects come out as data.

mod ids;
mod report;
mod task_type;

pub use ids::{AgentId, Attempt, ContextIds, Incarnation, TaskId, TraceId};
pub use report::{Json, Report, TaskError, Usage};
pub use task_type::{PerType, TaskType, TaskTypes};
