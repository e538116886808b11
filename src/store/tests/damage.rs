//! A file that is none of ours, or is broken, and every sentence about it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::sample::{ended, new, pending, running};
use super::{Place, bytes};
use crate::domain::TaskStatus;
use crate::store::{SqliteStore, Store};

/// What is said when the store of this place cannot be opened.
fn refusal(place: &Place) -> String {
    SqliteStore::open(&place.file()).unwrap_err().chain()
}

/// A store with some tasks, closed.
fn filled() -> Place {
    let place = Place::new();
    let mut store = place.open();
    for seq in 1..=2_000 {
        let task = if seq % 10 == 0 { running(seq) } else { ended(seq, TaskStatus::Failed) };
        store.commit(vec![new(task)]).unwrap();
    }
    place
}

#[test]
fn a_store_is_the_same_after_it_was_closed() {
    let place = Place::new();
    let mut store = place.open();
    let id = store.id();
    store.commit(vec![new(running(1)), new(pending(2))]).unwrap();
    drop(store);
    assert_eq!(bytes(&place.wal()), 0, "a closed store is one file");
    let mut store = place.open();
    assert_eq!(store.id(), id);
    assert_eq!(store.load().unwrap().tasks, [running(1), pending(2)]);
    assert_ne!(Place::new().open().id(), id);
}

#[test]
fn only_the_owner_reads_the_files() {
    let place = Place::new();
    let mut store = place.open();
    store.commit(vec![new(pending(1))]).unwrap();
    for entry in fs::read_dir(&place.0).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn the_file_is_set_up_as_it_should_be() {
    let place = filled();
    let connection = Connection::open(place.file()).unwrap();
    let read = |name: &str| -> rusqlite::types::Value {
        connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
    };
    assert_eq!(read("journal_mode"), "wal".to_owned().into());
    assert_eq!(read("auto_vacuum"), 2.into(), "incremental");
    assert_eq!(read("user_version"), 1.into());
    assert_eq!(read("integrity_check"), "ok".to_owned().into());
}

#[test]
fn a_newer_file_is_refused_and_left_alone() {
    let place = filled();
    Connection::open(place.file()).unwrap().pragma_update(None, "user_version", 9).unwrap();
    let before = fs::read(place.file()).unwrap();
    let said = refusal(&place);
    assert!(said.contains("is of version 9, and this program knows versions up to 1"), "{said}");
    assert!(said.contains("start the newer daedalus"), "{said}");
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

#[test]
fn the_database_of_another_program_is_refused_and_left_alone() {
    let place = Place::new();
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("CREATE TABLE t(x); PRAGMA user_version = 1").unwrap();
    drop(other);
    let before = fs::read(place.file()).unwrap();
    let said = refusal(&place);
    assert!(said.contains("is not a daedalus store but the database of another"), "{said}");
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let place = Place::new();
    let text = "This is a text, and no database at all. ".repeat(100);
    fs::write(place.file(), &text).unwrap();
    let said = refusal(&place);
    assert!(said.contains("daedalus.db is not a daedalus store: restore a backup"), "{said}");
    assert!(said.contains("file is not a database"), "the cause is kept: {said}");
    assert_eq!(fs::read_to_string(place.file()).unwrap(), text);
}

#[test]
fn an_emptied_file_is_refused_and_left_alone() {
    let place = filled();
    fs::write(place.file(), "").unwrap();
    let said = refusal(&place);
    assert!(said.contains("is damaged, it is empty") && said.contains("backup"), "{said}");
    assert_eq!(bytes(&place.file()), 0);
}

#[test]
fn a_log_without_its_file_is_refused_and_left_alone() {
    let place = Place::new();
    fs::write(place.wal(), "commits of a file that somebody moved away").unwrap();
    let said = refusal(&place);
    assert!(said.contains("daedalus.db is missing") && said.contains("db-wal is there"), "{said}");
    assert!(!place.file().exists() && bytes(&place.wal()) > 0);
}

#[test]
fn a_new_store_that_was_not_finished_is_begun_again() {
    let place = Place::new();
    let new = |behind: &str| place.0.join(format!("daedalus.db.new{behind}"));
    for behind in ["", "-wal", "-shm"] {
        fs::write(new(behind), "half of something").unwrap();
    }
    assert_eq!(place.open().load().unwrap().tasks, []);
    for behind in ["", "-wal", "-shm"] {
        assert!(!new(behind).exists(), "{behind}");
    }
}

#[test]
fn a_truncated_file_is_refused() {
    let place = filled();
    let length = bytes(&place.file());
    for kept in [length - 4_096, length / 2, 4_096, 4_000, 600] {
        let file = fs::OpenOptions::new().write(true).open(place.file()).unwrap();
        file.set_len(kept).unwrap();
        let said = refusal(&place);
        let sentence = said.contains("is damaged, parts of it are missing")
            && said.contains("restore a backup")
            && said.contains("daedalus check");
        assert!(sentence, "{kept} of {length} bytes: {said}");
    }
}

#[test]
fn a_refused_file_does_not_swallow_its_log() {
    let place = filled();
    let mut store = place.open();
    store.commit(vec![new(pending(3_000))]).unwrap();
    let (file, wal) = (fs::read(place.file()).unwrap(), fs::read(place.wal()).unwrap());
    drop(store);
    fs::write(place.file(), &file[..600]).unwrap();
    fs::write(place.wal(), &wal).unwrap();
    refusal(&place);
    assert_eq!(fs::read(place.file()).unwrap(), file[..600]);
    assert_eq!(fs::read(place.wal()).unwrap(), wal);
}

#[test]
fn a_broken_row_is_named() {
    let place = filled();
    let connection = Connection::open(place.file()).unwrap();
    connection.execute("UPDATE tasks SET body = '{}' WHERE seq = 20", []).unwrap();
    let said = place.open().load().unwrap_err().chain();
    assert!(said.contains("task 20 in the store"), "{said}");
    assert!(said.contains("missing field `attempt`"), "{said}");
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let said = SqliteStore::open("/proc/daedalus.db".as_ref()).unwrap_err().chain();
    assert!(said.contains("cannot create the store /proc/daedalus.db: "), "{said}");
    let said = SqliteStore::open("/nowhere/daedalus.db".as_ref()).unwrap_err().chain();
    let sentence = "the folder /nowhere of the store /nowhere/daedalus.db does not exist: make it";
    assert!(said.contains(sentence), "{said}");
}
