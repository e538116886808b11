//! A disk in miniature: what a store has after the changes that it was given, and what it gives
//! the next daemon.

use std::collections::BTreeMap;

use super::world::name;
use crate::domain::{
    AgentId, AgentRecord, Change, Lesson, Now, Seq, Snapshot, Task, TaskId, TaskState, TaskStatus,
    TaskType,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub tasks: BTreeMap<Seq, Stored>,
    pub ids: BTreeMap<TaskId, Seq>,
    pub agents: BTreeMap<AgentId, AgentRecord>,
    pub lessons: BTreeMap<(AgentId, TaskType, usize), Lesson>,
    pub target: Option<usize>,
    pub notes: BTreeMap<String, String>,
    pub last_seq: Option<Seq>,
}

/// A task as it was written.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub task: Task,
    /// When it was written, or read by the present daemon: what both clocks said.
    pub at: Now,
}

impl Disk {
    /// Applies the changes of a turn, which put these ended tasks back.
    pub(super) fn apply(&mut self, changes: Vec<Change>, retried: &[TaskId], at: Now) {
        for change in changes {
            match change {
                Change::Task { task, new } => self.put(*task, new, retried, at),
                Change::Agent(agent) => {
                    self.agents.insert(agent.id, *agent);
                }
                Change::AgentGone(agent) => {
                    self.agents.remove(&agent);
                    self.lessons.retain(|&(whose, ..), _| whose != agent);
                }
                Change::Learned(lesson) => {
                    self.lessons.insert((lesson.agent, lesson.kind, lesson.slot), lesson);
                }
                Change::Target(target) => self.target = Some(target),
                Change::Note { name, text } => {
                    self.notes.insert(name.to_string(), text);
                }
            }
        }
    }

    fn put(&mut self, task: Task, new: bool, retried: &[TaskId], at: Now) {
        let known = self.tasks.get(&task.seq).map(|stored| &stored.task);
        let back = retried.contains(&task.id);
        assert_eq!(new, known.is_none(), "whether {} is unknown", name(task.id));
        if let Some(known) = known {
            assert_eq!(known.id, task.id, "a number of a submission was given twice");
            let status = known.status();
            let may_be = !status.is_terminal() || back || status == task.status();
            assert!(may_be, "{} ended and changed", name(task.id));
        }
        if let Some(key) = task.spec.key.as_ref().filter(|_| new) {
            for Stored { task: other, .. } in self.tasks.values_mut() {
                other.spec.key.take_if(|own| own.name == key.name);
            }
        }
        self.ids.insert(task.id, task.seq);
        self.last_seq = self.last_seq.max(Some(task.seq));
        self.tasks.insert(task.seq, Stored { task, at });
    }

    /// What a start reads; `now` is when.
    pub(super) fn load(&mut self, now: Now) -> Snapshot {
        for stored in self.tasks.values_mut() {
            stored.at = now;
        }
        let mut lessons: Vec<_> = self.lessons.values().copied().collect();
        lessons.sort_by_key(|lesson| (lesson.agent, lesson.kind, lesson.number));
        let runs = self.agents.values().filter_map(|agent| agent.cancelled_run);
        let cancelled = runs.filter_map(|(id, _)| self.task(id));
        Snapshot {
            tasks: self.live().map(as_read).collect(),
            agents: self.agents.values().cloned().collect(),
            cancelled: cancelled.map(as_read).collect(),
            lessons,
            target: self.target,
            notes: self.notes.clone(),
            last_seq: self.last_seq,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().map(|stored| &stored.task)
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Task> {
        self.all().filter(|task| !task.status().is_terminal())
    }

    pub(super) fn task(&self, id: TaskId) -> Option<&Task> {
        self.ids.get(&id).and_then(|seq| self.tasks.get(seq)).map(|stored| &stored.task)
    }

    /// The task, if it has ended; only then may anybody look at it here and not in memory.
    pub(super) fn ended(&self, id: TaskId) -> Option<&Task> {
        self.task(id).filter(|task| task.status().is_terminal())
    }

    pub(super) fn task_of_key(&self, key: &str) -> Option<&Task> {
        let has_it = |task: &&Task| task.spec.key.as_ref().is_some_and(|own| &*own.name == key);
        self.all().find(has_it)
    }

    /// How many tasks are as `status` says.
    pub(super) fn count(&self, status: TaskStatus) -> u64 {
        self.all().filter(|task| task.status() == status).count() as u64
    }
}

/// A task as a store gives it back: of each moment it keeps the time of day.
pub(super) fn as_read(task: &Task) -> Task {
    let read = |now: Now| Now { mono_us: now.wall_us, ..now };
    let mut task = task.clone();
    task.created = read(task.created);
    task.asked = read(task.asked);
    task.first_started = task.first_started.map(read);
    if let TaskState::Ended { at, .. } = &mut task.state {
        *at = read(*at);
    }
    for record in &mut task.attempts {
        record.assigned = read(record.assigned);
        record.started = record.started.map(read);
        if let Some(end) = &mut record.end {
            end.at = read(end.at);
        }
    }
    task
}
