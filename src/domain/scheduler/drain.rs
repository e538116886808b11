//! The daemon stops (rule 18).

use super::Scheduler;
use crate::domain::effect::Effect;
use crate::domain::time::Now;

impl Scheduler {
    /// Nothing new is accepted or assigned from here on. [`Effect::Drained`] says when no process
    /// agent works any more.
    pub fn drain(&mut self, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.draining, true) {
            self.say_when_drained(effects);
        }
    }

    /// Whether the daemon stops.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.draining
    }

    /// Stops the runs of process agents as an order: their attempts are `interrupted`. External
    /// agents go on; their attempts outlive the daemon's interest.
    pub fn stop_process_runs(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let processes = self.agents.values().filter(|agent| agent.is_process());
        let running: Vec<_> = processes.map(|agent| agent.id).collect();
        for id in running {
            self.stop_run(id, now, effects);
        }
    }

    pub(super) fn say_when_drained(&self, effects: &mut Vec<Effect>) {
        if self.draining && self.process_runs == 0 {
            effects.push(Effect::Drained);
        }
    }
}
