//! What time brings.

use super::children::deadlocked;
use super::end::AttemptEnd;
use super::{Jitter, Scheduler};
use crate::domain::agent::Ending;
use crate::domain::attempt::Failure;
use crate::domain::effect::Effect;
use crate::domain::gate::Gate;
use crate::domain::ids::{AgentId, Attempt, Incarnation, TaskId};
use crate::domain::priority::Seq;
use crate::domain::task::{Hold, TaskState};
use crate::domain::time::Now;
use crate::domain::timers::Timer;

impl Scheduler {
    /// When [`handle_timeout`](Self::handle_timeout) next has work, in monotonic microseconds, so
    /// that the shell can set one timer.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        self.timers.next().filter(|_| !self.deaf)
    }

    /// Does what is due. A spurious call does nothing.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.deaf {
            return;
        }
        loop {
            self.do_what_is_due(now, effects);
            self.dispatch(now, effects);
            // Without a grace, what had to make room is over at once.
            if self.timers.next().is_none_or(|at_us| at_us > now.mono_us) {
                break;
            }
        }
    }

    fn do_what_is_due(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(timer) = self.timers.pop_due(now.mono_us) {
            match timer {
                Timer::Backoff(seq) => self.release_hold(seq, now),
                Timer::Relax(seq) => self.relax(seq),
                Timer::RunTimeout(id) => self.end_run_early(id, Ending::TimedOut, now, effects),
                Timer::Grace(id) => self.grace_ended(id, now, effects),
                Timer::Lease(id) => self.lease_ended(id, now, effects),
                Timer::Leave(id) => self.stop_run(id, now, effects),
                Timer::Start(id) => self.reckon(id, now),
                Timer::GateHold(index) => self.end_hold(index, now, effects),
                Timer::GateQuiet(index) => self.end_quiet(index, effects),
                Timer::GateWait(index) => self.fail_overdue(index, now, effects),
                Timer::Schedule(index) => self.look_at_schedule(index, now),
            }
        }
    }

    /// A fact: the process agent's run of this attempt stayed in one phase for too long, as `detail`
    /// says. It is ended like one that took too long as a whole.
    #[expect(clippy::too_many_arguments, reason = "a fact with its fence and its time")]
    pub fn phase_overdue(
        &mut self,
        id: AgentId,
        incarnation: Incarnation,
        task_id: TaskId,
        attempt: Attempt,
        detail: String,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if !self.runs(id, incarnation, task_id, attempt) {
            return;
        }
        // What ends already, by order or by its own death, ends for that.
        let Some(agent) = self.agents.get_mut(&id).filter(|agent| agent.dying.is_none()) else {
            return;
        };
        let Some(run) = agent.run.as_mut().filter(|run| run.ending.is_none()) else { return };
        run.overdue = Some(Failure::new("phase_timed_out", detail));
        self.end_run_early(id, Ending::TimedOut, now, effects);
        self.dispatch(now, effects);
    }

    /// The daemon itself stood still for `late_us` (a stop signal, a suspend): nobody is judged by
    /// that time. Every deadline moves on by as much, every lease gets its full length (rule 13).
    pub fn resume(&mut self, late_us: u64, now: Now) {
        for (at_us, timer) in std::mem::take(&mut self.timers).into_iter() {
            if matches!(timer, Timer::Schedule(_)) {
                self.timers.set(at_us, timer); // what was missed is one run
                continue;
            }
            let at_us = at_us.saturating_add(late_us);
            self.timers.set(at_us, timer);
            match timer {
                Timer::Backoff(seq) => self.move_hold(seq, Hold::Backoff { until_us: at_us }),
                Timer::Relax(seq) => {
                    self.move_hold(seq, Hold::Excluding { until_us: Some(at_us) });
                }
                Timer::Schedule(_) => {}
                Timer::RunTimeout(id)
                | Timer::Grace(id)
                | Timer::Lease(id)
                | Timer::Leave(id)
                | Timer::Start(id) => {
                    self.move_agent_deadline(id, timer, at_us);
                }
                Timer::GateHold(index) => {
                    self.move_gate(index, |gate| &mut gate.held_until_us, at_us);
                    self.unsaved.touch_gates();
                }
                Timer::GateQuiet(index) => {
                    self.move_gate(index, |gate| &mut gate.quiet_until_us, at_us);
                }
                Timer::GateWait(index) => {
                    self.move_gate(index, |gate| &mut gate.look_us, at_us);
                }
            }
        }
        let leased: Vec<_> = self
            .agents
            .values()
            .filter(|agent| agent.lease.is_held())
            .map(|agent| agent.id)
            .collect();
        for id in leased {
            self.renew_lease(id, now);
        }
    }

    pub(super) fn move_hold(&mut self, seq: Seq, moved: Hold) {
        if let Some(task) = self.tasks.get_mut(&seq)
            && let TaskState::Pending(wait) = &mut task.state
        {
            wait.hold = moved;
        }
    }

    fn move_gate(
        &mut self,
        index: usize,
        deadline: impl Fn(&mut Gate) -> &mut Option<u64>,
        at_us: u64,
    ) {
        if let Some(gate) = self.gates.get_mut(index) {
            *deadline(gate) = Some(at_us);
        }
    }

    fn move_agent_deadline(&mut self, id: AgentId, timer: Timer, at_us: u64) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        match (timer, &mut agent.run) {
            (Timer::RunTimeout(_), Some(run)) => run.deadline_us = at_us,
            (Timer::Grace(_), Some(run)) => run.grace_us = Some(at_us),
            (Timer::Lease(_), _) => agent.lease.until_us = Some(at_us),
            (Timer::Start(_), _) => agent.due_us = Some(at_us),
            (Timer::Leave(_), _) => {
                if let Some(leaving) = &mut agent.leaving {
                    leaving.until_us = Some(at_us);
                }
            }
            (_, _) => {}
        }
    }

    /// Lifts the exclusions of a pending task (rule 8).
    fn relax(&mut self, seq: Seq) {
        let Some(task) = self.tasks.get_mut(&seq) else { return };
        let (place, kind) = (task.place(), task.spec.kind);
        self.queue.make_unready(place, kind, &task.exclusions());
        if let TaskState::Pending(wait) = &mut task.state {
            wait.hold = Hold::Relaxed;
            self.queue.make_ready(place, kind, &[]);
        }
    }

    /// An external agent did not answer its cancel or time-out in time: nobody knows whether it
    /// goes on.
    fn grace_ended(&mut self, id: AgentId, now: Now, effects: &mut Vec<Effect>) {
        let Some(run) = self.agents.get(&id).and_then(|agent| agent.run.as_ref()) else { return };
        let (seq, ending) = (run.task, run.ending.clone());
        if let Some(task) = self.tasks.get_mut(&seq)
            && let Some(record) = task.attempts.last_mut()
        {
            record.overlap_possible = true;
            self.unsaved.touch(seq);
        }
        let end = match ending {
            Some(Ending::TimedOut) => Some(AttemptEnd::TimedOut(None)),
            Some(Ending::Deadlocked) => Some(deadlocked(None)),
            Some(Ending::Cancelled | Ending::FailedByClient | Ending::Stopped) | None => None,
        };
        if let Some(end) = end {
            self.close_attempt(seq, id, end, now, Jitter::FULL, effects);
        }
        self.run_over(id, now, effects);
    }
}
