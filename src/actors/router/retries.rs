//! Trying again what has ended badly. What has ended is the store's, so it is fetched first; one
//! retry at a time, because what another one has put back must not be put back twice.

use std::collections::{BTreeSet, HashMap, VecDeque};

use actix::{Addr, AsyncContext, Context, Handler};

use super::Router;
use crate::actors::handle::{CallError, Retried};
use crate::actors::messages::{EndedFetched, FetchEnded, RetryAll, RetryTask, Wanted};
use crate::domain::{Refusal, Task, TaskId, TaskStatus, TaskTypes};

/// The retries that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Retries {
    waiting: VecDeque<Retry>,
    /// What is being fetched for.
    under_way: Option<Retry>,
    /// Those whose task has ended while its run has not.
    for_run: HashMap<TaskId, Vec<RetryTask>>,
    /// Whether types that have no room are left out of what is fetched.
    picked: bool,
    /// What had ended and ran on when the fetch began.
    ran_on: BTreeSet<TaskId>,
    /// This Router, once somebody retries.
    router: Option<Addr<Router>>,
}

#[derive(Debug)]
enum Retry {
    One(RetryTask),
    All(RetryAll),
}

impl Retry {
    /// Whether its caller has gone.
    fn is_unheard(&self) -> bool {
        match self {
            Self::One(message) => message.answer.is_closed(),
            Self::All(message) => message.answer.is_closed(),
        }
    }
}

impl Router {
    fn retry(&mut self, retry: Retry, ctx: &Context<Self>) {
        self.retries.router.get_or_insert_with(|| ctx.address());
        self.retries.waiting.push_back(retry);
        self.next_retry();
    }

    /// The run of a cancelled task is over: it can be tried again.
    pub(super) fn task_left(&mut self, id: TaskId) {
        if let Some(retries) = self.retries.for_run.remove(&id) {
            self.retries.waiting.extend(retries.into_iter().map(Retry::One));
            self.next_retry();
        }
    }

    fn next_retry(&mut self) {
        while self.retries.under_way.is_none() {
            match self.retries.waiting.pop_front() {
                None => return,
                // It was told that no answer came, and may have done something else since.
                Some(retry) if retry.is_unheard() => {}
                Some(Retry::One(message)) => self.begin_one(message),
                Some(Retry::All(message)) => self.begin_all(message, true),
            }
        }
    }

    /// Fetches the oldest; of the types that have room when they are `picked`, so that those of a
    /// full gate are not in the way of others.
    fn begin_all(&mut self, message: RetryAll, picked: bool) {
        let RetryAll { status, kind, .. } = message;
        self.retries.ran_on = self.scheduler.ran_on();
        let at_most = self.scheduler.retry_at_most().max(1); // to know if there is one
        let of = kind.map_or(TaskTypes::ALL, |kind| TaskTypes::from_iter([kind]));
        let with_room = self.scheduler.types_with_room(of, self.clock.now());
        let from = if picked { with_room } else { of };
        self.retries.picked = from != of;
        self.fetch(Retry::All(message), Wanted::Oldest { status, of, from, at_most });
    }

    fn begin_one(&mut self, message: RetryTask) {
        match self.scheduler.status_here(message.id) {
            Some(TaskStatus::Failed | TaskStatus::Cancelled) => {
                self.retries.for_run.entry(message.id).or_default().push(message);
            }
            Some(status) => {
                self.tell::<TaskStatus, _>(message.answer, Err(Refusal::NotRetryable { status }));
            }
            None => {
                let wanted = Wanted::Task(message.id);
                self.fetch(Retry::One(message), wanted);
            }
        }
    }

    fn fetch(&mut self, retry: Retry, wanted: Wanted) {
        self.retries.under_way = Some(retry);
        let Some(router) = self.retries.router.clone() else { return };
        let history = self.history.clone();
        self.send(move || {
            history.do_send(FetchEnded { wanted, router: router.recipient() });
        });
    }

    fn retry_one(
        &mut self,
        found: Option<Task>,
        ctx: &mut Context<Self>,
    ) -> Result<TaskStatus, Refusal> {
        let task = found.ok_or(Refusal::TaskNotFound)?;
        self.look_at_the_disk();
        self.turn(ctx, |scheduler, now, effects| scheduler.retry(task, now, effects))
    }

    fn retry_all(
        &mut self,
        tasks: Vec<Task>,
        total: u64,
        ctx: &mut Context<Self>,
    ) -> Result<Retried, Refusal> {
        self.look_at_the_disk();
        let ran_on = std::mem::take(&mut self.retries.ran_on);
        let retried = self.turn(ctx, |scheduler, now, effects| {
            scheduler.retry_all(tasks, &ran_on, now, effects)
        })?;
        Ok(Retried { retried, remaining: total - retried })
    }
}

impl Handler<RetryTask> for Router {
    type Result = ();

    fn handle(&mut self, message: RetryTask, ctx: &mut Context<Self>) {
        self.retry(Retry::One(message), ctx);
    }
}

impl Handler<RetryAll> for Router {
    type Result = ();

    fn handle(&mut self, message: RetryAll, ctx: &mut Context<Self>) {
        self.retry(Retry::All(message), ctx);
    }
}

impl Handler<EndedFetched> for Router {
    type Result = ();

    fn handle(&mut self, EndedFetched { found }: EndedFetched, ctx: &mut Context<Self>) {
        match (self.retries.under_way.take(), found) {
            (Some(Retry::One(RetryTask { answer, .. })), Ok((tasks, _))) => {
                let retried = self.retry_one(tasks.into_iter().next(), ctx);
                self.tell(answer, retried);
            }
            // None has room: which refusal that is, the others say.
            (Some(Retry::All(message)), Ok((tasks, 1..)))
                if tasks.is_empty() && self.retries.picked =>
            {
                self.begin_all(message, false);
            }
            (Some(Retry::All(RetryAll { answer, .. })), Ok((tasks, total))) => {
                let retried = self.retry_all(tasks, total, ctx);
                self.tell(answer, retried);
            }
            (Some(Retry::One(RetryTask { answer, .. })), Err(error)) => {
                self.tell::<_, CallError>(answer, Err(error.into()));
            }
            (Some(Retry::All(RetryAll { answer, .. })), Err(error)) => {
                self.tell::<_, CallError>(answer, Err(error.into()));
            }
            (None, _) => {}
        }
        self.next_retry();
    }
}
