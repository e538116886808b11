//! Reads of the store, beside the thread that writes it: each reader is a thread of its own, so a
//! long read holds up nobody else.

use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Addr, Handler, SyncArbiter, SyncContext};

use super::messages::{
    EndedFetched, FetchEnded, FindKey, KeyFound, ReadPage, ReadTask, Unreadable, Wanted,
};
use crate::domain::{Task, TaskPage};
use crate::store::{History, StoreError};

/// How many reads go on at once.
pub(super) const READERS: usize = 2;

/// Reads tasks that are no more in memory.
#[derive(Debug)]
pub(super) struct HistoryReader {
    /// `None` only when a reader is started again after a panic.
    history: Option<Box<dyn History>>,
}

impl HistoryReader {
    /// One reader for each history.
    pub(super) fn start(histories: Vec<Box<dyn History>>) -> Addr<Self> {
        let threads = histories.len();
        let histories = Arc::new(Mutex::new(histories));
        SyncArbiter::start(threads, move || Self {
            history: histories.lock().unwrap_or_else(PoisonError::into_inner).pop(),
        })
    }

    fn read<T>(
        &mut self,
        read: impl FnOnce(&mut dyn History) -> Result<T, StoreError>,
    ) -> Result<T, Unreadable> {
        let Some(history) = &mut self.history else {
            return Err(Unreadable("its reader was lost".to_owned()));
        };
        read(&mut **history).map_err(|error| Unreadable(error.chain()))
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
            Wanted::Oldest { status, kind, at_most } => history.unsuccessful(status, kind, at_most),
        });
        router.do_send(EndedFetched { found });
    }
}
