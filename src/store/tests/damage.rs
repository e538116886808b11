//! A file that is none of ours, or is broken, and every sentence about it.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};

use rusqlite::{Connection, Row};

use super::sample::{ended, new, payload, pending, running};
use super::{Place, bytes};
use crate::domain::TaskStatus;
use crate::store::sqlite::read_ends;
use crate::store::{SqliteStore, Store};

/// What is said when the store of this place cannot be opened.
fn refusal(place: &Place) -> String {
    SqliteStore::open(&place.file()).unwrap_err().chain()
}

/// A store with some tasks, closed.
fn filled() -> Place {
    let place = Place::new();
    let mut store = place.open();
    let task = |seq| if seq % 10 == 0 { running(seq) } else { ended(seq, TaskStatus::Failed) };
    let seqs: Vec<u64> = (1..=2_000).collect();
    for some in seqs.chunks(100) {
        store.commit(some.iter().map(|&seq| new(task(seq))).collect()).unwrap();
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
    assert!(said.ends_with("empty store: file is not a database (SQLite error 26)"), "{said}");
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
        let sentence = said.contains("is damaged, parts of it are missing or make no sense: ")
            && said.contains("restore a backup")
            && said.contains("daedalus check");
        assert!(sentence, "{kept} of {length} bytes: {said}");
    }
}

/// The tables and indexes with the number of the page that each begins on.
fn roots(place: &Place) -> Vec<(String, u64)> {
    let connection = Connection::open(place.file()).unwrap();
    let mut roots = connection.prepare("SELECT name, rootpage FROM sqlite_schema").unwrap();
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    roots.query_map([], read).unwrap().map(Result::unwrap).collect()
}

fn overwrite(place: &Place, page: u64) {
    let file = fs::OpenOptions::new().write(true).open(place.file()).unwrap();
    file.write_all_at(&[0x5A; 4_096], (page - 1) * 4_096).unwrap();
}

fn says_what_to_do(said: &str) {
    let sentence = said.contains("daedalus.db is damaged, ")
        && said.contains("restore a backup (`daedalus check FILE` says whether one is sound)");
    assert!(sentence, "{said}");
}

#[test]
fn damage_anywhere_in_a_small_file_stops_the_start() {
    let place = filled();
    let whole = fs::read(place.file()).unwrap();
    let mut pages: Vec<u64> = roots(&place).into_iter().map(|(_, page)| page).collect();
    assert_eq!(pages.len(), 10);
    let last = whole.len() as u64 / 4_096;
    pages.extend([last / 3, last / 2, last]);
    for page in pages {
        overwrite(&place, page);
        let damaged = fs::read(place.file()).unwrap();
        says_what_to_do(&refusal(&place));
        assert_eq!(fs::read(place.file()).unwrap(), damaged, "page {page}: it is left alone");
        fs::write(place.file(), &whole).unwrap();
    }
    place.open();
}

#[test]
fn damage_at_the_ends_of_each_part_of_a_large_file_is_found() {
    let place = filled();
    let mut task = pending(3_000);
    task.spec.payload = payload(10_000);
    place.open().commit(vec![new(task)]).unwrap();
    let whole = fs::read(place.file()).unwrap();
    assert!(read_ends(&place.file()).is_ok());
    // The others are read whole, and before that.
    let read_whole = ["meta", "agents", "lesson_log", "lessons"];
    for (name, page) in roots(&place) {
        if read_whole.iter().all(|part| *part != name) {
            overwrite(&place, page);
            let error = read_ends(&place.file()).unwrap_err();
            assert!(error.to_string().contains("malformed"), "{name}: {error}");
            fs::write(place.file(), &whole).unwrap();
        }
    }
}

#[test]
fn damage_that_only_a_commit_meets_is_called_so() {
    let place = filled();
    let mut store = place.open();
    store.load().unwrap();
    let (_, page) =
        roots(&place).into_iter().find(|(name, _)| name == "sqlite_autoindex_tasks_1").unwrap();
    overwrite(&place, page);
    let said = store.commit(vec![new(pending(3_000))]).unwrap_err().chain();
    says_what_to_do(&said);
    assert!(said.ends_with(": database disk image is malformed (SQLite error 11)"), "{said}");
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
