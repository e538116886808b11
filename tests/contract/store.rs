//! What clients see of the store: its numbers, its age, and that answers wait for it.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use daedalus::domain::{
    Change, Fingerprint, IdempotencyKey, Now, Priority, Seq, Task, TaskId, TaskSpec, TaskState,
    TaskStatus, TaskType, TraceId,
};
use daedalus::store::{SqliteStore, Store};
use rusqlite::Connection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::daemon::{Answer, Daemon, EXTERNAL, wait_until};

/// A store that was there before the daemon; its folder is removed at the end.
struct Before(PathBuf);

impl Before {
    fn with(changes: Vec<Change>) -> Self {
        let folder = std::env::temp_dir().join(format!("daedalus-before-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let before = Self(folder);
        SqliteStore::open(&before.file()).unwrap().commit(changes).unwrap();
        before
    }

    fn file(&self) -> PathBuf {
        self.0.join("daedalus.db")
    }

    fn start(&self) -> Daemon {
        Daemon::start(&format!("{EXTERNAL}[store]\npath = {:?}\n", self.file()))
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A task that was cancelled in 1970.
fn old(seq: u64) -> Task {
    let key = IdempotencyKey { name: format!("key-{seq}").into(), content: Fingerprint([7; 32]) };
    let spec = TaskSpec {
        kind: TaskType::General,
        payload: serde_json::from_str("{}").unwrap(),
        priority: Priority::default(),
        preferred: None,
        timeout_us: None,
        key: Some(key),
        trace: TraceId::parse("trace").unwrap(),
    };
    let id = TaskId::from_uuid(Uuid::now_v7());
    let mut task = Task::new(id, Seq::new(seq), spec, Now::default());
    task.state = TaskState::Ended { status: TaskStatus::Cancelled, at: Now::default() };
    task
}

fn number(store: &Value, name: &str) -> u64 {
    store[name].as_u64().unwrap_or_else(|| panic!("no number {name} in {store}"))
}

#[test]
fn the_metrics_say_what_the_store_takes_and_does() {
    let daemon = Daemon::start(EXTERNAL);
    for _ in 0..3 {
        daemon.submit(&json!({ "payload": {} }));
    }
    let store = daemon.metrics()["store"].clone();
    assert_eq!((number(&store, "turns"), number(&store, "commits")), (3, 3), "{store}");
    assert!(number(&store, "file_bytes") > 0 && number(&store, "free_bytes") > 0, "{store}");
    assert_eq!(number(&store, "expired"), 0);
    // It is emptied when nobody comes for a while.
    wait_until("the log is measured", || {
        daemon.submit(&json!({ "payload": {} }));
        (number(&daemon.metrics()["store"], "wal_bytes") > 0).then_some(())
    });

    let daemon = Daemon::start(&format!("{EXTERNAL}[store]\npath = \":memory:\"\n"));
    daemon.submit(&json!({ "payload": {} }));
    for (name, value) in daemon.metrics()["store"].as_object().unwrap() {
        assert_eq!(*value, 0, "without a file: {name}");
    }
}

#[test]
fn a_task_older_than_the_retention_is_unknown_its_key_is_free_and_the_newest_one_stays() {
    let tasks: Vec<_> = (1..=3).map(old).collect();
    let new = |task: &Task| Change::Task { task: Box::new(task.clone()), new: true };
    let before = Before::with(tasks.iter().map(new).collect());
    let daemon = before.start();
    wait_until("they are forgotten", || {
        (number(&daemon.metrics()["store"], "expired") == 2).then_some(())
    });
    let path = |task: &Task| format!("/tasks/{}", task.id);
    for task in &tasks[..2] {
        daemon.get(&path(task)).refused(404, "task_not_found");
    }
    assert_eq!(daemon.get(&path(&tasks[2])).ok()["status"], "cancelled");
    let again = daemon.submit(&json!({ "payload": {}, "idempotency_key": "key-1" }));
    assert_ne!(again, tasks[0].id.to_string());
    let other = json!({ "payload": {}, "idempotency_key": "key-3" });
    daemon.post("/tasks", &other).refused(409, "idempotency_conflict");
}

/// Whether nothing comes for a while.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let came = stream.read(&mut [0]);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    came.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[test]
fn what_comes_while_the_disk_is_slow_is_answered_when_it_is_done_reads_too() {
    let before = Before::with(Vec::new());
    let daemon = before.start();
    let disk = Connection::open(before.file()).unwrap();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let call = |what: &str, body: &str| {
        let head = "HTTP/1.1\r\nhost: d\r\nconnection: close\r\ncontent-type: application/json";
        daemon.raw(&format!("{what} {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    };
    let mut first = call("POST /tasks", "{\"payload\":{}}");
    assert!(is_silent(&mut first), "the disk does not know it");
    let mut others: Vec<_> = (0..3).map(|_| call("POST /tasks", "{\"payload\":{}}")).collect();
    let mut read = call("GET /tasks?status=pending", "");
    assert!(is_silent(&mut read), "nobody learns what the disk does not know");
    disk.execute_batch("ROLLBACK").unwrap();
    for stream in others.drain(..).chain([first]) {
        assert_eq!(Answer::last_on(stream).0, 200);
    }
    let (status, list) = Answer::last_on(read);
    assert_eq!(status, 200);
    assert!(list["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty()), "{list}");
    assert_eq!(number(&daemon.metrics()["store"], "turns"), 4);
}
