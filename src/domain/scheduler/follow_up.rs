//! Completions become work: the items of a result are tasks from the same turn on.

use std::sync::Arc;

use super::Scheduler;
use crate::domain::effect::{Effect, Event};
use crate::domain::follow_up::{FollowUpPlan, FollowUps, PlannedTask};
use crate::domain::ids::TaskId;
use crate::domain::parent::Parent;
use crate::domain::priority::{Priority, Seq};
use crate::domain::task::{TaskSpec, TaskState};
use crate::domain::task_type::TaskType;
use crate::domain::time::Now;

impl Scheduler {
    /// The type and the priority of a task whose result rules may look at: one that is with an agent
    /// and that no rule made.
    #[must_use]
    pub fn may_be_followed(&self, id: TaskId) -> Option<(TaskType, Priority)> {
        let task = self.task_by_id(id).ok()?;
        let is_follow_up = task.parent.is_some_and(|parent| parent.follow_up);
        let is_running = matches!(task.state, TaskState::InProgress { .. });
        (is_running && !is_follow_up).then_some((task.spec.kind, task.spec.priority))
    }

    /// Makes tasks of what the rules want of this task, which has just completed. They are never
    /// refused and count nowhere; whoever has a key already keeps it, unless it ended badly.
    pub(super) fn follow_up(
        &mut self,
        seq: Seq,
        plans: Vec<FollowUpPlan>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get(&seq).filter(|_| !plans.is_empty()) else { return };
        let (priority, trace) = (task.spec.priority, task.spec.trace.clone());
        let parent = Parent {
            task_id: task.id,
            attempt: task.attempt,
            depth: task.depth().saturating_add(1),
            detach: true,
            follow_up: true,
        };
        let mut sum = FollowUps::default();
        for FollowUpPlan { rule, kind, tasks, invalid } in plans {
            let mut numbers = FollowUps { invalid, ..FollowUps::default() };
            for planned in tasks {
                if !self.leave_key(&planned) {
                    numbers.skipped += 1;
                    continue;
                }
                let PlannedTask { id, key, payload, .. } = planned;
                let (key, trace) = (Some(key), trace.clone());
                let spec = TaskSpec {
                    kind,
                    payload,
                    priority,
                    preferred: None,
                    timeout_us: None,
                    key,
                    trace,
                };
                self.let_wait(id, spec, Some(parent), false, now, effects);
                numbers.created += 1;
            }
            sum += numbers;
            let (task_id, trace) = (parent.task_id, trace.clone());
            effects.push(Effect::Event(Event::FollowUpsCreated { task_id, trace, rule, numbers }));
        }
        self.counters.follow_ups += sum;
        if let Some(task) = self.tasks.get_mut(&seq) {
            task.follow_ups = Some(sum);
        }
    }

    /// Whether a new task may have the key: nobody has it, or the one that has it ended badly and
    /// leaves it. Of a task that is not here the plan says how it ended.
    fn leave_key(&mut self, planned: &PlannedTask) -> bool {
        let name: &Arc<str> = &planned.key.name;
        let here = self.keys.get(name).and_then(|seq| self.tasks.get_mut(seq));
        let Some(task) = here else { return planned.known.is_none_or(PlannedTask::may_follow) };
        if !PlannedTask::may_follow(task.status()) {
            return false;
        }
        task.spec.key = None;
        self.keys.remove(name);
        true
    }
}
