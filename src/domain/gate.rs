//! Dependencies that some task types need (rule 12).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::task_type::{PerType, TaskType, TaskTypes};
use super::time::{Now, SECOND_US};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
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

/// How long a gate is held closed at most when its tasks go on saying that the dependency is down,
/// in microseconds.
const LONGEST_HOLD_US: u64 = 300 * SECOND_US;

/// A dependency, what is known of it, and what waits for it.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// As it was configured.
    pub spec: GateSpec,
    /// What somebody ordered.
    pub mode: GateMode,
    /// What was said last by whoever asks the dependency; `None`: nothing yet.
    pub known_up: Option<bool>,
    /// Until when it is closed because a task said that the dependency is down, in monotonic
    /// microseconds.
    pub held_until_us: Option<u64>,
    /// How often that happened since a task completed.
    holds: u32,
    /// When the last time was over, in monotonic microseconds.
    hold_ended_us: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Whether its tasks may run. Follows from the above whenever that changes.
    pub is_open: bool,
    /// Since when they may, or wait.
    pub since: Now,
    /// Since when the dependency is down: an opening that was of no use (no task of its types
    /// completed, its backlog still waits, and it was shorter than a task may wait) is no end of
    /// that. `None` when it is not.
    pub down_since: Option<Now>,
    /// What was told last; `None`: nothing since the start.
    told_open: Option<bool>,
    /// Until when nobody is told that it is closed only because nothing good is known yet, in
    /// monotonic microseconds; `None`: that is over.
    pub quiet_until_us: Option<u64>,
    /// When to look for tasks that waited too long, in monotonic microseconds.
    pub look_us: Option<u64>,
    /// How often it was told as closed.
    pub closures: u64,
    /// What came together while it was closed.
    pub backlog: Backlog,
    /// Runs that were begun while it had a backlog to catch up with.
    pub runs: usize,
}

/// The pending tasks that waited while their gate was closed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backlog {
    /// Every pending task of the gate's types is in it that became pending before this moment, in
    /// monotonic microseconds: none is at 0, all are at `u64::MAX`, while the gate is closed.
    pub until_us: u64,
    /// How many.
    pub tasks: usize,
    /// How many of each type.
    pub of_type: PerType<usize>,
    /// How many of them count against its depth.
    pub counted: usize,
}

impl Backlog {
    pub(super) const fn new(until_us: u64) -> Self {
        Self { until_us, tasks: 0, of_type: [0; TaskType::COUNT], counted: 0 }
    }

    /// The types of its tasks.
    pub(super) fn types(&self) -> TaskTypes {
        TaskType::ALL.into_iter().filter(|kind| self.of_type[kind.index()] > 0).collect()
    }
}

impl Gate {
    pub(super) const fn new(spec: GateSpec) -> Self {
        let is_open = !spec.is_probed;
        Self {
            spec,
            mode: GateMode::Auto,
            known_up: None,
            held_until_us: None,
            holds: 0,
            hold_ended_us: 0,
            last_error: None,
            is_open,
            since: Now { mono_us: 0, wall_us: 0 },
            down_since: None,
            told_open: if is_open { Some(true) } else { None },
            quiet_until_us: None,
            look_us: None,
            closures: 0,
            backlog: Backlog::new(if is_open { 0 } else { u64::MAX }),
            runs: 0,
        }
    }

    /// Whether what is ordered and known says that it is open.
    pub(super) fn should_be_open(&self) -> bool {
        match self.mode {
            GateMode::Open => true,
            GateMode::Closed => false,
            GateMode::Auto => {
                self.held_until_us.is_none() && self.known_up.unwrap_or(!self.spec.is_probed)
            }
        }
    }

    pub(super) fn state(&self) -> GateState {
        if self.is_open {
            GateState::Open
        } else if self.is_unknown() {
            GateState::Unknown
        } else {
            GateState::Closed
        }
    }

    /// Whether it is closed for nothing but that nobody knows how the dependency is.
    fn is_unknown(&self) -> bool {
        self.mode == GateMode::Auto && self.held_until_us.is_none() && self.known_up.is_none()
    }

    /// Whether it is open and a part of its backlog still waits.
    pub(super) const fn is_catching_up(&self) -> bool {
        self.is_open && self.backlog.tasks > 0
    }

    /// Whether it is open and nothing of a backlog waits any more.
    pub(super) const fn has_caught_up(&self) -> bool {
        self.is_open && self.backlog.tasks == 0
    }

    /// What waits from now on is no backlog, and the dependency is not down.
    pub(super) const fn catch_up(&mut self) {
        self.backlog.until_us = 0;
        self.down_since = None;
    }

    /// Closes it: everything of its types is its backlog, and is to be counted into it.
    pub(super) const fn close(&mut self, now: Now) {
        let open_us = now.since(self.since.mono_us);
        if self.down_since.is_none() || matches!(self.spec.max_wait_us, Some(us) if us <= open_us) {
            self.down_since = Some(now);
        }
        self.backlog = Backlog::new(u64::MAX);
    }

    /// Forgets what the daemon before told, which may have been that the gate is closed.
    pub(super) const fn forget_told(&mut self) {
        self.told_open = None;
    }

    /// Whether a change is to be told now; each is only once.
    pub(super) fn tell(&mut self) -> bool {
        let is_news = self.told_open != Some(self.is_open);
        let may_come_soon = self.told_open.is_none()
            && self.quiet_until_us.is_some()
            && self.mode == GateMode::Auto
            && self.held_until_us.is_none();
        if !is_news || (may_come_soon && !self.is_open) {
            return false;
        }
        self.told_open = Some(self.is_open);
        self.closures += u64::from(!self.is_open);
        true
    }

    /// Why it is closed; `None` when it is open.
    pub(super) fn cause(&self) -> Option<String> {
        let known = || self.last_error.clone().unwrap_or_else(|| "it is down".to_owned());
        if self.is_open {
            None
        } else if self.mode == GateMode::Closed {
            Some("closed by order".to_owned())
        } else if self.is_unknown() {
            Some("nothing is known of it yet".to_owned())
        } else {
            Some(known())
        }
    }

    /// A task that was assigned at `assigned_us` says that the dependency is down: holds the gate
    /// closed, for twice as long as the last time. One that was assigned before that was over tells
    /// of the same outage, and only makes it last.
    pub(super) fn hold(&mut self, assigned_us: u64, now: Now) -> u64 {
        let is_known =
            self.held_until_us.is_some() || (self.holds > 0 && assigned_us < self.hold_ended_us);
        let length_us = if is_known {
            self.spec.hold_us
        } else {
            self.holds = self.holds.saturating_add(1);
            self.hold_length_us()
        };
        let until_us = now.mono_us.saturating_add(length_us).max(self.held_until_us.unwrap_or(0));
        self.held_until_us = Some(until_us);
        until_us
    }

    /// How long the last hold was in full.
    fn hold_length_us(&self) -> u64 {
        let base_us = self.spec.hold_us;
        let doubled_us = base_us.saturating_mul(1 << self.holds.saturating_sub(1).min(32));
        doubled_us.min(LONGEST_HOLD_US.max(base_us))
    }

    /// It was held for long enough.
    pub(super) const fn end_hold(&mut self, now: Now) {
        self.held_until_us = None;
        self.hold_ended_us = now.mono_us;
    }

    /// How often it was held since a task completed, and until when the last time, in monotonic
    /// microseconds; `None`: never, and it is not held now.
    pub(super) fn held(&self) -> Option<(u32, u64)> {
        let until_us = self.held_until_us.unwrap_or(self.hold_ended_us);
        (self.holds > 0 || self.held_until_us.is_some()).then_some((self.holds, until_us))
    }

    /// Goes on with a hold of an earlier daemon: of its full length at most the whole is left.
    pub(super) fn go_on_holding(&mut self, times: u32, until_us: u64, now: Now) {
        self.holds = times;
        if until_us > now.mono_us {
            let longest_us = now.mono_us.saturating_add(self.hold_length_us());
            self.held_until_us = Some(until_us.min(longest_us));
        } else {
            self.hold_ended_us = until_us;
        }
    }

    /// A task of its types completed: the dependency is of use again. Whether that is news.
    pub(super) fn completed(&mut self) -> bool {
        // One that was begun before does not open it; but what was before the closing is over.
        let down_since = (!self.is_open).then_some(self.since);
        let is_news = self.holds > 0 || self.down_since != down_since;
        (self.holds, self.down_since) = (0, down_since);
        is_news
    }

    /// When a task that waits since `since_us` has waited too long, in monotonic microseconds;
    /// `None`: never.
    pub(super) fn gives_up_us(&self, since_us: u64) -> Option<u64> {
        let max_wait_us = self.spec.max_wait_us.filter(|_| !self.is_open)?;
        let down_us = self.down_since.unwrap_or(self.since).mono_us;
        Some(since_us.max(down_us).saturating_add(max_wait_us))
    }
}
