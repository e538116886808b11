//! The rules of the pool, pure: time, ids and random parts are arguments, effects come out as data.

mod affinity;
mod agent;
mod attempt;
mod canonical;
mod chain;
mod change;
mod confinement;
mod cut;
mod decision;
mod effect;
mod exit;
mod family;
mod follow_up;
mod gate;
mod gate_note;
mod gates;
mod histogram;
mod idempotency;
mod idle;
mod ids;
mod json;
pub mod limits;
mod metrics;
mod parent;
mod placement;
mod priority;
mod queue;
mod recurring;
mod refusal;
mod report;
mod restart_budget;
mod schedule;
mod scheduler;
mod service_rate;
mod stop;
mod task;
mod task_type;
mod time;
mod timers;
mod view;
mod wellformed;

#[cfg(test)]
mod tests;

pub use agent::{AgentKind, AgentStats, AgentStatus, Leaving, ProcessFacts, StatusReason};
pub use attempt::{AttemptEnded, AttemptRecord, Failure, Outcome};
pub use chain::Chain;
pub use change::{AgentRecord, Change, Launcher, Lesson, Snapshot};
pub use confinement::{Confinement, Guard, MissingGuard};
pub use cut::cut;
pub use decision::{Candidate, Decision, Preference, Rule};
pub use effect::{Assignment, Effect, Event, LifeEnded, PoolClosed};
pub use exit::Exit;
pub use follow_up::{FollowUpPlan, FollowUpRule, FollowUps, MAX_FOLLOW_UPS, PlannedTask};
pub use gate::{GateMode, GateSpec, GateState};
pub use gates::Gates;
pub use histogram::{BOUNDS_US, Histogram};
pub use idempotency::{Content, Fingerprint, IdempotencyKey};
pub use ids::{AgentId, Attempt, ContextIds, Incarnation, TaskId, TraceId};
pub use json::Json;
pub use limits::Limits;
pub use metrics::{
    AgentCounts, GateMetrics, Histograms, IsolationMetrics, Metrics, OldestWait, StoreMetrics,
};
pub use parent::{Caller, ChildOf, MAX_CHILDREN, MAX_DEPTH, Parent};
pub use priority::{Priority, Seq};
pub use recurring::Skip;
pub use refusal::Refusal;
pub use report::{MAX_CODE_BYTES, MAX_MESSAGE_BYTES, Report, TaskError, Usage};
pub use restart_budget::{RETRY_AFTER_US, RestartBudget, Verdict};
pub use schedule::{OVERLAP, Overlap, ScheduleSpec, When};
pub use scheduler::{
    Accepted, DEPENDENCY_UNAVAILABLE, Failing, GATE_CLOSED, Heartbeat, Jitter, PIPE_CLOSED,
    Scheduler,
};
pub use stop::{Stop, StopReason};
pub use task::{Hold, Task, TaskSpec, TaskState, TaskStatus, Wait};
pub use task_type::{PerType, TaskType, TaskTypes};
pub use time::{Now, SECOND_US};
pub use view::{
    AgentView, GateView, ListQuery, PendingReason, ScheduleCounts, ScheduleView, TaskPage,
    TaskSummary, TaskView, Waiting,
};
