//! Tasks that other tasks hand out: whose child a task is, and what a submit says of it.

use serde::{Deserialize, Serialize};

use super::ids::{AgentId, Attempt, Incarnation, TaskId};

/// How far a task may stand below one that has no parent, which stands at 0.
pub const MAX_DEPTH: u8 = 3;
/// How many children an attempt may submit in all, whatever became of them, detached ones too.
pub const MAX_CHILDREN: u32 = 16;

/// Whose child a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The task that handed it out.
    pub task_id: TaskId,
    /// Which attempt of that did.
    pub attempt: Attempt,
    /// How far the child stands below a task without a parent: from 1.
    pub depth: u8,
    /// Whether it goes on however that attempt ends, and makes nobody wait.
    pub detach: bool,
    /// Whether a rule made it of what that attempt found: what it finds itself makes nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub follow_up: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What the submit of a child says beyond its spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildOf {
    /// The task that hands it out; it must be with an agent.
    pub parent: TaskId,
    /// Whether it goes on however the attempt of the parent ends.
    pub detach: bool,
    /// Whether it gets the priority of the parent instead of its own.
    pub inherits_priority: bool,
    /// Who speaks, when it is the agent that has the parent.
    pub caller: Option<Caller>,
}

/// An agent of the pool that calls while it runs an attempt: only its present one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub agent: AgentId,
    /// In which life.
    pub incarnation: Incarnation,
    /// Which attempt of the parent it runs.
    pub attempt: Attempt,
}
