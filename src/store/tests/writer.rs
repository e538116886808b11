//! The thread that writes: what it commits together, what it forgets, and what does not end it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use slog::{Drain, Logger, Never, OwnedKVList, Record, o};
use uuid::Uuid;

use super::sample::{changed, ended, key, new, payload, pending, task_id};
use super::{Place, bytes};
use crate::domain::{Change, Snapshot, StoreMetrics, TaskStatus};
use crate::store::{
    Expired, Gauges, Handed, History, Ledger, MemoryStore, Retention, Store, StoreError, Tidied,
    Writer, WriterOptions,
};

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
const MIB: usize = 1 << 20;

/// The events that were logged.
#[derive(Clone, Debug, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Drain for Events {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _keys: &OwnedKVList) -> Result<(), Never> {
        self.0.lock().unwrap().push(record.msg().to_string());
        Ok(())
    }
}

/// A writer at work, and what it says.
struct Site {
    ledger: Ledger,
    writer: Writer,
    gauges: Arc<Gauges>,
    events: Events,
    committed: Receiver<u64>,
    failed: Receiver<String>,
    turn: u64,
}

impl Site {
    fn start(store: Box<dyn Store>, retention_us: u64, wall_us: fn() -> u64) -> Self {
        // Of what nobody measured there is enough.
        let (events, gauges) = (Events::default(), Arc::new(Gauges::new(1)));
        let ((tell, committed), (complain, failed)) = (channel(), channel());
        let (ledger, start) = Ledger::to_thread(Arc::clone(&gauges));
        let options = WriterOptions {
            store,
            retention: Retention::new(retention_us, wall_us, Arc::clone(&gauges)),
            gauges: Arc::clone(&gauges),
            wall_us,
            on_committed: Box::new(move |turn| tell.send(turn).unwrap()),
            on_failed: Box::new(move |error| complain.send(error.chain()).unwrap()),
            crash_only: Box::new(()),
            log: Logger::root(events.clone().fuse(), o!()),
        };
        let writer = start.start(options).unwrap();
        Self { ledger, writer, gauges, events, committed, failed, turn: 0 }
    }

    fn hand_over(&mut self, changes: Vec<Change>) {
        self.turn += 1;
        assert_eq!(self.ledger.commit(self.turn, changes), Handed::UnderWay);
    }

    fn committed(&self) -> u64 {
        self.committed.recv_timeout(PATIENCE).unwrap()
    }

    /// Commits this alone. The thread has looked after the store since the commit before.
    fn commit(&mut self, changes: Vec<Change>) {
        self.hand_over(changes);
        assert_eq!(self.committed(), self.turn);
    }

    /// So many commits and looks.
    fn go_on(&mut self, times: u64) {
        for _ in 0..times {
            let change = Change::Target(self.turn as usize);
            self.commit(vec![change]);
        }
    }

    fn count(&self, event: &str) -> usize {
        self.events.0.lock().unwrap().iter().filter(|said| *said == event).count()
    }
}

/// Waits for what the thread does by itself.
fn until(what: &str, condition: impl Fn() -> bool) {
    let (_never, pause) = channel::<()>();
    for _ in 0..PATIENCE.as_millis() {
        if condition() {
            return;
        }
        let passed = pause.recv_timeout(Duration::from_millis(1));
        assert_eq!(passed, Err(RecvTimeoutError::Timeout));
    }
    panic!("waited in vain: {what}");
}

/// What a store on a failing disk says, and when a commit of it may go on.
#[derive(Debug)]
struct Failing {
    store: MemoryStore,
    begun: Sender<usize>,
    go: Receiver<()>,
    tidied: Arc<AtomicU64>,
    is_damaged: bool,
    /// What is free; the disk does not say when there is none.
    free_mib: Option<u64>,
}

fn error(what: &str) -> StoreError {
    StoreError { what: what.to_owned(), cause: None }
}

impl Failing {
    fn new(is_damaged: bool) -> (Self, Receiver<usize>, Sender<()>) {
        let ((begun, begins), (goes, go)) = (channel(), channel());
        let (store, tidied) = (MemoryStore::new(), Arc::default());
        (Self { store, begun, go, tidied, is_damaged, free_mib: None }, begins, goes)
    }
}

impl Store for Failing {
    fn id(&self) -> Uuid {
        self.store.id()
    }

    fn load(&mut self) -> Result<Snapshot, StoreError> {
        self.store.load()
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let _nobody_counts = self.begun.send(changes.len());
        // Once nobody says it any more, it always may.
        let _goes_on = self.go.recv();
        self.store.commit(changes)
    }

    fn checkpoint(&mut self) -> Result<Tidied, StoreError> {
        self.tidied.fetch_add(1, Ordering::Relaxed);
        if self.is_damaged { Err(error("damage")) } else { Ok(Tidied::NotNow(error("no room"))) }
    }

    fn expire(&mut self, before_us: u64, now_us: u64) -> Result<Expired, StoreError> {
        self.store.expire(before_us, now_us)
    }

    fn metrics(&self) -> Result<StoreMetrics, StoreError> {
        let free_mib = self.free_mib.ok_or_else(|| error("the disk does not say how it is"))?;
        Ok(StoreMetrics { free_bytes: free_mib << 20, ..StoreMetrics::default() })
    }

    fn history(&self) -> Result<Box<dyn History>, StoreError> {
        self.store.history()
    }
}

/// A clock of its own, on which every look is a second after the last one.
macro_rules! a_second_later {
    () => {
        || {
            static NOW_US: AtomicU64 = AtomicU64::new(1_000_000_000);
            NOW_US.fetch_add(1_000_000, Ordering::Relaxed)
        }
    };
}

#[test]
fn what_comes_during_a_commit_is_the_next_one_and_holds_up_nobody() {
    let (store, begins, goes) = Failing::new(false);
    let mut site = Site::start(Box::new(store), u64::MAX, a_second_later!());
    site.hand_over(vec![new(pending(1))]);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(1));
    for seq in 2..=4 {
        site.hand_over(vec![new(pending(seq)), new(pending(seq + 10))]);
    }
    assert!(site.committed.try_recv().is_err(), "nothing is durable yet");
    goes.send(()).unwrap();
    assert_eq!(site.committed(), 1);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(6), "three turns in one commit");
    assert!(site.committed.try_recv().is_err());
    goes.send(()).unwrap();
    assert_eq!(site.committed(), 4);
    let metrics = site.gauges.read();
    assert_eq!((metrics.commits, metrics.turns), (2, 4));
    site.writer.finish();
}

/// In one commit there may be a thousand turns with a payload of a MiB.
#[test]
fn what_is_under_way_to_the_disk_takes_room_before_it_is_measured() {
    let (mut store, begins, goes) = Failing::new(false);
    store.free_mib = Some(2);
    let mut site = Site::start(Box::new(store), u64::MAX, a_second_later!());
    until("it is measured", || site.gauges.read().free_bytes == 2 * MIB as u64);
    let sized = |seq, bytes| {
        let mut task = pending(seq);
        task.spec.payload = payload(bytes);
        task
    };
    site.hand_over(vec![new(sized(1, MIB / 2))]);
    site.hand_over(vec![changed(sized(1, MIB)), new(pending(2))]);
    assert!(!site.gauges.is_full(), "a payload is written once");
    let mut done = ended(1, TaskStatus::Completed);
    done.result = Some(payload(MIB / 2));
    site.hand_over(vec![changed(done)]);
    assert!(site.gauges.is_full(), "a MiB is under way, and more than one would have to be left");
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(1));
    assert!(site.gauges.is_full());
    drop(goes);
    until("it is measured", || !site.gauges.is_full());
    site.writer.finish();
}

#[test]
fn what_is_not_about_a_commit_ends_nothing_and_is_tried_again() {
    let (store, _begins, goes) = Failing::new(false);
    let tidied = Arc::clone(&store.tidied);
    drop(goes);
    let mut site = Site::start(Box::new(store), u64::MAX, a_second_later!());
    until("it is tried once and again", || tidied.load(Ordering::Relaxed) >= 2);
    site.go_on(3);
    let said = site.count("store_upkeep_failed");
    assert!((1..=2).contains(&said), "at most once a minute, and said {said} times");
    assert!(site.failed.try_recv().is_err());
    site.writer.finish();
}

#[test]
fn damage_that_is_found_while_tidying_up_ends_the_daemon() {
    let (store, _begins, _goes) = Failing::new(true);
    let site = Site::start(Box::new(store), u64::MAX, a_second_later!());
    assert_eq!(site.failed.recv_timeout(PATIENCE).unwrap(), "damage");
    assert_eq!(site.count("store_failed"), 1);
}

#[test]
fn a_task_is_forgotten_with_its_key_when_its_time_is_over() {
    static NOW_US: AtomicU64 = AtomicU64::new(10_000_000);
    let place = Place::new();
    let mut store = place.open();
    let mut history = store.history().unwrap();
    let mut old = ended(1, TaskStatus::Completed);
    old.spec.key = Some(key("mine"));
    // More than one step forgets.
    let more = (2..=600).map(|seq| new(ended(seq, TaskStatus::Failed)));
    store.commit(more.chain([new(old), new(pending(601))]).collect()).unwrap();
    let retention_us = 1_000_000_000;
    let mut site = Site::start(Box::new(store), retention_us, || NOW_US.load(Ordering::Relaxed));
    site.go_on(2);
    assert_eq!(site.gauges.read().expired, 0);
    NOW_US.store(10_000_000_000, Ordering::Relaxed);
    // At 10 ms a look, because the clock stands still within each.
    until("all are forgotten", || {
        NOW_US.fetch_add(10_000, Ordering::Relaxed);
        site.gauges.read().expired == 600
    });
    assert_eq!(history.task(task_id(1)).unwrap(), None);
    assert_eq!(history.task_of_key("mine").unwrap(), None);
    let mut next = pending(602);
    next.spec.key = Some(key("mine"));
    site.commit(vec![new(next.clone())]);
    assert_eq!(history.task_of_key("mine").unwrap(), Some(next));
    site.writer.finish();
}

#[test]
fn without_a_file_tasks_are_forgotten_with_the_commits() {
    static NOW_US: AtomicU64 = AtomicU64::new(10_000_000);
    let gauges = Arc::new(Gauges::new(0));
    let store = MemoryStore::new();
    let mut history = store.history().unwrap();
    let clock = || NOW_US.load(Ordering::Relaxed);
    let retention = Retention::new(1_000_000_000, clock, Arc::clone(&gauges));
    let mut ledger = Ledger::here(Box::new(store), retention);
    let mut old = ended(1, TaskStatus::Completed);
    old.spec.key = Some(key("mine"));
    let more = (2..=300).map(|seq| new(ended(seq, TaskStatus::Failed)));
    ledger.commit(1, more.chain([new(old), new(pending(301))]).collect());
    assert_eq!(gauges.read().expired, 0);
    NOW_US.store(10_000_000_000, Ordering::Relaxed);
    ledger.commit(2, vec![Change::Target(1)]);
    assert_eq!(gauges.read().expired, 256, "a small step");
    ledger.commit(3, vec![Change::Target(2)]);
    assert_eq!(gauges.read().expired, 256, "not with every commit");
    NOW_US.fetch_add(20_000, Ordering::Relaxed);
    ledger.commit(4, vec![Change::Target(3)]);
    assert_eq!(gauges.read().expired, 300);
    assert_eq!(history.task(task_id(1)).unwrap(), None);
    assert_eq!(history.task_of_key("mine").unwrap(), None);
    assert!(history.task(task_id(301)).unwrap().is_some());
}

/// What a commit of so many tasks of a MiB is.
fn large(tasks: u64) -> Vec<Change> {
    let text = payload(MIB);
    let task = |seq| {
        let mut task = pending(seq);
        task.spec.payload = text.clone();
        new(task)
    };
    (1..=tasks).map(task).collect()
}

#[test]
fn a_reader_that_keeps_the_log_from_shrinking_is_said_and_nobody_else_is() {
    static NOW_US: AtomicU64 = AtomicU64::new(1_000_000_000);
    let now = || NOW_US.load(Ordering::Relaxed);
    let place = Place::new();
    let mut site = Site::start(Box::new(place.open()), u64::MAX, now);
    let go_on = |site: &mut Site| {
        NOW_US.fetch_add(1_000_000, Ordering::Relaxed);
        site.go_on(1);
    };
    let until_said = |site: &mut Site, times| {
        let before_us = now();
        while site.count("wal_not_shrinking") < times {
            assert!(now() - before_us < 1_000_000_000, "it is never said");
            go_on(site);
        }
        now() - before_us
    };
    site.commit(large(66));
    (0..40).for_each(|_| go_on(&mut site));
    assert_eq!(site.count("wal_not_shrinking"), 0, "it was one large commit");
    assert!(site.gauges.read().wal_bytes < MIB as u64);

    let reader = Connection::open(place.file()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM tasks LIMIT 1;").unwrap();
    site.commit(large(66));
    assert!(until_said(&mut site, 1) > 20_000_000, "it may be a short one");
    assert!(site.gauges.read().wal_bytes > 64 * MIB as u64);
    // The first may have been said some looks before it was seen here.
    assert!(until_said(&mut site, 2) >= 50_000_000, "once a minute");
    drop(reader);
    (0..3).for_each(|_| go_on(&mut site));
    until("it is emptied", || bytes(&place.wal()) < MIB as u64);
    site.writer.finish();
}
