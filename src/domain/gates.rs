//! Every gate, and the pending tasks by what they count with.
//!
//! A million tasks may be pending when a gate changes, so nothing here looks at them: how many there
//! are of each type is counted as they come and go, and whether one belongs to the backlog of a gate
//! follows from since when it waits.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::gate::{Gate, GateSpec};
use super::gate_note::{GateNote, HoldNote};
use super::priority::Seq;
use super::task::Wait;
use super::task_type::{PerType, TaskType, TaskTypes};
use super::time::Now;

/// How many gates a run can count with.
const MAX_GATES: usize = u16::BITS as usize;

/// Every configured gate; without one everything is always open.
#[derive(Clone, Debug, Default)]
pub struct Gates {
    gates: Vec<Gate>,
    /// Types that some closed gate is in the way of.
    closed: TaskTypes,
    /// How long that was so in all.
    clocks: PerType<Clock>,
    pending: PerType<Pending>,
    /// Pending tasks that count with the queue and with no gate.
    queued: usize,
    /// Types that some gate lets wait only for a while.
    limited: TaskTypes,
    /// Their pending tasks, by since when they wait.
    waits: PerType<BTreeSet<(u64, Seq)>>,
}

/// How long a type waited for its gates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    /// In all, until it was opened last, in microseconds.
    pub closed_us: u64,
    /// Since when it is closed, in monotonic microseconds.
    pub since_us: Option<u64>,
}

/// What the share of a backlog is measured by, found once for a round of assignments (rule 12).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    /// Live agents; a backlog may have half of them while others wait.
    live: usize,
    /// What they take.
    taken: TaskTypes,
    /// How many runs of each backlog wait for their children: their agents do nothing that anybody
    /// else could use, and the children may be of the backlog, too.
    waiting: [usize; MAX_GATES],
}

impl Share {
    /// One agent more is live, and takes these types.
    pub(super) const fn add_agent(&mut self, types: TaskTypes) {
        self.live += 1;
        self.taken = self.taken.and(types);
    }

    /// A run that counts with these gates waits for its children.
    pub(super) fn add_waiting(&mut self, bits: u16) {
        for (n, waiting) in self.waiting.iter_mut().enumerate() {
            *waiting += usize::from(bits >> n & 1);
        }
    }
}

/// The pending tasks of a type.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    tasks: usize,
    /// Those that count against a depth.
    counted: usize,
    /// Those of them that count with a gate.
    apart: usize,
}

impl Gates {
    /// These gates: open, unless somebody asks the dependency.
    #[must_use]
    pub fn new(specs: Vec<GateSpec>) -> Self {
        let limited = specs.iter().filter(|spec| spec.max_wait_us.is_some());
        let limited = limited.fold(TaskTypes::default(), |all, spec| all.and(spec.types));
        let gates = specs.into_iter().map(Gate::new).collect();
        let mut gates = Self { gates, limited, ..Self::default() };
        gates.note_closed(Now::default());
        gates
    }

    /// Begins where an earlier daemon ended, which remembered `note`; before any task is here.
    pub(super) fn start(&mut self, note: &GateNote, now: Now) {
        for kind in TaskType::ALL {
            let mut clock = note.clock(kind);
            clock.since_us = clock.since_us.map(|since_us| since_us.min(now.mono_us));
            self.clocks[kind.index()] = clock;
        }
        for gate in &mut self.gates {
            gate.mode = note.mode(&gate.spec.name);
            let HoldNote { times, until_us } = note.hold(&gate.spec.name);
            gate.go_on_holding(times, until_us, now);
            gate.is_open = gate.should_be_open();
            let behind_until_us = note.behind_until_us(&gate.spec.name, now);
            gate.backlog.until_us = if gate.is_open { behind_until_us } else { u64::MAX };
            gate.since = now;
            if let Some(since_us) = note.closed_since_us(&gate.spec.name) {
                gate.forget_told();
                if !gate.is_open {
                    let since_us = since_us.min(now.wall_us);
                    gate.since = Now { mono_us: since_us, wall_us: since_us };
                }
            }
            let down_us =
                note.down_since_us(&gate.spec.name).map(|since_us| since_us.min(now.wall_us));
            let down_since = down_us.map(|since_us| Now { mono_us: since_us, wall_us: since_us });
            gate.down_since = down_since.or_else(|| (!gate.is_open).then_some(gate.since));
            if !gate.is_open {
                gate.forget_told();
                let quiet_until_us = now.mono_us.saturating_add(gate.spec.start_grace_us);
                gate.quiet_until_us = Some(quiet_until_us);
            }
        }
        self.note_closed(now);
    }

    /// Every task that an earlier daemon left is here: a gate behind which none of them waited has
    /// caught up. Whether there is such a gate.
    pub(super) fn tasks_are_here(&mut self) -> bool {
        let mut is_any = false;
        for gate in &mut self.gates {
            if gate.backlog.until_us > 0 && gate.has_caught_up() {
                gate.catch_up();
                is_any = true;
            }
        }
        is_any
    }

    /// What a later daemon must know.
    pub(super) fn note(&self, now: Now) -> GateNote {
        let clocks = TaskType::ALL.into_iter().zip(self.clocks);
        GateNote::new(&self.gates, clocks, now)
    }

    /// The place of the gate of this name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.gates.iter().position(|gate| &*gate.spec.name == name)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Gate> {
        self.gates.get_mut(index)
    }

    /// Every gate, in the order of the configuration.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Gate> {
        self.gates.iter()
    }

    /// The places of the gates that this type needs.
    pub(super) fn needed_by(&self, kind: TaskType) -> Vec<usize> {
        let needed = |(_, gate): &(usize, &Gate)| gate.spec.types.contains(kind);
        self.gates.iter().enumerate().filter(needed).map(|(index, _)| index).collect()
    }

    // --- open and closed ---

    /// Opens or closes the gate as what is ordered and known says; whether that changed anything.
    pub(super) fn settle(&mut self, index: usize, now: Now) -> bool {
        let Some(gate) = self.gates.get_mut(index) else { return false };
        let opens = gate.should_be_open();
        if gate.is_open == opens {
            return false;
        }
        gate.is_open = opens;
        if opens {
            // What became pending in this very moment found it closed.
            gate.backlog.until_us = now.mono_us + 1;
            if gate.has_caught_up() {
                gate.catch_up();
            }
        } else {
            gate.close(now);
            for kind in gate.spec.types.iter() {
                let pending = &mut self.pending[kind.index()];
                gate.backlog.tasks += pending.tasks;
                gate.backlog.of_type[kind.index()] = pending.tasks;
                gate.backlog.counted += pending.counted;
                self.queued -= pending.counted - pending.apart;
                pending.apart = pending.counted;
            }
        }
        gate.since = now;
        self.note_closed(now);
        true
    }

    /// Finds the closed types, and starts and stops their clocks.
    fn note_closed(&mut self, now: Now) {
        let closed = self.gates.iter().filter(|gate| !gate.is_open);
        self.closed = closed.fold(TaskTypes::default(), |all, gate| all.and(gate.spec.types));
        for kind in TaskType::ALL {
            let clock = &mut self.clocks[kind.index()];
            match (clock.since_us, self.closed.contains(kind)) {
                (None, true) => clock.since_us = Some(now.mono_us),
                (Some(since_us), false) => {
                    clock.closed_us = clock.closed_us.saturating_add(now.since(since_us));
                    clock.since_us = None;
                }
                (None, false) | (Some(_), true) => {}
            }
        }
    }

    /// The types whose tasks wait for a gate.
    #[must_use]
    pub const fn closed(&self) -> TaskTypes {
        self.closed
    }

    /// The first closed gate that this type needs.
    #[must_use]
    pub fn closed_for(&self, kind: TaskType) -> Option<&Arc<str>> {
        let closed = |gate: &&Gate| !gate.is_open && gate.spec.types.contains(kind);
        self.gates.iter().find(closed).map(|gate| &gate.spec.name)
    }

    /// How long the gates of this type were closed in all, in microseconds.
    #[must_use]
    pub(super) fn closed_us(&self, kind: TaskType, now: Now) -> u64 {
        let Clock { closed_us, since_us } = self.clocks[kind.index()];
        closed_us.saturating_add(since_us.map_or(0, |since_us| now.since(since_us)))
    }

    /// How many tasks of the gate's types are pending.
    pub(super) fn waiting(&self, types: TaskTypes) -> usize {
        types.iter().map(|kind| self.pending[kind.index()].tasks).sum()
    }

    // --- what waits (rule 4) ---

    /// A task waits from now on.
    pub(super) fn enter(&mut self, kind: TaskType, seq: Seq, wait: Wait) {
        let counted = usize::from(wait.counted);
        let mut is_apart = false;
        for gate in &mut self.gates {
            if gate.spec.types.contains(kind) && wait.since_us < gate.backlog.until_us {
                gate.backlog.tasks += 1;
                gate.backlog.of_type[kind.index()] += 1;
                gate.backlog.counted += counted;
                is_apart = true;
            }
        }
        let pending = &mut self.pending[kind.index()];
        pending.tasks += 1;
        pending.counted += counted;
        *(if is_apart { &mut pending.apart } else { &mut self.queued }) += counted;
        if self.limited.contains(kind) {
            self.waits[kind.index()].insert((wait.since_us, seq));
        }
    }

    /// A task that waited waits no more. Whether a gate has caught up by that.
    #[must_use]
    pub(super) fn leave(&mut self, kind: TaskType, seq: Seq, wait: Wait) -> bool {
        let counted = usize::from(wait.counted);
        let (mut is_apart, mut has_caught_up) = (false, false);
        for gate in &mut self.gates {
            if gate.spec.types.contains(kind) && wait.since_us < gate.backlog.until_us {
                gate.backlog.tasks -= 1;
                gate.backlog.of_type[kind.index()] -= 1;
                gate.backlog.counted -= counted;
                is_apart = true;
                if gate.has_caught_up() {
                    gate.catch_up();
                    has_caught_up = true;
                }
            }
        }
        let pending = &mut self.pending[kind.index()];
        pending.tasks -= 1;
        pending.counted -= counted;
        *(if is_apart { &mut pending.apart } else { &mut self.queued }) -= counted;
        if self.limited.contains(kind) {
            self.waits[kind.index()].remove(&(wait.since_us, seq));
        }
        has_caught_up
    }

    /// How many tasks count with the queue and with no gate.
    #[must_use]
    pub(super) const fn queued(&self) -> usize {
        self.queued
    }

    /// With what a task that is submitted now counts: `Ok(None)` with the queue, `Ok(Some(..))` with
    /// the first of its gates, `Err` with one that is full.
    pub(super) fn backlog_of(
        &self,
        kind: TaskType,
        max_depth: usize,
        now: Now,
    ) -> Result<Option<&Arc<str>>, &Arc<str>> {
        let mut first = None;
        for gate in &self.gates {
            if gate.spec.types.contains(kind) && now.mono_us < gate.backlog.until_us {
                if gate.backlog.counted >= max_depth {
                    return Err(&gate.spec.name);
                }
                first = first.or(Some(&gate.spec.name));
            }
        }
        Ok(first)
    }

    /// How many more tasks may wait for closed gates.
    pub(super) fn room(&self, max_depth: usize) -> usize {
        let closed = self.gates.iter().filter(|gate| !gate.is_open);
        closed.map(|gate| max_depth.saturating_sub(gate.backlog.counted)).sum()
    }

    // --- who waited too long ---

    /// A task that has waited too long for this gate.
    pub(super) fn overdue(&self, index: usize, now: Now) -> Option<Seq> {
        let gate = self.gates.get(index)?;
        let oldest = gate.spec.types.iter().filter_map(|kind| self.waits[kind.index()].first());
        let &(since_us, seq) = oldest.min()?;
        (gate.gives_up_us(since_us)? <= now.mono_us).then_some(seq)
    }

    /// When the next task will have waited too long for this gate, if none comes and none goes;
    /// what comes later is not due before that. `None` while that cannot be.
    pub(super) fn next_overdue_us(&self, index: usize, now: Now) -> Option<u64> {
        let gate = self.gates.get(index)?;
        let oldest = gate.spec.types.iter().filter_map(|kind| self.waits[kind.index()].first());
        let since_us = oldest.min().map_or(now.mono_us, |&(since_us, _)| since_us);
        gate.gives_up_us(since_us)
    }

    // --- the fair share (rule 12) ---

    /// Whether an open gate has a backlog to catch up with.
    pub(super) fn is_catching_up(&self) -> bool {
        self.gates.iter().any(Gate::is_catching_up)
    }

    /// The types of the gates whose backlog has its share of the agents already. A backlog of which
    /// nothing can run, as no live agent takes it or another gate is closed, limits nobody.
    pub(super) fn over_share(&self, share: &Share) -> TaskTypes {
        let can_run = share.taken.without(self.closed);
        let has_it = |(gate, waiting): &(&Gate, usize)| {
            gate.is_catching_up()
                && gate.backlog.types().overlaps(can_run)
                && gate.runs - waiting >= share.live.div_ceil(2)
        };
        let over = self.gates.iter().zip(share.waiting).filter(has_it);
        over.fold(TaskTypes::default(), |all, (gate, _)| all.and(gate.spec.types))
    }

    /// A task of this type is about to run: the gates that this counts with, one bit each.
    pub(super) fn begin_run(&mut self, kind: TaskType) -> u16 {
        let mut bits = 0;
        for (n, gate) in self.gates.iter_mut().enumerate().take(MAX_GATES) {
            if gate.is_catching_up() && gate.spec.types.contains(kind) {
                gate.runs += 1;
                bits |= 1 << n;
            }
        }
        bits
    }

    /// A run is over that counted with these gates.
    pub(super) fn end_run(&mut self, bits: u16) {
        for (n, gate) in self.gates.iter_mut().enumerate().take(MAX_GATES) {
            gate.runs -= usize::from(bits >> n & 1 == 1);
        }
    }

    /// A task of this type completed. Whether a gate has something to forget by that.
    #[must_use]
    pub(super) fn completed(&mut self, kind: TaskType) -> bool {
        let mut is_news = false;
        for gate in self.gates.iter_mut().filter(|gate| gate.spec.types.contains(kind)) {
            is_news |= gate.completed();
        }
        is_news
    }
}
