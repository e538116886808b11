//! Dependencies that some task types need (rule 12).

use std::sync::Arc;

use super::task_type::{TaskType, TaskTypes};

/// A dependency and the types that need it.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Its name, for example `discovery`.
    pub name: Arc<str>,
    /// The types that wait while it is closed.
    pub types: TaskTypes,
    /// Whether the dependency is up.
    pub open: bool,
}

/// Every configured gate; without one everything is always open.
#[derive(Clone, Debug, Default)]
pub struct Gates(Vec<Gate>);

impl Gates {
    /// Gates that are all as they are given.
    #[must_use]
    pub const fn new(gates: Vec<Gate>) -> Self {
        Self(gates)
    }

    /// Sets one; whether anything changed.
    pub fn set(&mut self, name: &str, open: bool) -> bool {
        let gate = self.0.iter_mut().find(|gate| &*gate.name == name);
        gate.is_some_and(|gate| std::mem::replace(&mut gate.open, open) != open)
    }

    /// The first closed gate that this type needs.
    #[must_use]
    pub fn closed_for(&self, kind: TaskType) -> Option<&Arc<str>> {
        let closed = |gate: &&Gate| !gate.open && gate.types.contains(kind);
        self.0.iter().find(closed).map(|gate| &gate.name)
    }
}
