//! Callers whose answer comes later than the turn that took their request.

use std::collections::HashMap;

use tokio::sync::oneshot;

use crate::domain::{AgentId, PoolClosed, TaskId};

/// Who waits for what. A caller that stopped waiting is dropped when the next one comes, or when
/// the thing happens.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    task_ends: HashMap<TaskId, Vec<oneshot::Sender<()>>>,
    failed_over: HashMap<AgentId, Vec<oneshot::Sender<Option<TaskId>>>>,
    removed: HashMap<AgentId, Vec<oneshot::Sender<()>>>,
    settled: Vec<(Vec<AgentId>, oneshot::Sender<()>)>,
    pool_closed: Vec<oneshot::Sender<PoolClosed>>,
    drained: Vec<oneshot::Sender<()>>,
    stopped: Vec<oneshot::Sender<()>>,
    polls: HashMap<AgentId, Vec<oneshot::Sender<()>>>,
}

/// An answer that nobody waits for any more is no error.
fn answer<T>(waiter: oneshot::Sender<T>, value: T) {
    let _unheard = waiter.send(value);
}

fn join<K: std::hash::Hash + Eq, T>(
    waiters: &mut HashMap<K, Vec<oneshot::Sender<T>>>,
    key: K,
    waiter: oneshot::Sender<T>,
) {
    let here = waiters.entry(key).or_default();
    here.retain(|waiter| !waiter.is_closed());
    here.push(waiter);
}

impl Waiters {
    pub(super) fn await_task_end(&mut self, id: TaskId, waiter: oneshot::Sender<()>) {
        join(&mut self.task_ends, id, waiter);
    }

    pub(super) fn task_ended(&mut self, id: TaskId) {
        if self.task_ends.is_empty() {
            return; // the common case costs no hash
        }
        for waiter in self.task_ends.remove(&id).into_iter().flatten() {
            answer(waiter, ());
        }
    }

    pub(super) fn await_failed_over(
        &mut self,
        id: AgentId,
        waiter: oneshot::Sender<Option<TaskId>>,
    ) {
        join(&mut self.failed_over, id, waiter);
    }

    pub(super) fn failed_over(&mut self, id: AgentId, task: Option<TaskId>) {
        for waiter in self.failed_over.remove(&id).into_iter().flatten() {
            answer(waiter, task);
        }
    }

    pub(super) fn await_removed(&mut self, id: AgentId, waiter: oneshot::Sender<()>) {
        join(&mut self.removed, id, waiter);
    }

    pub(super) fn removed(&mut self, id: AgentId) {
        for waiter in self.removed.remove(&id).into_iter().flatten() {
            answer(waiter, ());
        }
    }

    /// `ids` are those that are not settled yet.
    pub(super) fn await_settled(&mut self, ids: Vec<AgentId>, waiter: oneshot::Sender<()>) {
        if ids.is_empty() {
            answer(waiter, ());
            return;
        }
        self.settled.retain(|(_, waiter)| !waiter.is_closed());
        self.settled.push((ids, waiter));
    }

    pub(super) fn settled(&mut self, id: AgentId) {
        for (ids, _) in &mut self.settled {
            ids.retain(|&waited_for| waited_for != id);
        }
        for (_, waiter) in self.settled.extract_if(.., |(ids, _)| ids.is_empty()) {
            answer(waiter, ());
        }
    }

    pub(super) fn await_pool_closed(&mut self, waiter: oneshot::Sender<PoolClosed>) {
        self.pool_closed.push(waiter);
    }

    pub(super) fn pool_closed(&mut self, closed: PoolClosed) {
        for waiter in self.pool_closed.drain(..) {
            answer(waiter, closed);
        }
    }

    pub(super) fn await_drained(&mut self, waiter: oneshot::Sender<()>) {
        self.drained.push(waiter);
    }

    pub(super) fn drained(&mut self) {
        for waiter in self.drained.drain(..) {
            answer(waiter, ());
        }
    }

    pub(super) fn await_stopped(&mut self, waiter: oneshot::Sender<()>) {
        self.stopped.push(waiter);
    }

    pub(super) fn stopped(&mut self) {
        for waiter in self.stopped.drain(..) {
            answer(waiter, ());
        }
    }

    /// A call of an external agent waits for work; the answer tells it to ask again.
    pub(super) fn open_poll(&mut self, id: AgentId) -> oneshot::Receiver<()> {
        let (waiter, woken) = oneshot::channel();
        join(&mut self.polls, id, waiter);
        woken
    }

    /// Lets everybody go who waits for a task to end or for work.
    pub(super) fn end_waits(&mut self) {
        self.task_ends.clear();
        self.polls.clear();
    }

    pub(super) fn wake_polls(&mut self, id: AgentId) {
        if self.polls.is_empty() {
            return; // the common case costs no hash
        }
        for waiter in self.polls.remove(&id).into_iter().flatten() {
            answer(waiter, ());
        }
    }
}
