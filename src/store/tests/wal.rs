//! The write-ahead log: what a crash leaves of it, how large it gets, and what is written to it.

use std::fs;
use std::io::Write;

use super::sample::{changed, ended, new, payload, pending, running, task_id};
use super::{Place, bytes};
use crate::domain::TaskStatus;
use crate::store::Store;

/// The files as a crash leaves them while the store is in use, in a place of their own.
fn crashed(place: &Place) -> Place {
    let copy = Place::new();
    fs::copy(place.file(), copy.file()).unwrap();
    fs::copy(place.wal(), copy.wal()).unwrap();
    copy
}

#[test]
fn a_torn_end_of_the_log_takes_no_earlier_commit_with_it() {
    let place = Place::new();
    let mut store = place.open();
    let mut ends = Vec::new();
    for seq in 1..=20 {
        store.commit(vec![new(pending(seq)), new(pending(seq + 100))]).unwrap();
        ends.push(bytes(&place.wal()));
    }
    let found = |copy: &Place| {
        let tasks = copy.open().load().unwrap().tasks;
        let numbers: Vec<u64> = tasks.iter().map(|task| task.seq.get()).collect();
        let commits = numbers.len() as u64 / 2;
        let whole: Vec<u64> = (1..=commits).chain((1..=commits).map(|seq| seq + 100)).collect();
        assert_eq!(numbers, whole, "each commit is there wholly or not at all");
        commits
    };
    assert_eq!(found(&crashed(&place)), 20);
    for (commits, pair) in (1..).zip(ends.windows(2)) {
        for cut in [pair[0], pair[0] + 1, pair[0] + 24, (pair[0] + pair[1]) / 2, pair[1] - 1] {
            let copy = crashed(&place);
            fs::OpenOptions::new().write(true).open(copy.wal()).unwrap().set_len(cut).unwrap();
            assert_eq!(found(&copy), commits, "cut at {cut}");
        }
    }
    let copy = crashed(&place);
    let mut log = fs::OpenOptions::new().append(true).open(copy.wal()).unwrap();
    log.write_all(&[0x5A; 10_000]).unwrap();
    assert_eq!(found(&copy), 20, "bytes of a write that never finished");
}

/// How much this thread has written to files.
fn written() -> u64 {
    let counted = fs::read_to_string("/proc/thread-self/io").unwrap();
    counted.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

/// The kernel may have what the disk has not: after a kill, and after a sync that failed.
#[test]
fn a_start_writes_the_log_that_it_goes_on_with_again() {
    let place = Place::new();
    let mut store = place.open();
    let mut task = pending(1);
    task.spec.payload = payload(3_000_000);
    store.commit(vec![new(task.clone()), new(pending(2))]).unwrap();
    let copy = crashed(&place);
    let log = fs::read(copy.wal()).unwrap();
    let before = written();
    let mut again = copy.open();
    let start = written() - before;
    assert!(start >= log.len() as u64, "{start} bytes for a log of {}", log.len());
    assert_eq!(fs::read(copy.wal()).unwrap(), log, "and changes nothing of it");
    assert_eq!(again.load().unwrap().tasks, [task, pending(2)]);
    drop(again);
    let before = written();
    copy.open();
    assert!(written() - before < 100_000, "nothing is to be done for a store that was closed");
}

#[test]
fn a_large_payload_is_written_once() {
    let place = Place::new();
    let mut store = place.open();
    let mut task = running(1);
    task.spec.payload = payload(1_000_000);
    store.commit(vec![new(task.clone())]).unwrap();
    let before = bytes(&place.wal());
    assert!(before > 1_000_000, "{before}");
    let mut done = ended(1, TaskStatus::Completed);
    done.spec = task.spec;
    store.commit(vec![changed(done.clone())]).unwrap();
    let grown = bytes(&place.wal()) - before;
    assert!(grown < 50_000, "{grown} bytes for a change of it");
    assert_eq!(store.history().unwrap().task(task_id(1)).unwrap(), Some(done));
}

#[test]
fn a_log_that_a_reader_let_grow_shrinks_again() {
    let place = Place::new();
    let mut store = place.open();
    store.commit(vec![new(pending(1))]).unwrap();
    let reader = rusqlite::Connection::open(place.file()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM tasks;").unwrap();
    let large = payload(1_000_000);
    for seq in 2..=60 {
        let mut task = pending(seq);
        task.spec.payload = large.clone();
        store.commit(vec![new(task)]).unwrap();
    }
    let grown = store.metrics().unwrap().wal_bytes;
    assert!(grown > 50_000_000, "{grown}");
    store.checkpoint().unwrap();
    assert_eq!(store.metrics().unwrap().wal_bytes, grown, "nobody waits for the reader");
    reader.execute_batch("COMMIT").unwrap();
    drop(reader);
    // By itself, to what is kept, as soon as there is more to write.
    store.commit(vec![new(pending(100))]).unwrap();
    store.commit(vec![new(pending(101))]).unwrap();
    let kept = store.metrics().unwrap().wal_bytes;
    assert!(kept <= 32 << 20, "{kept}");
    // And wholly when there is nothing else to do.
    store.checkpoint().unwrap();
    assert_eq!(store.metrics().unwrap().wal_bytes, 0);
    store.checkpoint().unwrap();
    store.commit(vec![new(pending(102))]).unwrap();
    assert_eq!(store.load().unwrap().tasks.len(), 63);
}

#[test]
fn the_log_keeps_its_size_under_load() {
    let place = Place::new();
    let mut store = place.open();
    let large = payload(100_000);
    for seq in 1..=500 {
        let mut task = pending(seq);
        task.spec.payload = large.clone();
        store.commit(vec![new(task)]).unwrap();
    }
    let metrics = store.metrics().unwrap();
    assert!(metrics.wal_bytes < 20_000_000, "{metrics:?}");
    assert!(metrics.file_bytes > 30_000_000, "{metrics:?}");
    assert!(metrics.free_bytes > 0);
}
