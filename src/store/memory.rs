//! The store without a file: gone when the daemon ends.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::{Expired, History, LOOKED_AT_MOST, Store, StoreError};
use crate::domain::limits::ENDED_TASKS_KEPT;
use crate::domain::{
    AgentId, AgentRecord, Change, Lesson, ListQuery, Seq, Snapshot, StoreMetrics, Task, TaskId,
    TaskPage, TaskState, TaskStatus, TaskType, TaskTypes,
};

/// How many tasks a step of [`Store::expire`] forgets.
const STEP_TASKS: u64 = 256;

/// The writing side. Of the ended tasks it keeps the last 10 000.
#[derive(Debug)]
pub struct MemoryStore {
    id: Uuid,
    shared: Arc<Mutex<Tables>>,
}

/// The reading side.
#[derive(Debug)]
pub struct MemoryHistory {
    shared: Arc<Mutex<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    tasks: BTreeMap<Seq, Box<Task>>,
    by_id: HashMap<TaskId, Seq>,
    by_key: HashMap<Arc<str>, Seq>,
    /// Those that ended, in the order of their ends.
    ended: VecDeque<Seq>,
    agents: BTreeMap<AgentId, AgentRecord>,
    lessons: BTreeMap<(AgentId, TaskType, usize), Lesson>,
    target: Option<usize>,
    notes: BTreeMap<String, String>,
    last_seq: Option<Seq>,
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { id: Uuid::new_v4(), shared: Arc::default() }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// No method leaves the tables half changed, so a panic elsewhere does not spoil them.
fn lock(shared: &Mutex<Tables>) -> MutexGuard<'_, Tables> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for MemoryStore {
    fn id(&self) -> Uuid {
        self.id
    }

    fn load(&mut self) -> Result<Snapshot, StoreError> {
        Ok(lock(&self.shared).snapshot())
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut tables = lock(&self.shared);
        for change in changes {
            tables.apply(change);
        }
        Ok(())
    }

    fn expire(&mut self, before_us: u64, _now_us: u64) -> Result<Expired, StoreError> {
        Ok(lock(&self.shared).expire(before_us))
    }

    fn metrics(&self) -> Result<StoreMetrics, StoreError> {
        Ok(StoreMetrics::default())
    }

    fn history(&self) -> Result<Box<dyn History>, StoreError> {
        Ok(Box::new(MemoryHistory { shared: Arc::clone(&self.shared) }))
    }
}

impl Tables {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Task { task, new } => self.put(task, new),
            Change::Learned(lesson) => {
                self.lessons.insert((lesson.agent, lesson.kind, lesson.slot), lesson);
            }
            Change::Agent(agent) => {
                self.agents.insert(agent.id, *agent);
            }
            Change::AgentGone(agent) => {
                self.agents.remove(&agent);
                self.lessons.retain(|&(whose, _, _), _| whose != agent);
            }
            Change::Target(target) => self.target = Some(target),
            Change::Note { name, text } => {
                self.notes.insert(name.to_string(), text);
            }
        }
    }

    fn put(&mut self, mut task: Box<Task>, new: bool) {
        let seq = task.seq;
        let has_ended = task.status().is_terminal();
        let had_ended = match self.tasks.get_mut(&seq) {
            Some(known) => {
                let had_ended = known.status().is_terminal();
                task.spec.key = known.spec.key.take();
                *known = task;
                had_ended
            }
            None => {
                self.last_seq = self.last_seq.max(Some(seq));
                self.by_id.insert(task.id, seq);
                self.give_key(&mut task, new);
                self.tasks.insert(seq, task);
                false
            }
        };
        if has_ended && !had_ended {
            self.ended.push_back(seq);
            if self.ended.len() > ENDED_TASKS_KEPT {
                self.forget_oldest();
            }
        } else if had_ended && !has_ended {
            self.ended.retain(|&other| other != seq);
        }
    }

    /// A new task takes its key from the one that had it. One that came back after it was forgotten,
    /// and whose key was used again meanwhile, comes back without it.
    fn give_key(&mut self, task: &mut Task, new: bool) {
        let Some(key) = &task.spec.key else { return };
        match self.by_key.get(&key.name).copied() {
            Some(_) if !new => task.spec.key = None,
            owner => {
                if let Some(before) = owner.and_then(|seq| self.tasks.get_mut(&seq)) {
                    before.spec.key = None;
                }
                self.by_key.insert(Arc::clone(&key.name), task.seq);
            }
        }
    }

    /// Forgets the task that ended first.
    fn forget_oldest(&mut self) {
        let Some(task) = self.ended.pop_front().and_then(|seq| self.tasks.remove(&seq)) else {
            return;
        };
        self.by_id.remove(&task.id);
        if let Some(key) = &task.spec.key {
            self.by_key.remove(&key.name);
        }
    }

    fn expire(&mut self, before_us: u64) -> Expired {
        let mut tasks = 0;
        while tasks < STEP_TASKS {
            let oldest = self.ended.front().and_then(|seq| self.tasks.get(seq));
            let is_old = oldest.is_some_and(|task| match task.state {
                TaskState::Ended { at, .. } => at.wall_us < before_us,
                TaskState::Pending(_) | TaskState::InProgress { .. } => false,
            });
            if !is_old {
                return Expired { tasks, more: false };
            }
            self.forget_oldest();
            tasks += 1;
        }
        Expired { tasks, more: true }
    }

    fn snapshot(&self) -> Snapshot {
        let live = self.tasks.values().filter(|task| !task.status().is_terminal());
        let runs = self.agents.values().filter_map(|agent| agent.cancelled_run);
        let cancelled = runs.filter_map(|(id, _)| self.tasks.get(self.by_id.get(&id)?));
        let mut lessons: Vec<Lesson> = self.lessons.values().copied().collect();
        lessons.sort_by_key(|lesson| (lesson.agent, lesson.kind, lesson.number));
        Snapshot {
            tasks: live.map(|task| Task::clone(task)).collect(),
            agents: self.agents.values().cloned().collect(),
            cancelled: cancelled.map(|task| Task::clone(task)).collect(),
            lessons,
            target: self.target,
            notes: self.notes.clone(),
            last_seq: self.last_seq,
        }
    }

    fn page(&self, query: &ListQuery) -> TaskPage {
        let end = query.before.unwrap_or(Seq::new(u64::MAX));
        let mut older = self.tasks.range(..end).rev();
        let (mut tasks, mut last) = (Vec::new(), None);
        for (&seq, task) in older.by_ref().take(LOOKED_AT_MOST) {
            if tasks.len() >= query.limit {
                return TaskPage { tasks, next: last };
            }
            if query.status.is_none_or(|status| status == task.status())
                && query.kind.is_none_or(|kind| kind == task.spec.kind)
            {
                tasks.push(task.summary(None));
            }
            last = Some(seq);
        }
        TaskPage { tasks, next: older.next().and(last) }
    }
}

impl History for MemoryHistory {
    fn task(&mut self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let tables = lock(&self.shared);
        let task = tables.by_id.get(&id).and_then(|seq| tables.tasks.get(seq));
        Ok(task.map(|task| Task::clone(task)))
    }

    fn task_of_key(&mut self, name: &str) -> Result<Option<Task>, StoreError> {
        let tables = lock(&self.shared);
        let task = tables.by_key.get(name).and_then(|seq| tables.tasks.get(seq));
        Ok(task.map(|task| Task::clone(task)))
    }

    fn status_of_key(&mut self, name: &str) -> Result<Option<TaskStatus>, StoreError> {
        let tables = lock(&self.shared);
        let task = tables.by_key.get(name).and_then(|seq| tables.tasks.get(seq));
        Ok(task.map(|task| task.status()))
    }

    fn page(&mut self, query: &ListQuery) -> Result<TaskPage, StoreError> {
        Ok(lock(&self.shared).page(query))
    }

    fn unsuccessful(
        &mut self,
        status: TaskStatus,
        of: TaskTypes,
        from: TaskTypes,
        at_most: usize,
    ) -> Result<(Vec<Task>, u64), StoreError> {
        let tables = lock(&self.shared);
        let wanted = |kinds: TaskTypes| {
            tables
                .tasks
                .values()
                .filter(move |task| task.status() == status && kinds.contains(task.spec.kind))
        };
        let oldest = wanted(from).take(at_most).map(|task| Task::clone(task));
        Ok((oldest.collect(), wanted(of).count() as u64))
    }
}
