//! The daemon stops (rule 18).

use super::Scheduler;
use crate::domain::agent::{Ending, StatusReason};
use crate::domain::effect::Effect;
use crate::domain::ids::AgentId;
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
        for id in self.processes() {
            if self.agents.get(&id).is_some_and(|agent| agent.run.is_some()) {
                self.stop_run(id, now, effects);
            } else {
                self.stop_idle(id, effects);
            }
        }
        self.say_when_stopped(effects);
    }

    /// The same at once: what was asked to end, or was about to be, is killed.
    pub fn kill_processes(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.draining = true;
        self.stopping = true;
        for id in self.processes() {
            let Some(agent) = self.agents.get_mut(&id) else { continue };
            let incarnation = agent.incarnation;
            if let Some(run) = &mut agent.run {
                run.ending.get_or_insert(Ending::Stopped);
            }
            agent.begin_dying().killed = true;
            agent.degrade_if_fit(StatusReason::Failed);
            self.idle.remove(id);
            self.note_kill(id, now);
            self.reckon(id, now);
            effects.push(Effect::KillTree { agent: id, incarnation });
        }
        self.say_when_stopped(effects);
    }

    /// Process agents of which something may be left.
    fn processes(&self) -> Vec<AgentId> {
        self.agents.values().filter(|agent| agent.alive).map(|agent| agent.id).collect()
    }

    /// Asks a process that does nothing to end, because the daemon does.
    pub(super) fn stop_idle(&self, id: AgentId, effects: &mut Vec<Effect>) {
        let Some(agent) = self.agents.get(&id).filter(|agent| agent.alive) else { return };
        effects.push(Effect::StopAgent { agent: id, incarnation: agent.incarnation });
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
