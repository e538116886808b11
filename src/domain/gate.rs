//! Dependencies that some task types need (rule 12).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::task_type::{TaskType, TaskTypes};
use super::time::SECOND_US;

/// A dependency, as it was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSpec {
    /// Its name, for example `discovery`.
    pub name: Arc<str>,
    /// The types that wait while it is closed.
    pub types: TaskTypes,
    /// Whether somebody asks the dependency how it is. Then the gate is closed until that is known;
    /// else it is open until somebody closes it.
    pub is_probed: bool,
    /// How long the dependency may take to be known after a start, in microseconds; until then
    /// nobody is told that its gate is closed.
    pub start_grace_us: u64,
    /// How long a gate stays closed at least when a task says that the dependency is down, in
    /// microseconds. It doubles while that repeats.
    pub hold_us: u64,
    /// How long a task waits for the gate, in microseconds, before it fails; `None`: for ever.
    pub max_wait_us: Option<u64>,
}

impl GateSpec {
    /// A gate with the times that hold when nobody says otherwise.
    #[must_use]
    pub fn new(name: &str, types: TaskTypes) -> Self {
        Self {
            name: name.into(),
            types,
            is_probed: false,
            start_grace_us: 5 * SECOND_US,
            hold_us: 5 * SECOND_US,
            max_wait_us: None,
        }
    }
}

/// What a gate does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateMode {
    /// What is known of the dependency decides.
    #[default]
    Auto,
    /// Open, whatever is known: by order.
    Open,
    /// Closed, whatever is known: by order.
    Closed,
}

impl GateMode {
    /// The name on every wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// Whether the tasks behind a gate may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateState {
    /// They may.
    Open,
    /// They wait.
    Closed,
    /// They wait because nothing is known of the dependency yet.
    Unknown,
}

impl GateState {
    /// The name on every wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for GateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Every configured gate; without one everything is always open.
#[derive(Clone, Debug, Default)]
pub struct Gates(Vec<Gate>);

/// A dependency and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) spec: GateSpec,
    pub(super) is_open: bool,
}

impl Gates {
    /// These gates: open, unless somebody asks the dependency.
    #[must_use]
    pub fn new(specs: Vec<GateSpec>) -> Self {
        let gate = |spec: GateSpec| Gate { is_open: !spec.is_probed, spec };
        Self(specs.into_iter().map(gate).collect())
    }

    /// Sets one; whether anything changed.
    pub fn set(&mut self, name: &str, open: bool) -> bool {
        let gate = self.0.iter_mut().find(|gate| &*gate.spec.name == name);
        gate.is_some_and(|gate| std::mem::replace(&mut gate.is_open, open) != open)
    }

    /// The first closed gate that this type needs.
    #[must_use]
    pub fn closed_for(&self, kind: TaskType) -> Option<&Arc<str>> {
        let closed = |gate: &&Gate| !gate.is_open && gate.spec.types.contains(kind);
        self.0.iter().find(closed).map(|gate| &gate.spec.name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Gate> {
        self.0.iter()
    }
}
