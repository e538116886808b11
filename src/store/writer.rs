//! The one thread that writes the store: it takes what has arrived, commits it at once, and says
//! how far the store is. Group commit makes it fast: while one commit is on its way to the disk,
//! the next ones gather.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use slog::{Logger, error, info, warn};

use super::gauges::Gauges;
use super::retention::Retention;
use super::{Store, StoreError, Tidied};
use crate::domain::{Change, StoreMetrics};

/// How often the thread looks how the store is.
const UPKEEP_US: u64 = 200_000;
/// After each so many looks with nothing to commit the store is tidied up: not between two commits
/// of a quiet day.
const QUIET_LOOKS: u32 = 25;
/// How often it looks once there is nothing left to do. After a commit it looks at once, so that what
/// others did to the disk meanwhile is known before a second one.
const REST_US: u64 = 5_000_000;
/// How many turns become one commit at most.
const TURNS_PER_COMMIT: usize = 1_024;
/// A write-ahead log of this size does not shrink although it should.
const WAL_TOO_LARGE_BYTES: u64 = 64 * 1024 * 1024;
/// So often in a row readers must have kept it from that: not one that reads for a moment.
const TRIES: u32 = 25;
/// How often that is said, and that the store cannot be looked after.
const WARN_EVERY_US: u64 = 60_000_000;

/// What the Router hands its changes to. Turns are counted by whoever hands over.
#[derive(Debug)]
pub struct Ledger(Way);

#[derive(Debug)]
enum Way {
    /// A store that needs no disk is written at once.
    Here(Box<dyn Store>, Retention),
    /// The thread does it.
    Thread(Sender<Order>, Arc<Gauges>),
}

/// Whether changes that were handed over are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// They are.
    Durable,
    /// They will be; `on_committed` says when.
    UnderWay,
}

#[derive(Debug)]
enum Order {
    Commit { turn: u64, changes: Vec<Change>, bytes: u64 },
    Stop,
}

impl Ledger {
    /// A ledger that writes at once, for a store whose commits cost nothing and cannot fail. With
    /// the commits it forgets.
    #[must_use]
    pub fn here(store: Box<dyn Store>, retention: Retention) -> Self {
        Self(Way::Here(store, retention))
    }

    /// A ledger that hands over to a thread, and what starts that. The gauges are told how much is
    /// under way.
    #[must_use]
    pub fn to_thread(gauges: Arc<Gauges>) -> (Self, WriterStart) {
        let (orders, received) = channel();
        (Self(Way::Thread(orders.clone(), gauges)), WriterStart { orders, received })
    }

    /// Hands the changes of one turn over.
    pub fn commit(&mut self, turn: u64, changes: Vec<Change>) -> Handed {
        match &mut self.0 {
            Way::Here(store, retention) => {
                let committed = store.commit(changes);
                if let Err(error) = committed.and_then(|()| retention.step(store.as_mut())) {
                    debug_assert!(false, "a store without a disk failed: {error}");
                }
                Handed::Durable
            }
            Way::Thread(orders, gauges) => {
                let bytes = changes.iter().map(large_bytes).sum();
                gauges.handed_over(bytes);
                // Without a thread nothing is ever acknowledged; the daemon is ending then.
                let _ending = orders.send(Order::Commit { turn, changes, bytes });
                Handed::UnderWay
            }
        }
    }
}

/// What of a change may be large, in bytes.
fn large_bytes(change: &Change) -> u64 {
    let Change::Task { task, new } = change else { return 0 };
    let result = task.result.as_ref().map_or(0, |json| json.as_str().len());
    let payload = if *new { task.spec.payload.as_str().len() } else { 0 };
    (payload + result) as u64
}

/// Starts the thread behind a [`Ledger`].
#[derive(Debug)]
pub struct WriterStart {
    orders: Sender<Order>,
    received: Receiver<Order>,
}

/// Is told why nothing will be acknowledged any more.
pub type OnFailed = Box<dyn FnOnce(&StoreError) + Send>;

/// What the thread works with.
pub struct WriterOptions {
    /// What it writes.
    pub store: Box<dyn Store>,
    /// How long it keeps what has ended.
    pub retention: Retention,
    /// Where it says how the store is.
    pub gauges: Arc<Gauges>,
    /// The time of day in microseconds.
    pub wall_us: fn() -> u64,
    /// Is told that every turn up to this one is durable.
    pub on_committed: Box<dyn FnMut(u64) + Send>,
    /// Is told why nothing will be acknowledged any more.
    pub on_failed: OnFailed,
    /// Lives as long as the thread and is dropped when that panics, too.
    pub crash_only: Box<dyn Send>,
    /// The log.
    pub log: Logger,
}

/// The thread, for whoever ends it.
#[derive(Debug)]
pub struct Writer {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

impl WriterStart {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system has no thread for it.
    pub fn start(self, options: WriterOptions) -> io::Result<Writer> {
        let Self { orders, received } = self;
        let begin = move || Thread::new(options).run(&received);
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(begin)?;
        Ok(Writer { orders, thread })
    }
}

impl Writer {
    /// Commits what was handed over before and ends the thread. Blocks.
    pub fn finish(self) {
        // It fails when the thread has ended already.
        let _ended = self.orders.send(Order::Stop);
        let _panicked = self.thread.join();
    }
}

struct Thread {
    store: Box<dyn Store>,
    retention: Retention,
    gauges: Arc<Gauges>,
    wall_us: fn() -> u64,
    on_committed: Box<dyn FnMut(u64) + Send>,
    on_failed: Option<OnFailed>,
    _crash_only: Box<dyn Send>,
    log: Logger,
    looked_at_us: u64,
    /// What was committed since.
    unmeasured_bytes: u64,
    warned_at_us: u64,
    complained_at_us: u64,
    /// What was said last.
    was_full: bool,
    /// Looks since the last commit.
    quiet_looks: u32,
    /// How often in a row readers kept the store from being tidied up.
    kept_from_it: u32,
    /// Whether it was tidied up wholly since the last commit.
    is_tidy: bool,
}

impl Thread {
    fn new(options: WriterOptions) -> Self {
        Self {
            store: options.store,
            retention: options.retention,
            gauges: options.gauges,
            wall_us: options.wall_us,
            on_committed: options.on_committed,
            on_failed: Some(options.on_failed),
            _crash_only: options.crash_only,
            log: options.log,
            looked_at_us: 0,
            unmeasured_bytes: 0,
            warned_at_us: 0,
            complained_at_us: 0,
            was_full: false,
            quiet_looks: 0,
            kept_from_it: 0,
            is_tidy: false,
        }
    }

    fn run(mut self, orders: &Receiver<Order>) {
        let worked = self.work(orders);
        if let Err(error) = worked
            && let Some(on_failed) = self.on_failed.take()
        {
            error!(self.log, "store_failed"; "error" => error.chain());
            on_failed(&error);
        }
    }

    fn work(&mut self, orders: &Receiver<Order>) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        loop {
            // A daemon at rest looks seldom: each look finds the caches cold.
            let is_at_rest = self.is_tidy && !self.retention.has_more();
            let pause_us = if is_at_rest { REST_US } else { self.retention.pause_us() };
            let pause = Duration::from_micros(pause_us);
            let mut next = match orders.recv_timeout(pause) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let (mut newest, mut turns, mut stop) = (None, 0, false);
            while let Some(order) = next {
                match order {
                    Order::Commit { turn, changes: more, bytes } => {
                        changes.extend(more);
                        self.unmeasured_bytes += bytes;
                        newest = Some(turn);
                        turns += 1;
                    }
                    Order::Stop => {
                        stop = true;
                        break;
                    }
                }
                next = if turns < TURNS_PER_COMMIT { orders.try_recv().ok() } else { None };
            }
            if let Some(turn) = newest {
                self.store.commit(std::mem::take(&mut changes))?;
                self.gauges.committed(turns as u64);
                (self.on_committed)(turn);
                self.quiet_looks = 0;
                self.is_tidy = false;
            } else {
                self.quiet_looks = self.quiet_looks.saturating_add(1);
            }
            if stop {
                // So that the file alone is the store. If not, the next start reads the log too.
                let _still_durable = self.store.checkpoint();
                return Ok(());
            }
            self.look_after()?;
        }
    }

    /// Forgets a little of what is too old and says how the store is, now and then.
    fn look_after(&mut self) -> Result<(), StoreError> {
        self.retention.step(self.store.as_mut())?;
        let now_us = (self.wall_us)();
        let due = now_us.abs_diff(self.looked_at_us) >= UPKEEP_US;
        let mut wal_bytes = 0;
        if due {
            self.looked_at_us = now_us;
            match self.store.metrics() {
                Ok(metrics) => {
                    wal_bytes = metrics.wal_bytes;
                    self.measured(&metrics);
                }
                Err(error) => self.not_now(&error, now_us),
            }
        }
        let is_too_large = wal_bytes > WAL_TOO_LARGE_BYTES;
        let is_quiet = self.quiet_looks > 0 && self.quiet_looks.is_multiple_of(QUIET_LOOKS);
        if is_quiet || is_too_large {
            self.tidy_up(is_too_large.then_some(wal_bytes), now_us)?;
        }
        Ok(())
    }

    fn measured(&mut self, metrics: &StoreMetrics) {
        self.gauges.set(metrics);
        self.gauges.arrived(std::mem::take(&mut self.unmeasured_bytes));
        let was_full = std::mem::replace(&mut self.was_full, self.gauges.is_full());
        match (was_full, self.was_full) {
            (false, true) => warn!(self.log, "store_full";
                "free_bytes" => metrics.free_bytes, "min_free_mb" => self.gauges.min_free_mb()),
            (true, false) => {
                info!(self.log, "store_has_room"; "free_bytes" => metrics.free_bytes);
            }
            (false, false) | (true, true) => {}
        }
    }

    /// A log that is too large is said only when readers were in the way again and again: one large
    /// commit makes it so for a moment, and so does a short read.
    fn tidy_up(&mut self, too_large: Option<u64>, now_us: u64) -> Result<(), StoreError> {
        let tidied = self.store.checkpoint()?;
        self.is_tidy = matches!(tidied, Tidied::Wholly);
        match tidied {
            Tidied::Wholly => self.kept_from_it = 0,
            Tidied::ReaderInTheWay => self.kept_from_it += 1,
            Tidied::NotNow(error) => self.not_now(&error, now_us),
        }
        if let Some(wal_bytes) = too_large
            && self.kept_from_it >= TRIES
            && is_due(&mut self.warned_at_us, now_us)
        {
            warn!(self.log, "wal_not_shrinking";
                "wal_bytes" => wal_bytes,
                "detail" => "a reader of the database keeps its transaction open; end it");
        }
        Ok(())
    }

    /// What is not about a commit ends nothing. It is tried again.
    fn not_now(&mut self, error: &StoreError, now_us: u64) {
        if is_due(&mut self.complained_at_us, now_us) {
            warn!(self.log, "store_upkeep_failed"; "error" => error.chain());
        }
    }
}

/// Whether something may be said again, which it is then.
fn is_due(said_at_us: &mut u64, now_us: u64) -> bool {
    let is_due = now_us.abs_diff(*said_at_us) >= WARN_EVERY_US;
    if is_due {
        *said_at_us = now_us;
    }
    is_due
}
