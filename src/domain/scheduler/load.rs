//! The start: going on with what an earlier daemon left in the store, after a crash and after a
//! clean stop alike.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::changes::Unsaved;
use super::end::AttemptEnd;
use super::{Jitter, Scheduler};
use crate::domain::agent::{Agent, AgentKind, Ending, Health, Run, StatusReason};
use crate::domain::attempt::Failure;
use crate::domain::change::{AgentRecord, Lesson, Snapshot};
use crate::domain::effect::Effect;
use crate::domain::gate_note::GATES_NOTE;
use crate::domain::gates::Gates;
use crate::domain::ids::AgentId;
use crate::domain::limits::Limits;
use crate::domain::priority::Seq;
use crate::domain::task::{Hold, Task, TaskState};
use crate::domain::time::Now;
use crate::domain::timers::Timer;

impl Scheduler {
    /// The state machine as the store has it. Tasks come back in their places; attempts on external
    /// agents go on; an attempt on a process agent that is still open was cut off by a crash, and
    /// `overlap_possible` says whether something of it may still be alive. Process agents wait for
    /// their next life.
    #[must_use]
    pub fn load(
        limits: Limits,
        gates: Gates,
        snapshot: Snapshot,
        overlap_possible: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let mut scheduler = Self::new(limits, gates);
        scheduler.next_seq = snapshot.last_seq.map_or(Seq::FIRST, Seq::next);
        scheduler.unsaved = Unsaved::from(scheduler.next_seq);
        scheduler.load_gates(snapshot.notes.get(GATES_NOTE).map(String::as_str), now);
        for task in snapshot.cancelled {
            scheduler.take_in_unchanged(task);
        }
        for record in snapshot.agents {
            scheduler.load_agent(record, now);
        }
        scheduler.load_lessons(snapshot.lessons);
        let seqs: Vec<_> = snapshot.tasks.iter().map(|task| task.seq).collect();
        for task in snapshot.tasks {
            scheduler.load_task(task, now);
        }
        scheduler.start_gates(now, effects);
        for &seq in &seqs {
            scheduler.join_parent(seq, now);
        }
        let cut_off: Vec<_> =
            seqs.into_iter().filter_map(|seq| scheduler.resume_run(seq, now)).collect();
        // A child before its parent, whose end may cancel it.
        for &(seq, agent) in cut_off.iter().rev() {
            scheduler.cut_off(seq, agent, overlap_possible, now, effects);
        }
        let ids: Vec<_> = scheduler.agents.keys().copied().collect();
        for id in ids {
            scheduler.await_call(id, now);
            scheduler.go_on_leaving(id, now, effects);
            scheduler.reckon(id, now);
            scheduler.offer(id, now);
        }
        scheduler.dispatch(now, effects);
        scheduler
    }

    fn load_agent(&mut self, record: AgentRecord, now: Now) {
        let AgentRecord { id, kind, types, incarnation, ids, degraded, .. } = record;
        let health = match (kind, degraded) {
            (AgentKind::Process, _) => {
                let reason = StatusReason::Restarting;
                Health::Degraded { reason, detail: String::new() }
            }
            (AgentKind::External { .. }, Some((reason, detail))) => {
                Health::Degraded { reason, detail }
            }
            (AgentKind::External { .. }, None) => Health::Fit,
        };
        // It may not know yet that its task was cancelled, and may answer until the grace is over.
        let grace_us = now.mono_us.saturating_add(self.limits.cancel_grace_us);
        let run = record.cancelled_run.and_then(|(task_id, attempt)| {
            Some(Run {
                task: *self.ids.get(&task_id)?,
                task_id,
                attempt,
                started: true,
                deadline_us: grace_us,
                ending: Some(Ending::Cancelled),
                overdue: None,
                failed_by_client: false,
                gates: 0,
                closed_us: 0,
                grace_us: Some(grace_us),
            })
        });
        if run.is_some() {
            self.timers.set(grace_us, Timer::RunTimeout(id));
            self.timers.set(grace_us, Timer::Grace(id));
        } else if record.cancelled_run.is_some() {
            self.touch_agent(id); // its task is forgotten, and so is the run
        }
        let mut agent = Agent::new(id, kind, types, incarnation, ids, health);
        agent.run = run;
        agent.leaving = record.leaving;
        self.agents.insert(id, agent);
    }

    /// What all agents together learned last is not known, but what each learned last is: so the
    /// newest ones of all agents come last.
    fn load_lessons(&mut self, mut lessons: Vec<Lesson>) {
        let window = self.limits.affinity_window;
        let mut newest = BTreeMap::new();
        for lesson in &lessons {
            if let Some(agent) = self.agents.get_mut(&lesson.agent) {
                agent.affinity.relearn(lesson, window);
                newest.insert((lesson.agent, lesson.kind), lesson.number);
            }
        }
        let age = |lesson: &Lesson| {
            let newest = newest.get(&(lesson.agent, lesson.kind))?;
            Some(newest.saturating_sub(lesson.number))
        };
        lessons.sort_by_cached_key(|lesson| Reverse(age(lesson)));
        for lesson in lessons.iter().filter(|lesson| age(lesson).is_some()) {
            self.learned.learn(lesson.kind, lesson.latency_us, window);
        }
    }

    fn load_task(&mut self, mut task: Task, now: Now) {
        let seq = task.seq;
        match &mut task.state {
            TaskState::Pending(wait) => {
                // A stored moment may lie ahead when somebody turned the clock back.
                wait.since_us = wait.since_us.min(now.mono_us);
                let hold = wait.hold;
                self.take_in_unchanged(task);
                self.put_in_queue(seq);
                match hold {
                    Hold::Backoff { until_us } if until_us > now.mono_us => {
                        let longest_us = self.backoff_us(seq, Jitter::FULL);
                        let until_us = until_us.min(now.mono_us.saturating_add(longest_us));
                        self.move_hold(seq, Hold::Backoff { until_us });
                        self.timers.set(until_us, Timer::Backoff(seq));
                    }
                    Hold::Backoff { .. } | Hold::Excluding { .. } | Hold::Relaxed => {
                        self.release_hold(seq, now);
                    }
                }
            }
            TaskState::InProgress { .. } => {
                self.counters.in_progress += 1;
                self.take_in_unchanged(task);
            }
            TaskState::Ended { .. } => debug_assert!(false, "an ended task is not live"),
        }
    }

    /// A lease begins anew, although its agent may be gone.
    fn await_call(&mut self, id: AgentId, now: Now) {
        if self.agents.get(&id).is_some_and(|agent| !agent.lease.is_held()) {
            self.renew_lease(id, now);
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.lease.unheard = agent.lease.until_us.is_some();
            }
        }
    }

    /// An agent that was on its way out is gone, unless it is an external one that is still at
    /// work: of its drain the rest is left.
    fn go_on_leaving(&mut self, id: AgentId, now: Now, effects: &mut Vec<Effect>) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let Some(leaving) = &mut agent.leaving else { return };
        if agent.run.is_none() {
            self.leave_without_run(id, effects);
        } else if let Some(until_us) = &mut leaving.until_us {
            *until_us = (*until_us).min(now.mono_us.saturating_add(leaving.drain_us));
            self.timers.set(*until_us, Timer::Leave(id));
        } else {
            self.stop_run(id, now, effects);
        }
    }

    /// Goes on with an open attempt on an external agent, which knows nothing of our end: the rest
    /// of its time is left, and its lease begins anew. Answers what cannot go on, and who had it.
    fn resume_run(&mut self, seq: Seq, now: Now) -> Option<(Seq, AgentId)> {
        let task = self.tasks.get_mut(&seq)?;
        let TaskState::InProgress { agent: id } = task.state else { return None };
        let cut_off = Some((seq, id));
        let Some(agent) = self.agents.get_mut(&id) else { return cut_off };
        let timeout_us = self.limits.timeout_of(task);
        let attempt = task.attempt;
        let kind = task.spec.kind;
        let Some(record) = task.open_attempt() else { return cut_off };
        if agent.is_process() || agent.run.is_some() || agent.health != Health::Fit {
            return cut_off;
        }
        let closed_us = self.gates.closed_us(kind, record.assigned);
        let spent_us = now.wall_us.saturating_sub(record.assigned.wall_us).min(timeout_us);
        let deadline_us = now.mono_us.saturating_add(timeout_us - spent_us);
        agent.run = Some(Run {
            task: seq,
            task_id: task.id,
            attempt,
            started: task.attempts.last().is_some_and(|record| record.started.is_some()),
            deadline_us,
            ending: None,
            overdue: None,
            failed_by_client: false,
            gates: 0,
            closed_us,
            grace_us: None,
        });
        self.timers.set(deadline_us, Timer::RunTimeout(id));
        self.renew_lease(id, now);
        None
    }

    /// Closes an attempt that the end of the daemon cut off.
    fn cut_off(
        &mut self,
        seq: Seq,
        id: AgentId,
        overlap_possible: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(record) = self.tasks.get_mut(&seq).and_then(Task::open_attempt) {
            record.overlap_possible |= overlap_possible;
            record.mark_over(now); // what an earlier daemon had asked to end
        }
        let detail = "the daemon ended while the attempt ran";
        let failure = Failure::new("daemon_crashed", detail);
        let end = AttemptEnd::Interrupted { failure, by_order: false, usage: None };
        self.close_attempt(seq, id, end, now, Jitter::FULL, effects);
        self.retire_if_ended(seq);
    }
}
