//! Reads of the store, beside the thread that writes it: each reader is a thread of its own, so a
//! long read holds up nobody else.

use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Addr, Handler, SyncArbiter, SyncContext};
use slog::{Logger, error};
use uuid::Uuid;

use super::fatal::{Fatal, PanicGuard};
use super::messages::{
    EndedFetched, FetchEnded, FindKey, FollowUpsPlanned, KeyFound, PlanFollowUps, Planning,
    ReadPage, ReadTask, Unreadable, Wanted,
};
use crate::domain::{FollowUpRule, Task, TaskId, TaskPage};
use crate::store::{History, StoreError};

/// How many reads go on at once.
pub(super) const READERS: usize = 2;

/// Reads tasks that are no more in memory.
#[derive(Debug)]
pub(super) struct HistoryReader {
    /// There is one for each reader.
    history: Option<Box<dyn History>>,
    log: Logger,
    _crash_only: PanicGuard,
}

impl HistoryReader {
    /// One reader for each history.
    pub(super) fn start(
        histories: Vec<Box<dyn History>>,
        fatal: &Fatal,
        log: Logger,
    ) -> Addr<Self> {
        let threads = histories.len();
        let histories = Arc::new(Mutex::new(histories));
        let fatal = fatal.clone();
        SyncArbiter::start(threads, move || Self {
            history: histories.lock().unwrap_or_else(PoisonError::into_inner).pop(),
            log: log.clone(),
            _crash_only: fatal.guard("history"),
        })
    }

    fn read<T>(
        &mut self,
        read: impl FnOnce(&mut dyn History) -> Result<T, StoreError>,
    ) -> Result<T, Unreadable> {
        let Some(history) = &mut self.history else {
            return Err(Unreadable);
        };
        read(&mut **history).map_err(|error| {
            error!(self.log, "store_unreadable"; "error" => error.chain());
            Unreadable
        })
    }
}

impl Actor for HistoryReader {
    type Context = SyncContext<Self>;
}

impl Handler<ReadTask> for HistoryReader {
    type Result = Result<Option<Task>, Unreadable>;

    fn handle(&mut self, ReadTask(id): ReadTask, _ctx: &mut Self::Context) -> Self::Result {
        self.read(|history| history.task(id))
    }
}

impl Handler<ReadPage> for HistoryReader {
    type Result = Result<TaskPage, Unreadable>;

    fn handle(&mut self, ReadPage(query): ReadPage, _ctx: &mut Self::Context) -> Self::Result {
        self.read(|history| history.page(&query))
    }
}

impl Handler<FindKey> for HistoryReader {
    type Result = ();

    fn handle(&mut self, FindKey { name, router }: FindKey, _ctx: &mut Self::Context) {
        let found = self.read(|history| history.task_of_key(&name));
        router.do_send(KeyFound { name, found });
    }
}

impl Handler<FetchEnded> for HistoryReader {
    type Result = ();

    fn handle(&mut self, FetchEnded { wanted, router }: FetchEnded, _ctx: &mut Self::Context) {
        let found = self.read(|history| match wanted {
            Wanted::Task(id) => {
                let task = history.task(id)?;
                let count = u64::from(task.is_some());
                Ok((task.into_iter().collect(), count))
            }
            Wanted::Oldest { status, of, from, at_most } => {
                history.unsuccessful(status, of, from, at_most)
            }
        });
        router.do_send(EndedFetched { found });
    }
}

impl Handler<PlanFollowUps> for HistoryReader {
    type Result = ();

    fn handle(&mut self, message: PlanFollowUps, _ctx: &mut Self::Context) {
        let PlanFollowUps { number, planning, router } = message;
        let Planning { rules, of, priority, result } = planning;
        let fresh = || TaskId::from_uuid(Uuid::now_v7());
        let plan = |rule: &FollowUpRule| rule.plan(result.as_ref(), priority, fresh);
        let mut plans: Vec<_> = rules.iter().filter(|rule| rule.of == of).map(plan).collect();
        let planned = self.read(|history| {
            for planned in plans.iter_mut().flat_map(|plan| &mut plan.tasks) {
                planned.known = history.status_of_key(&planned.key.name)?;
            }
            Ok(plans)
        });
        router.do_send(FollowUpsPlanned { number, planned });
    }
}
