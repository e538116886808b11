//! A disk in miniature: what a store has after the changes that it was given, and what it gives
//! the next daemon.

use std::collections::BTreeMap;

use super::world::name;
use crate::domain::{AgentId, AgentRecord, Change, Lesson, Seq, Task, TaskId, TaskType};

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub tasks: BTreeMap<Seq, Task>,
    pub ids: BTreeMap<TaskId, Seq>,
    pub agents: BTreeMap<AgentId, AgentRecord>,
    pub lessons: BTreeMap<(AgentId, TaskType, usize), Lesson>,
    pub target: Option<usize>,
    pub last_seq: Option<Seq>,
}

impl Disk {
    /// Applies the changes of a turn, which put these ended tasks back.
    pub(super) fn apply(&mut self, changes: Vec<Change>, retried: &[TaskId]) {
        for change in changes {
            match change {
                Change::Task { task, new } => self.put(*task, new, retried),
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
            }
        }
    }

    fn put(&mut self, task: Task, new: bool, retried: &[TaskId]) {
        let known = self.tasks.get(&task.seq);
        let back = retried.contains(&task.id);
        assert_eq!(new, known.is_none() || back, "whether {} may be unknown", name(task.id));
        if let Some(known) = known {
            assert_eq!(known.id, task.id, "a number of a submission was given twice");
            let status = known.status();
            let may_be = !status.is_terminal() || back || status == task.status();
            assert!(may_be, "{} ended and changed", name(task.id));
        }
        self.ids.insert(task.id, task.seq);
        self.last_seq = self.last_seq.max(Some(task.seq));
        self.tasks.insert(task.seq, task);
    }

    pub(super) fn task(&self, id: TaskId) -> Option<&Task> {
        self.ids.get(&id).and_then(|seq| self.tasks.get(seq))
    }

    /// The task, if it has ended; only then may anybody look at it here and not in memory.
    pub(super) fn ended(&self, id: TaskId) -> Option<&Task> {
        self.task(id).filter(|task| task.status().is_terminal())
    }
}
