//! The end of a daemon and the start of the next one, and the verbs that read the store.

use std::sync::Arc;

use super::durability;
use super::gating::Gating;
use super::invariants::{self, Before};
use super::world::{World, seconds, task};
use crate::domain::{
    Accepted, AgentKind, Change, Effect, Event, Fingerprint, Gates, IdempotencyKey, Limits, Now,
    Refusal, Scheduler, TaskId, TaskSpec, TaskStatus, TaskType,
};

use super::disk::as_read;

/// What a verb answers.
pub(super) trait Answer {
    /// Whether it refused and so must have changed nothing.
    fn is_refusal(&self) -> bool {
        false
    }
}

impl Answer for () {}

impl<T> Answer for Result<T, Refusal> {
    fn is_refusal(&self) -> bool {
        self.is_err()
    }
}

/// What there was when the present daemon started, which counts from there.
#[derive(Debug, Default)]
pub(super) struct Base {
    pub accepted: usize,
    pub attempts: usize,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// How the tasks had ended that were retried since.
    pub undone: Vec<TaskStatus>,
}

impl Base {
    /// How many ends of this kind the present daemon saw, when so many tasks are ended so.
    pub(super) fn since(&self, status: TaskStatus, count: u64) -> u64 {
        let undone = self.undone.iter().filter(|&&undone| undone == status).count() as u64;
        let before = match status {
            TaskStatus::Completed => self.completed,
            TaskStatus::Failed => self.failed,
            TaskStatus::Cancelled => self.cancelled,
            TaskStatus::Pending | TaskStatus::InProgress => 0,
        };
        count + undone - before
    }
}

impl World {
    /// Whether the daemon ends before this turn is on disk.
    pub(super) fn is_lost(&mut self) -> bool {
        self.dead |= self.lost_after == Some(0);
        self.lost_after = self.lost_after.and_then(|turns| turns.checked_sub(1));
        self.dead
    }

    /// A turn is on disk; everybody hears of it.
    pub(super) fn committed(
        &mut self,
        before: &Before,
        refused: bool,
        changes: Vec<Change>,
        effects: Vec<Effect>,
    ) {
        if refused && !self.unchecked {
            durability::refused(self, before, &changes);
        }
        let retried: Vec<_> = effects.iter().filter_map(retried).collect();
        for id in &retried {
            let known = self.disk.ended(*id).expect("a task that was retried had ended");
            self.retried_at.insert(*id, known.attempts.len());
            self.base.undone.push(known.status());
            self.ended.remove(id);
        }
        for change in &changes {
            let Change::Learned(lesson) = change else { continue };
            let window = self.inside().limits.affinity_window as u64;
            assert_eq!(lesson.slot as u64, lesson.number % window, "the disk keeps a window");
        }
        self.disk.apply(changes, &retried, self.now);
        for effect in &effects {
            self.remember(effect);
        }
        self.follow_gates(&effects);
        if !self.unchecked {
            invariants::check(self, before, &effects);
            durability::check(self);
        }
        for effect in effects {
            self.effects.push(effect.clone());
            self.play(effect);
        }
    }

    // --- ends and starts of the daemon ---

    /// The daemon is killed, and the next one starts at once.
    pub(super) fn crash(&mut self) {
        self.crash_for(0.0, false);
    }

    /// The daemon is killed, and the next one starts after so long by the clock on the wall, which
    /// may have been turned back; something of the processes may be left.
    pub(super) fn crash_for(&mut self, s: f64, overlap_possible: bool) {
        let passed_us = seconds(s.abs());
        let wall_us = self.now.wall_us;
        self.now.wall_us = if s < 0.0 { wall_us - passed_us } else { wall_us + passed_us };
        self.next_daemon(overlap_possible);
    }

    /// The daemon stops in order.
    pub(super) fn stop(&mut self) {
        self.drain();
        self.stop_listening();
        self.stop_process_runs();
        let processes = self.scheduler.agent_views().into_iter();
        let processes = processes.filter(|view| view.kind == AgentKind::Process);
        for view in processes.collect::<Vec<_>>() {
            self.lose(&super::world::name(view.id));
        }
    }

    /// Changes the configuration for the next daemon.
    pub(super) fn configure(&mut self, change: impl FnOnce(&mut Limits)) {
        change(&mut self.limits);
    }

    fn next_daemon(&mut self, overlap_possible: bool) {
        loop {
            self.effects.clear();
            (self.dead, self.drained, self.stood_still_us) = (false, 0, 0);
            self.now = Now { mono_us: self.now.wall_us, ..self.now };
            self.forget_the_past();
            let before = self.disk.clone();
            self.gating = Gating::start(&self.gates, &before, self.now);
            let snapshot = self.disk.load(self.now);
            let (limits, gates) = (self.limits.clone(), Gates::new(self.gates.clone()));
            let mut effects = Vec::new();
            let fx = &mut effects;
            self.scheduler =
                Scheduler::load(limits, gates, snapshot, overlap_possible, self.now, fx);
            let changes = self.scheduler.take_changes(self.now);
            if self.is_lost() {
                continue; // and the next one starts from the same
            }
            for view in self.scheduler.agent_views() {
                if view.kind == AgentKind::Process {
                    self.lost.insert(view.id, view.incarnation);
                }
            }
            let around = Before::of_disk(self, &before);
            self.committed(&around, false, changes, effects);
            if !self.unchecked {
                durability::after_start(self, &before, overlap_possible);
            }
            self.pass_until(self.now.mono_us);
            return;
        }
    }

    /// What only the old daemon, its processes and its clients knew.
    fn forget_the_past(&mut self) {
        self.dying.clear();
        self.lost.clear();
        self.underway.clear();
        self.waiting_retries.clear();
        self.idle_since.clear();
        self.base = Base {
            accepted: self.accepted.len(),
            attempts: self.disk.all().map(|task| task.attempts.len()).sum(),
            completed: self.disk.count(TaskStatus::Completed),
            failed: self.disk.count(TaskStatus::Failed),
            cancelled: self.disk.count(TaskStatus::Cancelled),
            undone: Vec::new(),
        };
    }

    /// The clock on the wall is turned.
    pub(super) fn turn_clock(&mut self, s: f64) {
        self.now.wall_us = (i128::from(self.now.wall_us) + (s * 1e6) as i128) as u64;
    }

    // --- what reads the store ---

    pub(super) fn set_target(&mut self, target: usize) {
        self.call(|s, _, _| s.set_target(target));
    }

    /// `Ok(None)`: it is tried when the run that goes on is over.
    pub(super) fn retry(&mut self, what: &str) -> Result<Option<TaskStatus>, Refusal> {
        self.effects.clear();
        self.retry_of(task(what))
    }

    pub(super) fn retry_of(&mut self, id: TaskId) -> Result<Option<TaskStatus>, Refusal> {
        match self.scheduler.status_here(id) {
            Some(TaskStatus::Failed | TaskStatus::Cancelled) => {
                self.waiting_retries.insert(id);
                return Ok(None);
            }
            Some(status) => return Err(Refusal::NotRetryable { status }),
            None => {}
        }
        let found = self.disk.task(id).map(as_read).ok_or(Refusal::TaskNotFound)?;
        self.step(|s, now, fx| s.retry(found, now, fx)).map(Some)
    }

    /// How many were put back.
    pub(super) fn retry_all(&mut self, status: TaskStatus) -> Result<u64, Refusal> {
        let at_most = self.scheduler.room().max(1);
        self.retry_found(status, at_most)
    }

    /// The same when so many were found, although meanwhile there may be less room.
    pub(super) fn retry_found(
        &mut self,
        status: TaskStatus,
        at_most: usize,
    ) -> Result<u64, Refusal> {
        let found = self.disk.all().filter(|task| task.status() == status);
        let found: Vec<_> = found.take(at_most).map(as_read).collect();
        let ran_on = self.scheduler.ran_on();
        self.call(|s, now, fx| s.retry_all(found, &ran_on, now, fx))
    }

    /// Submits under a key; `content` stands for everything that was asked for.
    pub(super) fn submit_keyed(
        &mut self,
        what: &str,
        key: &str,
        content: u8,
        change: impl FnOnce(&mut TaskSpec),
    ) -> Result<Accepted, Refusal> {
        let key = IdempotencyKey { name: Arc::from(key), content: Fingerprint([content; 32]) };
        if let Some(known) = self.scheduler.repeated(&key) {
            return known;
        }
        if let Some(known) = self.disk.task_of_key(&key.name) {
            return known.answer_to(&key, None);
        }
        self.submit_with(what, TaskType::General, |spec| {
            spec.key = Some(key);
            change(spec);
        })
    }
}

fn retried(effect: &Effect) -> Option<TaskId> {
    match effect {
        Effect::Event(Event::TaskRetried { task_id, .. }) => Some(*task_id),
        _ => None,
    }
}
