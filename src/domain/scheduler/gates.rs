//! Dependencies that go away and come back (rule 12).

use chrono::{DateTime, SecondsFormat};

use super::Scheduler;
use super::end::AttemptEnd;
use crate::domain::attempt::Failure;
use crate::domain::effect::{Effect, Event};
use crate::domain::gate::{Gate, GateMode};
use crate::domain::gate_note::{GATES_NOTE, GateNote};
use crate::domain::priority::Seq;
use crate::domain::refusal::Refusal;
use crate::domain::report::TaskError;
use crate::domain::task::TaskStatus;
use crate::domain::time::Now;
use crate::domain::timers::Timer;
use crate::domain::view::GateView;

/// The code of the error with which a task says that a dependency of its type is down.
pub const DEPENDENCY_UNAVAILABLE: &str = "dependency_unavailable";
/// The code of the error of a task that waited too long for a gate.
pub const GATE_CLOSED: &str = "gate_closed";

impl Scheduler {
    /// A fact: whoever asks the dependency knows how it is; `error` says why when it is not well.
    pub fn gate_known(
        &mut self,
        name: &str,
        is_up: bool,
        error: Option<String>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(index) = self.gates.find(name) else { return };
        let Some(gate) = self.gates.get_mut(index) else { return };
        gate.known_up = Some(is_up);
        if !is_up {
            gate.last_error = error;
        }
        self.settle_gate(index, now, effects);
        self.dispatch(now, effects);
    }

    /// Opens or closes a gate by order, or lets the dependency decide again.
    ///
    /// # Errors
    /// `GateNotFound`.
    pub fn order_gate(
        &mut self,
        name: &str,
        mode: GateMode,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<GateView, Refusal> {
        let index = self.gates.find(name).ok_or(Refusal::GateNotFound)?;
        let gate = self.gates.get_mut(index).ok_or(Refusal::GateNotFound)?;
        if std::mem::replace(&mut gate.mode, mode) != mode {
            self.unsaved.touch_gates();
        }
        self.settle_gate(index, now, effects);
        self.dispatch(now, effects);
        self.gate_views(now).into_iter().nth(index).ok_or(Refusal::GateNotFound)
    }

    /// Every gate, in the order of the configuration.
    #[must_use]
    pub fn gate_views(&self, now: Now) -> Vec<GateView> {
        let view = |gate: &Gate| GateView {
            name: gate.spec.name.clone(),
            types: gate.spec.types,
            state: gate.state(),
            mode: gate.mode,
            since: gate.since,
            last_error: gate.last_error.clone(),
            held_until: gate
                .held_until_us
                .map(|at_us| Now { mono_us: at_us, wall_us: now.wall_of(at_us) }),
            waiting: self.gates.waiting(gate.spec.types),
            counted: gate.backlog.counted,
            closures: gate.closures,
        };
        self.gates.iter().map(view).collect()
    }

    /// Opens or closes the gate as what is ordered and known says, and tells of it.
    fn settle_gate(&mut self, index: usize, now: Now, effects: &mut Vec<Effect>) {
        if self.gates.settle(index, now) {
            self.unsaved.touch_gates();
            let look_us = self.gates.next_overdue_us(index, now);
            self.look_for_overdue(index, look_us);
        }
        self.tell_of_gate(index, effects);
    }

    fn tell_of_gate(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let Some(gate) = self.gates.get_mut(index) else { return };
        if !gate.tell() {
            return;
        }
        if let Some(at_us) = gate.quiet_until_us.take() {
            self.timers.clear(at_us, Timer::GateQuiet(index));
        }
        let (types, open, cause) = (gate.spec.types, gate.is_open, gate.cause());
        let gate = gate.spec.name.clone();
        let waiting = self.gates.waiting(types);
        effects.push(Effect::Event(Event::GateChanged { gate, open, waiting, cause }));
    }

    // --- the start ---

    /// Begins with the gates as an earlier daemon left them; the tasks come after.
    pub(super) fn load_gates(&mut self, text: Option<&str>, now: Now) {
        let note = GateNote::read(text);
        self.gates.start(&note, now);
        if self.gates.note(now) != note {
            self.unsaved.touch_gates();
        }
    }

    /// Tells of what is not as usual, and waits for the rest; the tasks are here.
    pub(super) fn start_gates(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.gates.tasks_are_here() {
            self.unsaved.touch_gates();
        }
        for index in 0..self.gates.iter().count() {
            self.tell_of_gate(index, effects);
            // Nobody had the time yet to see whether it is open again.
            let look_us = self.gates.next_overdue_us(index, now);
            let Some(gate) = self.gates.get_mut(index) else { continue };
            let soonest_us = now.mono_us.saturating_add(gate.spec.start_grace_us);
            if let Some(at_us) = gate.held_until_us {
                self.timers.set(at_us, Timer::GateHold(index));
            }
            if let Some(at_us) = gate.quiet_until_us {
                self.timers.set(at_us, Timer::GateQuiet(index));
            }
            self.look_for_overdue(index, look_us.map(|at_us| at_us.max(soonest_us)));
        }
    }

    /// What a later daemon must know, as the text of its note.
    pub(super) fn gate_note(&self, now: Now) -> Option<(&'static str, String)> {
        let text = serde_json::to_string(&self.gates.note(now)).ok()?;
        Some((GATES_NOTE, text))
    }

    // --- a task says that the dependency is down ---

    /// An attempt that ended because a dependency is down was interrupted: the gates that its type
    /// needs are closed for a while, before anybody else can get the task. When none of them can
    /// be, it is a failure like any other.
    pub(super) fn end_by_gate(
        &mut self,
        seq: Seq,
        end: AttemptEnd,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> AttemptEnd {
        let AttemptEnd::Failed { error, usage } = end else { return end };
        let task = self.tasks.get(&seq).filter(|_| error.code == DEPENDENCY_UNAVAILABLE);
        let Some(task) = task else { return AttemptEnd::Failed { error, usage } };
        let kind = task.spec.kind;
        let assigned_us = task.attempts.last().map_or(0, |record| record.assigned.mono_us);
        let mut is_held = false;
        for index in self.gates.needed_by(kind) {
            let Some(gate) = self.gates.get_mut(index) else { continue };
            if gate.mode == GateMode::Open {
                continue;
            }
            is_held = true;
            if let Some(at_us) = gate.held_until_us {
                self.timers.clear(at_us, Timer::GateHold(index));
            }
            gate.last_error = Some(error.message.clone());
            self.timers.set(gate.hold(assigned_us, now), Timer::GateHold(index));
            self.unsaved.touch_gates();
            self.settle_gate(index, now, effects);
        }
        if !is_held {
            return AttemptEnd::Failed { error, usage };
        }
        let failure = Failure::new(error.code, error.message);
        AttemptEnd::Interrupted { failure, by_order: false, usage }
    }

    // --- time ---

    /// The gate was held closed for long enough.
    pub(super) fn end_hold(&mut self, index: usize, now: Now, effects: &mut Vec<Effect>) {
        let Some(gate) = self.gates.get_mut(index) else { return };
        gate.end_hold(now);
        self.unsaved.touch_gates();
        self.settle_gate(index, now, effects);
    }

    /// The dependency had the time to be known.
    pub(super) fn end_quiet(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let Some(gate) = self.gates.get_mut(index) else { return };
        gate.quiet_until_us = None;
        self.tell_of_gate(index, effects);
    }

    /// Fails the tasks that waited too long for the gate.
    pub(super) fn fail_overdue(&mut self, index: usize, now: Now, effects: &mut Vec<Effect>) {
        let Some(gate) = self.gates.get_mut(index) else { return };
        gate.look_us = None;
        let message = waited_too_long(gate);
        while let Some(seq) = self.gates.overdue(index, now) {
            let error = TaskError {
                code: GATE_CLOSED.to_owned(),
                message: message.clone(),
                retryable: true,
            };
            self.take_from_queue(seq);
            if let Some(task) = self.tasks.get_mut(&seq) {
                task.error = Some(error);
            }
            self.end_task(seq, TaskStatus::Failed, now, effects);
            self.retire_if_ended(seq);
        }
        let look_us = self.gates.next_overdue_us(index, now);
        self.look_for_overdue(index, look_us);
    }

    fn look_for_overdue(&mut self, index: usize, look_us: Option<u64>) {
        let Some(gate) = self.gates.get_mut(index) else { return };
        if let Some(at_us) = std::mem::replace(&mut gate.look_us, look_us) {
            self.timers.clear(at_us, Timer::GateWait(index));
        }
        if let Some(at_us) = look_us {
            self.timers.set(at_us, Timer::GateWait(index));
        }
    }
}

/// Why a task failed that nobody tried again.
fn waited_too_long(gate: &Gate) -> String {
    let (name, max_wait_us) = (&gate.spec.name, gate.spec.max_wait_us.unwrap_or_default());
    let max_wait_s = max_wait_us as f64 / 1e6;
    let since_us = gate.down_since.unwrap_or(gate.since).wall_us;
    let since = i64::try_from(since_us).ok().and_then(DateTime::from_timestamp_micros);
    let since = since.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true);
    let cause = gate.cause().unwrap_or_default();
    format!("it waited {max_wait_s} s for {name}, which is down since {since}: {cause}")
}
