//! The ladder by which a run is brought to its end: its agent is asked, the worker signalled, and
//! its process tree killed (rules 9 and 11). A run is taken down one ladder, and the first that
//! asked began it; a stronger order shortens it.

use super::Scheduler;
use crate::domain::agent::{Dying, Ending, Run};
use crate::domain::attempt::{AttemptRecord, Failure};
use crate::domain::effect::Effect;
use crate::domain::ids::{AgentId, Attempt, Incarnation, TaskId};
use crate::domain::priority::Seq;
use crate::domain::stop::{Stop, StopReason};
use crate::domain::time::Now;
use crate::domain::timers::Timer;

impl Scheduler {
    /// Asks for the end of the agent's run because of a cancel, a time-out, a deadlock or an order:
    /// a process is asked, signalled and killed by its `WorkerAgent`, and without a grace killed at
    /// once; an external agent learns of it at its next heartbeat and has `cancel_grace_us` to
    /// answer.
    pub(super) fn end_run_early(
        &mut self,
        agent_id: AgentId,
        ending: Ending,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(agent) = self.agents.get_mut(&agent_id) else { return };
        let (is_process, incarnation) = (agent.is_process(), agent.incarnation);
        let is_dying = agent.dying.as_ref().is_some_and(Dying::is_at_end);
        let Some(run) = agent.run.as_mut() else { return };
        let first = run.ending.is_none();
        let (reason, told) = (ending.reason(), ending.name());
        match (&run.ending, &ending) {
            (None, _)
            | (Some(Ending::TimedOut | Ending::Stopped | Ending::Deadlocked), Ending::Cancelled) => {
                run.ending = Some(ending);
            }
            (Some(_), _) => {}
        }
        if run.is_remembered(agent.kind) {
            self.unsaved.touch_agent(agent_id);
        }
        if !first {
            return;
        }
        let (task_id, attempt) = (run.task_id, run.attempt);
        let at_once = is_process && self.limits.cancel_grace_us == 0;
        if is_dying {
            self.note_stop(agent_id, reason); // and it is at the end of the ladder already
        } else if at_once {
            let detail = "the run was killed at once, because worker.cancel_grace_s is 0";
            let failure = Failure::new("killed_after_grace", detail);
            self.agent_failed(agent_id, incarnation, failure, false, now, effects);
        } else {
            self.note_step(agent_id, reason, now, |stop| &mut stop.asked);
            if is_process {
                let agent = agent_id;
                let cancel =
                    Effect::CancelRun { agent, incarnation, task_id, attempt, reason: told };
                effects.push(cancel);
            } else {
                self.begin_grace(agent_id, now);
            }
        }
        self.reckon(agent_id, now);
    }

    fn begin_grace(&mut self, agent_id: AgentId, now: Now) {
        let run = self.agents.get_mut(&agent_id).and_then(|agent| agent.run.as_mut());
        if let Some(run) = run {
            let grace_us = now.mono_us.saturating_add(self.limits.cancel_grace_us);
            run.grace_us = Some(grace_us);
            self.timers.set(grace_us, Timer::Grace(agent_id));
        }
    }

    /// A fact: the worker of this run, which was asked to end it and did not, was sent a signal.
    pub fn run_signalled(
        &mut self,
        agent_id: AgentId,
        incarnation: Incarnation,
        task_id: TaskId,
        attempt: Attempt,
        now: Now,
    ) {
        if !self.runs(agent_id, incarnation, task_id, attempt) {
            return;
        }
        // Of one that is being killed meanwhile this says nothing more.
        let stop = self.record_of_run(agent_id).and_then(|(_, record)| record.stop);
        if let Some(stop) = stop.filter(|stop| stop.asked.is_some() && stop.killed.is_none()) {
            self.note_step(agent_id, stop.reason, now, |stop| &mut stop.signalled);
        }
    }

    /// Notes that the process tree under the agent's run, if it has one, is killed: because of what
    /// the run is ended for, or because the agent is unfit. A tree that is gone cannot be killed.
    pub(super) fn note_kill(&mut self, agent_id: AgentId, now: Now) {
        let Some(agent) = self.agents.get(&agent_id) else { return };
        let ending = agent.run.as_ref().and_then(|run| run.ending.as_ref());
        let reason = ending.map_or(StopReason::AgentUnfit, Ending::reason);
        if agent.dying.as_ref().is_some_and(|dying| dying.tree_gone.is_some()) {
            self.note_stop(agent_id, reason);
        } else {
            self.note_step(agent_id, reason, now, |stop| &mut stop.killed);
        }
    }

    /// Notes why the agent's run is stopped, unless somebody had a reason before.
    pub(super) fn note_stop(&mut self, agent_id: AgentId, reason: StopReason) {
        let Some((seq, record)) = self.record_of_run(agent_id) else { return };
        record.stop.get_or_insert_with(|| Stop::new(reason));
        self.unsaved.touch(seq);
    }

    /// Notes when the stop of the agent's run came to this step for the first time.
    fn note_step(
        &mut self,
        agent_id: AgentId,
        reason: StopReason,
        now: Now,
        step: impl Fn(&mut Stop) -> &mut Option<Now>,
    ) {
        let Some((seq, record)) = self.record_of_run(agent_id) else { return };
        let at = step(record.stop.get_or_insert_with(|| Stop::new(reason)));
        if at.is_none() {
            *at = Some(now);
            self.unsaved.touch(seq);
        }
    }

    /// Notes that nothing of this run, if it was stopped, can act any more.
    pub(super) fn note_over(&mut self, run: &Run, now: Now) {
        let attempts = self.tasks.get_mut(&run.task).map(|task| &mut task.attempts);
        let of_run = |record: &&mut AttemptRecord| record.attempt == run.attempt;
        let record = attempts.and_then(|attempts| attempts.iter_mut().rev().find(of_run));
        if record.is_some_and(|record| record.mark_over(now)) {
            self.unsaved.touch(run.task);
        }
    }

    /// The attempt that the agent runs, which may have ended although the run goes on.
    fn record_of_run(&mut self, agent_id: AgentId) -> Option<(Seq, &mut AttemptRecord)> {
        let run = self.agents.get(&agent_id)?.run.as_ref()?;
        let (seq, attempt) = (run.task, run.attempt);
        let attempts = &mut self.tasks.get_mut(&seq)?.attempts;
        let record = attempts.iter_mut().rev().find(|record| record.attempt == attempt)?;
        Some((seq, record))
    }
}

impl AttemptRecord {
    /// Notes in its stop, if there is one, that the run is over, unless that was not seen. Answers
    /// whether this changed something.
    pub(super) fn mark_over(&mut self, now: Now) -> bool {
        let seen = !self.overlap_possible;
        let stop = self.stop.as_mut().filter(|stop| seen && stop.over.is_none());
        stop.map(|stop| stop.over = Some(now)).is_some()
    }
}
