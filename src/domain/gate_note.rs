//! What of the gates outlives the daemon.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gate::{Gate, GateMode};
use super::gates::Clock;
use super::task_type::TaskType;
use super::time::Now;

/// The name of the note.
pub(super) const GATES_NOTE: &str = "gates";

/// The text of the note; moments are times of day in microseconds. Names that nobody knows any more
/// are no error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct GateNote {
    /// The gates that are open or closed by order.
    pub modes: BTreeMap<String, GateMode>,
    /// Since when each closed gate is closed.
    pub closed_since_us: BTreeMap<String, u64>,
    /// For each open gate that catches up: what waits since before this moment is its backlog.
    pub behind_until_us: BTreeMap<String, u64>,
    /// Since when each dependency is down whose gate is closed or catches up.
    pub down_since_us: BTreeMap<String, u64>,
    /// The gates that were held closed since a task of their types completed.
    pub holds: BTreeMap<String, HoldNote>,
    /// How long the types waited for their gates, if they ever did.
    pub types: BTreeMap<String, TypeNote>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HoldNote {
    /// How often, since a task completed.
    pub times: u32,
    /// Until when the last time.
    pub until_us: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TypeNote {
    /// In all, until they were opened last.
    pub closed_us: u64,
    /// Since when they wait.
    pub since_us: Option<u64>,
}

impl GateNote {
    /// What is to be remembered of these gates and types.
    pub(super) fn new(
        gates: &[Gate],
        clocks: impl Iterator<Item = (TaskType, Clock)>,
        now: Now,
    ) -> Self {
        let name = |gate: &Gate| gate.spec.name.to_string();
        let ordered = gates.iter().filter(|gate| gate.mode != GateMode::Auto);
        let closed = gates.iter().filter(|gate| !gate.is_open);
        let behind = gates.iter().filter(|gate| gate.is_open && gate.backlog.until_us > 0);
        let clock = |(kind, clock): (TaskType, Clock)| {
            let since_us = clock.since_us.map(|since_us| now.wall_of(since_us));
            (kind.name().to_owned(), TypeNote { closed_us: clock.closed_us, since_us })
        };
        Self {
            modes: ordered.map(|gate| (name(gate), gate.mode)).collect(),
            closed_since_us: closed
                .map(|gate| (name(gate), now.wall_of(gate.since.mono_us)))
                .collect(),
            behind_until_us: behind
                .map(|gate| (name(gate), now.wall_of(gate.backlog.until_us)))
                .collect(),
            down_since_us: gates
                .iter()
                .filter_map(|gate| Some((name(gate), now.wall_of(gate.down_since?.mono_us))))
                .collect(),
            holds: gates
                .iter()
                .filter_map(|gate| {
                    let (times, until_us) = gate.held()?;
                    Some((name(gate), HoldNote { times, until_us: now.wall_of(until_us) }))
                })
                .collect(),
            types: clocks.filter(|(_, clock)| *clock != Clock::default()).map(clock).collect(),
        }
    }

    /// The note in this text; one that cannot be read says nothing.
    pub(super) fn read(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    pub(super) fn mode(&self, gate: &str) -> GateMode {
        self.modes.get(gate).copied().unwrap_or_default()
    }

    pub(super) fn closed_since_us(&self, gate: &str) -> Option<u64> {
        self.closed_since_us.get(gate).copied()
    }

    pub(super) fn down_since_us(&self, gate: &str) -> Option<u64> {
        self.down_since_us.get(gate).copied()
    }

    /// What waits since before this moment was the backlog of the gate when the note was written,
    /// `now` at the latest; 0 when it had none.
    pub(super) fn behind_until_us(&self, gate: &str, now: Now) -> u64 {
        let latest_us = now.wall_us.saturating_add(1);
        if self.closed_since_us.contains_key(gate) {
            return latest_us;
        }
        self.behind_until_us.get(gate).map_or(0, |&until_us| until_us.min(latest_us))
    }

    pub(super) fn hold(&self, gate: &str) -> HoldNote {
        self.holds.get(gate).copied().unwrap_or_default()
    }

    pub(super) fn clock(&self, kind: TaskType) -> Clock {
        let TypeNote { closed_us, since_us } =
            self.types.get(kind.name()).copied().unwrap_or_default();
        Clock { closed_us, since_us }
    }
}
