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

    /// Nobody outside is heard from here on, so nobody is judged for being silent: leases, graces
    /// and time-outs are the next daemon's.
    pub const fn stop_listening(&mut self) {
        self.deaf = true;
    }

    /// Ends every process: runs are stopped as an order, so their attempts are `interrupted`; a
    /// process that does nothing is asked to end. [`Effect::ProcessesStopped`] says when none is
    /// left. External agents go on.
    pub fn stop_processes(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.draining = true;
        self.stopping = true;
        let processes = self.agents.values().filter(|agent| agent.alive);
        let processes: Vec<_> =
            processes.map(|agent| (agent.id, agent.incarnation, agent.run.is_some())).collect();
        for (id, incarnation, runs) in processes {
            if runs {
                self.stop_run(id, now, effects);
            } else {
                effects.push(Effect::StopAgent { agent: id, incarnation });
            }
        }
        self.say_when_stopped(effects);
    }

    pub(super) fn say_when_stopped(&self, effects: &mut Vec<Effect>) {
        if self.stopping && !self.agents.values().any(|agent| agent.alive) {
            effects.push(Effect::ProcessesStopped);
        }
    }

    pub(super) fn say_when_drained(&self, effects: &mut Vec<Effect>) {
        if self.draining && self.process_runs == 0 {
            effects.push(Effect::Drained);
        }
    }
}
