//! The kinds of work that the pool knows.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What sort of work a task is. Routing learns per type which agent is fastest.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TaskType {
    /// Looks for components.
    Discovery,
    /// Migrates a component.
    Migration,
    /// A sign of life of a system outside.
    Heartbeat,
    /// Takes data in.
    Ingest,
    /// Finds things out.
    Research,
    /// Anything else.
    #[default]
    General,
}

impl TaskType {
    /// Every type, in the order of its [`index`](Self::index).
    pub const ALL: [Self; 6] = [
        Self::Discovery,
        Self::Migration,
        Self::Heartbeat,
        Self::Ingest,
        Self::Research,
        Self::General,
    ];

    /// How many types there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The place of this type in a [`PerType`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name on every wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Migration => "migration",
            Self::Heartbeat => "heartbeat",
            Self::Ingest => "ingest",
            Self::Research => "research",
            Self::General => "general",
        }
    }

    /// The type of this name; `None` when there is none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for TaskType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value per task type, found by [`TaskType::index`].
pub type PerType<T> = [T; TaskType::COUNT];

/// A set of task types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskTypes(u8);

impl TaskTypes {
    /// Every type.
    pub const ALL: Self = Self((1 << TaskType::COUNT) - 1);

    /// Whether `kind` is in the set.
    #[must_use]
    pub const fn contains(self, kind: TaskType) -> bool {
        self.0 & (1 << kind.index()) != 0
    }

    /// The types of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The types that are not in the other set.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether some type is in both sets.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set has no type at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The types of the set, in the order of [`TaskType::ALL`].
    pub fn iter(self) -> impl Iterator<Item = TaskType> {
        TaskType::ALL.into_iter().filter(move |&kind| self.contains(kind))
    }
}

impl FromIterator<TaskType> for TaskTypes {
    fn from_iter<I: IntoIterator<Item = TaskType>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind.index()))
    }
}
