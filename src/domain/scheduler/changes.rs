//! What the turns changed that must outlive the daemon, until it is taken.

use super::Scheduler;
use crate::domain::agent::{Agent, Health, Leaving};
use crate::domain::change::{AgentRecord, Change, Launcher, Lesson};
use crate::domain::ids::AgentId;
use crate::domain::priority::Seq;
use crate::domain::task::{Hold, Task, TaskState};
use crate::domain::time::Now;

/// What changed since the changes were taken last. Tasks and agents are noted by name and copied
/// once, however often a turn touches them.
#[derive(Debug)]
pub(super) struct Unsaved {
    tasks: Vec<Seq>,
    agents: Vec<AgentId>,
    /// Tasks from here on were never taken.
    new_from: Seq,
    /// What is remembered of the gates changed.
    gates: bool,
    /// Changes that can be told already.
    ready: Vec<Change>,
}

impl Default for Unsaved {
    fn default() -> Self {
        Self {
            tasks: Vec::new(),
            agents: Vec::new(),
            new_from: Seq::FIRST,
            gates: false,
            ready: Vec::new(),
        }
    }
}

impl Unsaved {
    /// Nothing is unsaved, and the next task will be `next`.
    pub(super) fn from(next: Seq) -> Self {
        Self { new_from: next, ..Self::default() }
    }

    /// The task changed.
    pub(super) fn touch(&mut self, seq: Seq) {
        if self.tasks.last() != Some(&seq) {
            self.tasks.push(seq);
        }
    }

    /// The agent changed.
    pub(super) fn touch_agent(&mut self, id: AgentId) {
        self.agents.push(id);
    }

    /// What is remembered of the gates changed.
    pub(super) const fn touch_gates(&mut self) {
        self.gates = true;
    }

    /// The agent is no more.
    pub(super) fn agent_gone(&mut self, id: AgentId) {
        self.ready.push(Change::AgentGone(id));
    }

    /// The agent completed a task.
    pub(super) fn learned(&mut self, lesson: Lesson) {
        self.ready.push(Change::Learned(lesson));
    }

    fn is_new(&self, seq: Seq) -> bool {
        seq >= self.new_from
    }
}

impl Scheduler {
    pub(super) fn touch(&mut self, seq: Seq) {
        self.unsaved.touch(seq);
    }

    pub(super) fn touch_agent(&mut self, id: AgentId) {
        self.unsaved.touch_agent(id);
    }

    /// A part of the pool has something to remember.
    pub(super) fn remember(&mut self, note: Change) {
        self.unsaved.ready.push(note);
    }

    /// A fact: so many agents should live.
    pub fn set_target(&mut self, target: usize) {
        self.unsaved.ready.push(Change::Target(target));
    }

    /// Lets a task that has ended leave memory, with its last state on its way to the store. Called
    /// when no run of it is left.
    pub(super) fn retire_if_ended(&mut self, seq: Seq) {
        if !self.tasks.get(&seq).is_some_and(|task| task.status().is_terminal()) {
            return;
        }
        let Some(task) = self.tasks.remove(&seq) else { return };
        self.ids.remove(&task.id);
        if let Some(key) = &task.spec.key {
            self.keys.remove(&key.name);
        }
        let new = self.unsaved.is_new(seq);
        self.unsaved.ready.push(Change::Task { task: Box::new(task), new });
    }

    /// Takes what changed since the last time. The changes of one call belong together: all of
    /// them are to be on disk, or none.
    pub fn take_changes(&mut self, now: Now) -> Vec<Change> {
        let gates = std::mem::take(&mut self.unsaved.gates);
        let note = gates.then(|| self.gate_note(now)).flatten();
        let unsaved = &mut self.unsaved;
        let mut changes = std::mem::take(&mut unsaved.ready);
        if unsaved.tasks.len() > 1 {
            unsaved.tasks.sort_unstable();
            unsaved.tasks.dedup();
        }
        for seq in &unsaved.tasks {
            // One that is not here any more is among the changes already.
            if let Some(task) = self.tasks.get(seq) {
                let new = *seq >= unsaved.new_from;
                let task = Box::new(task.clone().with_times_of_day(now));
                changes.push(Change::Task { task, new });
            }
        }
        unsaved.agents.sort_unstable();
        unsaved.agents.dedup();
        let agents = unsaved.agents.iter().filter_map(|id| self.agents.get(id));
        changes.extend(agents.map(|agent| Change::Agent(Box::new(agent.record(now)))));
        changes.extend(note.map(|(name, text)| Change::Note { name: name.into(), text }));
        unsaved.tasks.clear();
        unsaved.agents.clear();
        unsaved.new_from = self.next_seq;
        changes
    }
}

impl Task {
    /// The task with the deadlines of its state as times of day, for the store.
    fn with_times_of_day(mut self, now: Now) -> Self {
        if let TaskState::Pending(wait) = &mut self.state {
            wait.since_us = now.wall_of(wait.since_us);
            wait.hold = match wait.hold {
                Hold::Backoff { until_us } => Hold::Backoff { until_us: now.wall_of(until_us) },
                // How long they exclude follows from since when it waits.
                Hold::Excluding { .. } | Hold::Relaxed => Hold::Excluding { until_us: None },
            };
        }
        self
    }
}

impl Agent {
    fn record(&self, now: Now) -> AgentRecord {
        let degraded = match &self.health {
            Health::Degraded { reason, detail } if !self.is_process() => {
                Some((*reason, detail.clone()))
            }
            Health::Degraded { .. } | Health::Fit => None,
        };
        let launcher = self.process.as_ref().map(|process| Launcher {
            pid: process.launcher_pid,
            start_ticks: process.launcher_start_ticks,
        });
        let run = self.run.as_ref().filter(|run| run.is_remembered(self.kind));
        AgentRecord {
            id: self.id,
            kind: self.kind,
            types: self.types,
            incarnation: self.incarnation,
            ids: self.ids,
            degraded,
            leaving: self.leaving.map(|leaving| Leaving {
                until_us: leaving.until_us.map(|until_us| now.wall_of(until_us)),
                ..leaving
            }),
            launcher,
            cancelled_run: run.map(|run| (run.task_id, run.attempt)),
        }
    }
}
