//! Dependencies that go away and come back (rule 12).

use super::Scheduler;
use crate::domain::effect::{Effect, Event};
use crate::domain::gate::{GateMode, GateState};
use crate::domain::refusal::Refusal;
use crate::domain::time::Now;
use crate::domain::view::GateView;

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
        if self.gates.set(name, is_up) {
            let waiting = self.queue.len();
            let event =
                Event::GateChanged { gate: name.into(), open: is_up, waiting, cause: error };
            effects.push(Effect::Event(event));
            self.dispatch(now, effects);
        }
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
        self.gate_known(name, mode != GateMode::Closed, None, now, effects);
        self.gate_views(now)
            .into_iter()
            .find(|gate| &*gate.name == name)
            .ok_or(Refusal::GateNotFound)
    }

    /// Every gate, in the order of the configuration.
    #[must_use]
    pub fn gate_views(&self, now: Now) -> Vec<GateView> {
        let view = |gate: &crate::domain::gate::Gate| GateView {
            name: gate.spec.name.clone(),
            types: gate.spec.types,
            state: if gate.is_open { GateState::Open } else { GateState::Closed },
            mode: GateMode::Auto,
            since: now,
            last_error: None,
            held_until: None,
            waiting: 0,
            counted: 0,
            closures: 0,
        };
        self.gates.iter().map(view).collect()
    }
}
