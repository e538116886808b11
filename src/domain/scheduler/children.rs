//! Tasks that hand out others, and the rule that they cannot lock the pool up.
//!
//! A task with an unfinished child that is not detached *waits*: its agent does nothing that anybody
//! else could use. So at most (live agents - 1) may wait, and one live agent is always there to run
//! what they wait for. A submit that would break this is refused; when agents are lost, the youngest
//! of the waiting tasks is interrupted.

use super::end::AttemptEnd;
use super::{Accepted, Jitter, Scheduler};
use crate::domain::agent::Ending;
use crate::domain::attempt::Failure;
use crate::domain::effect::{Effect, Event};
use crate::domain::ids::{AgentId, TaskId};
use crate::domain::parent::{ChildOf, MAX_CHILDREN, MAX_DEPTH, Parent};
use crate::domain::priority::Seq;
use crate::domain::refusal::Refusal;
use crate::domain::report::Usage;
use crate::domain::task::{Task, TaskSpec, TaskState};
use crate::domain::time::Now;
use crate::domain::timers::Timer;

impl Scheduler {
    /// Accepts `spec` as `id`, a child of a task that is with an agent, or refuses it and changes
    /// nothing.
    ///
    /// # Errors
    /// As for [`submit`](Self::submit); `ParentNotFound`, `ParentNotRunning`, `ParentEnded`,
    /// `StaleAttempt`, `TooDeep`, `TooManyChildren`, `WouldDeadlock`.
    pub fn submit_child(
        &mut self,
        id: TaskId,
        mut spec: TaskSpec,
        of: ChildOf,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Accepted, Refusal> {
        let (seq, parent) = self.child_of(&of).inspect_err(|refusal| {
            self.counters.rejected += 1;
            let (trace, reason) = (spec.trace.clone(), refused_for(refusal));
            effects.push(Effect::Event(Event::TaskRejected { trace, reason }));
        })?;
        self.admit_or_reject(spec.kind, &spec.trace, now, effects)?;
        if let Some(task) = self.tasks.get_mut(&seq) {
            if of.inherits_priority {
                spec.priority = task.spec.priority;
            }
            if let Some(record) = task.open_attempt() {
                record.children += 1;
            }
        }
        self.touch(seq);
        Ok(self.accept(id, spec, Some(parent), now, effects))
    }

    /// The parent of a child that may be submitted.
    fn child_of(&self, of: &ChildOf) -> Result<(Seq, Parent), Refusal> {
        let task = self.task_by_id(of.parent).map_err(|_| Refusal::ParentNotFound)?;
        let newest = task.attempt;
        if let Some(caller) = of.caller
            && !(matches!(task.state, TaskState::InProgress { .. })
                && self.runs(caller.agent, caller.incarnation, task.id, caller.attempt))
        {
            return Err(Refusal::StaleAttempt { given: caller.attempt, newest });
        }
        let agent = match task.state {
            TaskState::InProgress { agent } => agent,
            TaskState::Pending(_) => return Err(Refusal::ParentNotRunning),
            TaskState::Ended { .. } => return Err(task.parent_ended()),
        };
        let depth = task.depth() + 1;
        if depth > MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        if task.attempts.last().is_some_and(|record| record.children >= MAX_CHILDREN) {
            return Err(Refusal::TooManyChildren);
        }
        if !of.detach {
            self.may_wait(task.seq, agent)?;
        }
        let (task_id, detach) = (task.id, of.detach);
        let parent = Parent { task_id, attempt: newest, depth, detach, follow_up: false };
        Ok((task.seq, parent))
    }

    /// Whether the task, which is with this agent, may have an unfinished child.
    fn may_wait(&self, seq: Seq, agent: AgentId) -> Result<(), Refusal> {
        let (waiting, live) = self.family.balance();
        let agent = self.agents.get(&agent);
        let counts = agent.is_some_and(|agent| {
            agent.is_live && agent.run.as_ref().is_some_and(|run| run.ending.is_none())
        });
        let more = usize::from(counts && !self.family.is_waiting(seq));
        if waiting + more < live {
            return Ok(());
        }
        Err(Refusal::WouldDeadlock { waiting, live })
    }

    /// Whether a task that is tried again may be what its parent waits for, if that still runs.
    pub(super) fn may_come_back(&self, task: &Task) -> Result<(), Refusal> {
        match self.open_parent(task) {
            Some((parent, agent)) => self.may_wait(parent, agent),
            None => Ok(()),
        }
    }

    /// The task that waits for this one, and the agent that has it: its parent, while the attempt
    /// that handed it out is open.
    fn open_parent(&self, task: &Task) -> Option<(Seq, AgentId)> {
        let parent = task.parent.filter(|parent| !parent.detach)?;
        let of = self.task_by_id(parent.task_id).ok()?;
        let TaskState::InProgress { agent } = of.state else { return None };
        (of.attempt == parent.attempt).then_some((of.seq, agent))
    }

    /// From now on its parent, if it has one, waits for this task.
    pub(super) fn join_parent(&mut self, seq: Seq, now: Now) {
        let Some(task) = self.tasks.get(&seq) else { return };
        let Some((parent, agent)) = self.open_parent(task) else { return };
        self.family.join(parent, seq);
        self.reckon(agent, now);
    }

    /// The task has ended; its parent waits for it no more.
    pub(super) fn leave_parent(&mut self, seq: Seq, now: Now) {
        let Some(task) = self.tasks.get(&seq) else { return };
        let Some((parent, agent)) = self.open_parent(task) else { return };
        self.family.leave(parent, seq);
        self.reckon(agent, now);
    }

    /// The open attempt of the task has ended. Its unfinished children go on, or are cancelled.
    pub(super) fn part_from_children(
        &mut self,
        seq: Seq,
        go_on: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let children = self.family.part(seq);
        for child in children.into_iter().filter(|_| !go_on) {
            self.cancel_task(child, now, effects);
        }
    }

    /// Cancels a task that has not ended.
    pub(super) fn cancel_task(&mut self, seq: Seq, now: Now, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(&seq) else { return };
        match task.state {
            TaskState::Pending(_) => self.cancel_pending(seq, now, effects),
            TaskState::InProgress { agent } => {
                self.close_attempt(seq, agent, AttemptEnd::Cancelled, now, Jitter::FULL, effects);
                self.end_run_early(agent, Ending::Cancelled, now, effects);
            }
            TaskState::Ended { .. } => {}
        }
    }

    /// Brings what the deadlock rule counts up to date with how this agent and its run are. An agent
    /// counts as live while it is there, and for `start_timeout_us` while it is being started.
    pub(super) fn reckon(&mut self, id: AgentId, now: Now) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        match (agent.is_coming(), agent.due_us) {
            (true, None) => {
                let due_us = now.mono_us.saturating_add(self.limits.start_timeout_us);
                agent.due_us = Some(due_us);
                self.timers.set(due_us, Timer::Start(id));
            }
            (false, Some(due_us)) => {
                agent.due_us = None;
                self.timers.clear(due_us, Timer::Start(id));
            }
            (true, Some(_)) | (false, None) => {}
        }
        let is_due = agent.due_us.is_some_and(|due_us| due_us > now.mono_us);
        let is_live = agent.is_there() || is_due;
        self.family.count_agent(agent.is_live, is_live);
        agent.is_live = is_live;
        if let Some(run) = &agent.run {
            let waits = is_live && run.ending.is_none() && self.family.has_children(run.task);
            self.family.set_waiting(run.task, waits);
        }
    }

    /// Interrupts the youngest waiting tasks until a live agent is left to run what the others wait
    /// for.
    pub(super) fn break_deadlock(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(seq) = self.family.pop_excess() {
            let Some(task) = self.tasks.get(&seq) else { continue };
            if let TaskState::InProgress { agent } = task.state {
                self.end_run_early(agent, Ending::Deadlocked, now, effects);
            }
        }
    }
}

/// The end of an attempt that was stopped so that its agent can run what others wait for, with
/// what it used, if it said so.
pub(super) fn deadlocked(usage: Option<Usage>) -> AttemptEnd {
    let detail = "every live agent waited for children of its task, so the youngest of these tasks \
                  had to make room";
    AttemptEnd::Interrupted { failure: Failure::new("deadlock", detail), by_order: false, usage }
}

/// In a word, for the log.
const fn refused_for(refusal: &Refusal) -> &'static str {
    if matches!(refusal, Refusal::TooDeep) {
        "too_deep"
    } else if matches!(refusal, Refusal::TooManyChildren) {
        "too_many_children"
    } else if matches!(refusal, Refusal::WouldDeadlock { .. }) {
        "would_deadlock"
    } else {
        "parent_not_running"
    }
}
