//! Backups, and the check of a store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rusqlite::Connection;

use super::sample::{agent, agent_id, changed, ended, lesson, new, payload, pending, running};
use super::{Place, bytes};
use crate::domain::{AgentKind, AgentRecord, Attempt, Change, Parent, Task, TaskState, TaskStatus};
use crate::store::{
    AgentKinds, AtStart, SqliteStore, Store, StoreError, TaskCounts, backup, check,
};

fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(&place.0).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn task(seq: u64, agent: u128) -> Change {
    let mut task = running(seq);
    task.state = TaskState::InProgress { agent: agent_id(agent) };
    new(task)
}

/// A store with a bit of everything, in use.
fn filled(place: &Place) -> SqliteStore {
    let mut store = place.open();
    let external = AgentRecord { kind: AgentKind::External { lease_us: None }, ..agent(2) };
    let agents = [agent(1), external].map(|agent| Change::Agent(Box::new(agent)));
    store.commit(agents.into()).unwrap();
    store.commit(vec![task(1, 1), task(2, 2), task(3, 3), new(pending(4))]).unwrap();
    let ends = [TaskStatus::Completed, TaskStatus::Failed, TaskStatus::Cancelled];
    store.commit((5..11).map(|seq| new(ended(seq, ends[seq as usize % 3]))).collect()).unwrap();
    store.commit(vec![Change::Learned(lesson(0, 5)), Change::Target(2)]).unwrap();
    store
}

#[test]
fn a_backup_is_a_store_of_its_own() {
    let (place, other) = (Place::new(), Place::new());
    let mut store = filled(&place);
    let done = backup(&place.file(), &other.file(), |_| ()).unwrap();
    assert_eq!((done.tasks, done.bytes), (10, bytes(&other.file())));
    assert_eq!(names(&other), ["daedalus.db"], "nothing but the copy");
    let mode = fs::metadata(other.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let report = check(&other.file()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(names(&other), ["daedalus.db"], "a check leaves nothing behind");
    let mut copy = other.open();
    assert_ne!(copy.id(), store.id(), "what belongs to one is not the other's");
    assert_eq!(copy.load().unwrap().tasks, store.load().unwrap().tasks);
    store.commit(vec![new(pending(20))]).unwrap();
    copy.commit(vec![changed(pending(4))]).unwrap();
    let connection = Connection::open(other.file()).unwrap();
    let vacuum: u32 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
    assert_eq!(vacuum, 2, "it can give pages back, too");
}

/// A daemon that was killed leaves its log, and somebody restores only the file.
#[test]
fn a_backup_beside_the_log_of_another_file_is_refused_and_both_are_left_alone() {
    let (place, other) = (Place::new(), Place::new());
    let mut store = filled(&place);
    let copy = place.0.join("copy.db");
    backup(&place.file(), &copy, |_| ()).unwrap();
    store.commit(vec![new(pending(20))]).unwrap();
    fs::copy(&copy, other.file()).unwrap();
    fs::copy(place.wal(), other.wal()).unwrap();
    let files = || [fs::read(other.file()).unwrap(), fs::read(other.wal()).unwrap()];
    let before = files();
    for said in [
        SqliteStore::open(&other.file()).unwrap_err().chain(),
        check(&other.file()).unwrap_err().chain(),
    ] {
        assert!(said.contains("daedalus.db never had a log, as a backup has none"), "{said}");
        assert!(said.contains("daedalus.db-shm away to begin with"), "{said}");
    }
    assert_eq!(files(), before);
    fs::write(other.wal(), "").unwrap();
    assert!(check(&other.file()).unwrap().sound);
    assert_eq!(other.open().load().unwrap().tasks.len(), 4);
}

#[test]
fn a_backup_replaces_nothing() {
    let (place, other) = (Place::new(), Place::new());
    let _store = filled(&place);
    fs::write(other.file(), "precious").unwrap();
    let said = backup(&place.file(), &other.file(), |_| ()).unwrap_err().chain();
    assert!(said.contains("daedalus.db is there already"), "{said}");
    assert_eq!(fs::read_to_string(other.file()).unwrap(), "precious");
    assert_eq!(names(&other), ["daedalus.db"]);
}

#[test]
fn of_two_backups_to_one_file_the_second_is_refused() {
    let (place, other) = (Place::new(), Place::new());
    let _store = filled(&place);
    let lock = other.0.join(".daedalus.db.lock");
    let held = fs::File::create(&lock).unwrap();
    held.lock().unwrap();
    let said = backup(&place.file(), &other.file(), |_| ()).unwrap_err().chain();
    assert!(said.contains("another backup to ") && said.contains("is under way"), "{said}");
    assert!(lock.exists());
    drop(held);
    backup(&place.file(), &other.file(), |_| ()).unwrap();
    assert_eq!(names(&other), ["daedalus.db"], "what was left is tidied up");
}

#[test]
fn what_keeps_a_backup_from_being_made_is_said() {
    let place = Place::new();
    let chain = |error: StoreError| error.chain();
    let said = chain(backup(&place.file(), &place.wal(), |_| ()).unwrap_err());
    assert!(said.contains("cannot open the store"), "{said}");
    assert!(said.contains("No such file"), "{said}");
    let _store = filled(&place);
    let said = chain(backup(&place.file(), "/nowhere/a.db".as_ref(), |_| ()).unwrap_err());
    assert!(said.contains("cannot write to /nowhere: No such file"), "{said}");
}

#[test]
fn a_backup_is_of_one_moment_while_the_store_is_written() {
    let (place, other) = (Place::new(), Place::new());
    let mut store = place.open();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Two tasks per commit: a copy has both or none.
            for seq in 1.. {
                let mut first = pending(seq);
                first.spec.payload = payload(10_000);
                store.commit(vec![new(first), new(pending(1 << 40 | seq))]).unwrap();
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for number in 0..5 {
            let file = other.0.join(number.to_string());
            // The first ones may come before there is anything.
            let copied = backup(&place.file(), &file, |_| ()).unwrap();
            let report = check(&file).unwrap();
            assert!(report.sound, "{:?}", report.problems);
            assert_eq!(report.tasks.unwrap().pending, copied.tasks);
            assert_eq!(copied.tasks % 2, 0, "whole commits");
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_check_counts_what_is_there_and_what_a_start_would_do() {
    let place = Place::new();
    let store = filled(&place);
    let report = check(&place.file()).unwrap();
    assert!(report.sound, "{:?}", report.problems);
    assert_eq!(report.store_id, Some(store.id()));
    let tasks = TaskCounts { pending: 1, in_progress: 3, completed: 2, failed: 2, cancelled: 2 };
    assert_eq!(report.tasks, Some(tasks));
    assert_eq!(report.agents, Some(AgentKinds { process: 1, external: 1 }));
    assert_eq!((report.target, report.version), (Some(Some(2)), report.known_version));
    // That of a process, and that of nobody.
    let requeued = vec![running(1).id, running(3).id];
    let at_start = AtStart { requeued, going_on: vec![running(2).id], cancelled: Vec::new() };
    assert_eq!(report.at_start, Some(at_start));
}

#[test]
fn a_check_says_which_children_a_start_cancels() {
    let place = Place::new();
    let mut store = filled(&place);
    let child = |seq, parent, attempt, detach| {
        let attempt = Attempt::new(attempt);
        let of = Parent { task_id: parent, attempt, depth: 1, detach, follow_up: false };
        Task { parent: Some(of), ..pending(seq) }
    };
    // Of what is cut off, of what goes on, of an attempt before, detached, and of the first.
    let (cut_off, goes_on) = (running(1).id, running(2).id);
    let children = [
        child(21, cut_off, 1, false),
        child(22, goes_on, 1, false),
        child(23, cut_off, 0, false),
        child(24, cut_off, 1, true),
    ];
    let first = Task { parent: children[0].parent, ..running(20) };
    let below = child(25, first.id, 1, false);
    let cancelled = vec![first.id, children[0].id, below.id];
    store.commit(children.into_iter().chain([first, below]).map(new).collect()).unwrap();
    let mut at_start = check(&place.file()).unwrap().at_start.unwrap();
    at_start.cancelled.sort_unstable();
    assert_eq!(at_start.cancelled, cancelled);
    assert_eq!(at_start.requeued, [running(1).id, running(3).id]);
}

#[test]
fn a_check_says_everything_that_is_wrong() {
    let place = Place::new();
    drop(filled(&place));
    let connection = Connection::open(place.file()).unwrap();
    connection
        .execute_batch(
            "UPDATE tasks SET body = 'no JSON' WHERE seq = 1;
             UPDATE tasks SET payload = NULL WHERE seq = 4;
             UPDATE tasks SET priority = 1000 WHERE seq = 2;
             UPDATE tasks SET status = 9 WHERE seq = 10;
             UPDATE agents SET body = '{}' WHERE id = x'00000000000000000000000000000001';
             INSERT INTO lessons SELECT id, 77, 1, 1, 1 FROM agents LIMIT 1;
             UPDATE lesson_log SET lessons = '[1]';
             UPDATE meta SET value = 'none' WHERE name = 'store_id'",
        )
        .unwrap();
    let report = check(&place.file()).unwrap();
    assert!(!report.sound);
    let found = |what: &str| report.problems.iter().any(|problem| problem.contains(what));
    for what in [
        "task 1 cannot be read: expected",
        "task 4 cannot be read: it has no payload",
        "task 2 cannot be read: its priority is out of range",
        "1 tasks cannot be: there is no status 9",
        "agent 00000000-0000-0000-0000-000000000001 cannot be read",
        "lesson of agent 00000000-0000-0000-0000-000000000001 cannot be read",
        "lessons 1 cannot be read: invalid type",
        "its id is no UUID",
    ] {
        assert!(found(what), "{what}: {:?}", report.problems);
    }
}

#[test]
fn a_check_finds_broken_pages() {
    let place = Place::new();
    let mut store = place.open();
    for batch in 0..50_u64 {
        let ended = |n| new(ended(batch * 100 + n, TaskStatus::Completed));
        store.commit((1..=100).map(ended).collect()).unwrap();
    }
    drop(store);
    let mut file = fs::read(place.file()).unwrap();
    let middle = file.len() / 2 / 4_096 * 4_096;
    file[middle..middle + 4_096].fill(0x5A);
    fs::write(place.file(), file).unwrap();
    let report = check(&place.file()).unwrap();
    assert!(!report.sound, "{report:?}");
    assert!(!report.problems.is_empty());
}

#[test]
fn a_check_goes_on_after_what_it_cannot_read() {
    let place = Place::new();
    drop(filled(&place));
    let whole = fs::read(place.file()).unwrap();
    let root = |name: &str| -> usize {
        let query = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let connection = Connection::open(place.file()).unwrap();
        connection.query_row(query, [name], |row| row.get(0)).unwrap()
    };
    for name in ["agents", "tasks", "meta", "lessons"] {
        let begin = (root(name) - 1) * 4_096;
        let mut file = whole.clone();
        file[begin..begin + 4_096].fill(0x5A);
        fs::write(place.file(), file).unwrap();
        let report = check(&place.file()).unwrap();
        assert!(!report.sound && report.damaged, "{name}: {report:?}");
        assert_eq!(report.agents.is_some(), name != "agents", "{name}: {report:?}");
        assert_eq!(report.tasks.is_some(), name != "tasks", "{name}: {report:?}");
        assert_eq!(report.store_id.is_some(), name != "meta", "{name}: {report:?}");
        assert_eq!(report.target, (name != "meta").then_some(Some(2)), "{name}: {report:?}");
        let known = name != "agents" && name != "tasks";
        assert_eq!(report.at_start.is_some(), known, "{name}: {report:?}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["agents"].is_null(), name == "agents", "{name}: {json}");
        fs::write(place.file(), &whole).unwrap();
    }
}

#[test]
fn what_is_no_store_is_not_checked() {
    let place = Place::new();
    fs::write(place.file(), "text").unwrap();
    let said = check(&place.file()).unwrap_err().chain();
    assert!(said.contains("is not a daedalus store"), "{said}");
    fs::write(place.file(), "").unwrap();
    let report = check(&place.file()).unwrap();
    assert_eq!(report.problems, ["it is empty, which a store never is; a start refuses it"]);
    assert_eq!((report.tasks, report.agents, report.at_start), (None, None, None));
}
