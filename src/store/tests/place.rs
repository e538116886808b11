//! Which file a path means, and what is refused as a store before anything is read.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::Place;
use super::sample::{new, pending};
use crate::store::{SqliteStore, Store, backup, check, lock_path};

fn names(place: &Place) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(&place.0).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[test]
fn every_spelling_of_a_path_leads_to_one_file() {
    let (place, other) = (Place::new(), Place::new());
    symlink(&place.0, other.0.join("folder")).unwrap();
    let through_folder = other.0.join("folder/daedalus.db");
    // Before there is a file, and after.
    let real = SqliteStore::locate(&place.file()).unwrap();
    assert_eq!(SqliteStore::locate(&through_folder).unwrap(), real);
    place.open().commit(vec![new(pending(1))]).unwrap();
    symlink(place.file(), other.file()).unwrap();
    for spelling in [through_folder, other.file(), place.0.join("./daedalus.db")] {
        assert_eq!(SqliteStore::locate(&spelling).unwrap(), real, "{}", spelling.display());
        assert_eq!(check(&spelling).unwrap().tasks.unwrap().pending, 1);
        assert_eq!(SqliteStore::open(&spelling).unwrap().load().unwrap().tasks, [pending(1)]);
    }
    assert_eq!(lock_path(&real).file_name().unwrap(), "daedalus.db.lock");
    assert!(other.file().is_symlink(), "the link stays one");
}

#[test]
fn a_link_that_leads_nowhere_is_refused_and_left_alone() {
    let place = Place::new();
    symlink("/nowhere/real.db", place.file()).unwrap();
    for said in [
        SqliteStore::open(&place.file()).unwrap_err().chain(),
        check(&place.file()).unwrap_err().chain(),
        backup(&place.file(), &place.0.join("copy.db"), |_| ()).unwrap_err().chain(),
    ] {
        let sentence = "daedalus.db is a link to /nowhere/real.db, which is not there: mount or \
             restore it, or remove the link";
        assert!(said.contains(sentence), "{said}");
    }
    assert!(place.file().is_symlink());
    assert_eq!(names(&place), [place.file()]);
}

#[test]
fn a_file_of_several_names_is_only_read() {
    let place = Place::new();
    drop(place.open());
    fs::hard_link(place.file(), place.0.join("other.db")).unwrap();
    let said = SqliteStore::open(&place.file()).unwrap_err().chain();
    assert!(said.contains("daedalus.db has 2 names (hard links), and may be in use"), "{said}");
    assert!(check(&place.file()).unwrap().sound, "backups may share their files");
    fs::remove_file(place.0.join("other.db")).unwrap();
    place.open();
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let place = Place::new();
    let refused = |what: &str| {
        for said in [
            SqliteStore::locate(&place.file()).unwrap_err().chain(),
            SqliteStore::open(&place.file()).unwrap_err().chain(),
            check(&place.file()).unwrap_err().chain(),
        ] {
            assert!(
                said.contains(&format!("daedalus.db is {what}, and a store is a file")),
                "{said}"
            );
        }
        assert_eq!(names(&place), [place.file()], "nothing is put beside it");
    };
    fs::create_dir(place.file()).unwrap();
    refused("a directory");
    fs::remove_dir(place.file()).unwrap();
    mkfifo(&place.file(), Mode::S_IRWXU).unwrap();
    refused("a named pipe");
    fs::remove_file(place.file()).unwrap();
    let _socket = UnixListener::bind(place.file()).unwrap();
    refused("a socket");
    let said = check("/dev/null".as_ref()).unwrap_err().chain();
    assert!(said.contains("/dev/null is a device, and a store is a file"), "{said}");
}
