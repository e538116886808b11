use rusqlite::Connection;

use super::*;

const FIRST: &str = "CREATE TABLE meta(name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT";
const SECOND: &str = "CREATE TABLE more(x); INSERT INTO more VALUES (1)";
const BROKEN: &str = "CREATE TABLE evenmore(x); INSERT INTO nowhere VALUES (1)";

#[test]
fn a_file_goes_from_any_version_to_the_newest() {
    let mut old = Connection::open_in_memory().unwrap();
    assert_eq!(owner(&old).unwrap(), Owner::Nobody);
    migrate(&mut old, 0, &[FIRST]).unwrap();
    assert_eq!(owner(&old).unwrap(), Owner::Us(1));
    let id = store_id(&old).unwrap();
    assert!(id.is_some());
    migrate(&mut old, 1, &[FIRST, SECOND]).unwrap();
    migrate(&mut old, 2, &[FIRST, SECOND]).unwrap();
    assert_eq!(owner(&old).unwrap(), Owner::Us(2));
    assert_eq!(store_id(&old).unwrap(), id, "drawn once");
    let mut fresh = Connection::open_in_memory().unwrap();
    migrate(&mut fresh, 0, &[FIRST, SECOND]).unwrap();
    assert_eq!(owner(&fresh).unwrap(), Owner::Us(2));
    for connection in [old, fresh] {
        let rows: u32 =
            connection.query_row("SELECT count(*) FROM more", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1, "each migration ran once");
    }
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, 0, &[FIRST]).unwrap();
    migrate(&mut connection, 1, &[FIRST, SECOND, BROKEN]).unwrap_err();
    assert_eq!(owner(&connection).unwrap(), Owner::Us(1));
    let tables: u32 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}
