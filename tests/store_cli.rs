//! `daedalus backup` and `daedalus check`, run as commands on a store that the library wrote.

#![expect(clippy::unwrap_used, reason = "this is test code, partly outside of any test function")]

#[path = "support/place.rs"]
mod place;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use daedalus::domain::{
    Change, Json, Now, Priority, Seq, Task, TaskId, TaskSpec, TaskType, TraceId,
};
use daedalus::store::{SqliteStore, Store};
use place::fresh_directory;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

/// A state directory with a store in it, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(fresh_directory("store-cli"))
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Runs the command for the daemon of this place.
    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daedalus"));
        let state_dir = self.0.display().to_string();
        command.args(arguments).args(["--state-dir", &state_dir]);
        command.env("DAEDALUS_STORE__PATH", "daedalus.db").current_dir(&self.0);
        command
    }

    /// The daemon of this place without agents, once it listens, and what it says.
    fn serve(&self, store: &str) -> Result<Running, String> {
        self.serve_as(store, None)
    }

    /// The same with another user.
    fn serve_as(&self, store: &str, user: Option<u32>) -> Result<Running, String> {
        let mut command = self.command(&["serve", "--bind", "127.0.0.1:0"]);
        command.env("DAEDALUS_STORE__PATH", store).env("DAEDALUS_POOL__AUTOSTART", "false");
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let running = Running(child);
        let mut said = String::new();
        for line in lines.map_while(Result::ok) {
            if line.contains("\"listening\"") {
                return Ok(running);
            }
            said += &line;
        }
        Err(said)
    }
}

/// A daemon, killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn pending(seq: u64) -> Change {
    let payload = RawValue::from_string("{\"text\": \"some\"}".to_owned()).unwrap();
    let task = Task::new(
        TaskId::from_uuid(Uuid::now_v7()),
        Seq::new(seq),
        TaskSpec {
            kind: TaskType::Research,
            payload: Json::new(payload),
            priority: Priority::default(),
            preferred: None,
            timeout_us: None,
            key: None,
            trace: TraceId::parse("trace").unwrap(),
        },
        Now::default(),
    );
    Change::Task { task: Box::new(task), new: true }
}

/// A store with three tasks, in use.
fn store(place: &Place) -> SqliteStore {
    let mut store = SqliteStore::open(&place.0.join("daedalus.db")).unwrap();
    store.commit((1..=3).map(pending).collect()).unwrap();
    store
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn damage(path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length / 2).unwrap();
}

#[test]
fn a_backup_of_a_store_in_use_is_sound() {
    let place = Place::new();
    let _store = store(&place);
    let to = place.file("copy.db");
    let made = place.run(&["backup", &to]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(text(&made.stdout).starts_with(&format!("{to}: 3 tasks, ")), "{}", text(&made.stdout));
    let again = place.run(&["backup", &to]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("is there already"), "{}", text(&again.stderr));
    for checked in [place.run(&["check", &to]), place.run(&["check"])] {
        assert!(checked.status.success(), "{}", text(&checked.stderr));
        let said = text(&checked.stdout);
        assert!(said.contains("\ntasks: 3 pending, 0 in progress, "), "{said}");
        assert!(said.ends_with("\nsound\n"), "{said}");
    }
}

#[test]
fn a_check_for_programs_is_one_object() {
    let place = Place::new();
    drop(store(&place));
    let checked = place.run(&["check", "--json"]);
    assert!(checked.status.success());
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["sound"], true);
    assert_eq!(report["tasks"]["pending"], 3);
    assert_eq!(report["at_start"]["requeued"], serde_json::json!([]));
    damage(&place.0.join("daedalus.db"));
    let checked = place.run(&["check", "--json"]);
    assert_eq!(checked.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["sound"], false);
    assert!(report["problems"][0].as_str().unwrap().contains("is damaged"), "{report}");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let place = Place::new();
    let none = place.run(&["check"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("No such file"), "{}", text(&none.stderr));
    drop(store(&place));
    damage(&place.0.join("daedalus.db"));
    for command in [&["check"][..], &["backup", "copy.db"]] {
        let said = place.run(command);
        assert_eq!(said.status.code(), Some(1));
        let said = text(&said.stderr);
        assert!(said.contains("is damaged") && said.contains("restore a backup"), "{said}");
    }
    assert!(!place.0.join("copy.db").exists());
}

#[test]
fn a_second_daemon_is_refused_however_the_store_is_called() {
    let (place, other) = (Place::new(), Place::new());
    // Before there is a store, and when there is one.
    symlink(&place.0, other.0.join("folder")).unwrap();
    let through_folder = other.0.join("folder/daedalus.db").display().to_string();
    for _ in 0..2 {
        let _first = place.serve("daedalus.db").unwrap();
        let _ = fs::remove_file(other.0.join("link.db"));
        symlink(place.file("daedalus.db"), other.0.join("link.db")).unwrap();
        for spelling in ["link.db", &through_folder] {
            let said = other.serve(spelling).err().expect("it is refused");
            let sentence = format!("another daedalus uses the store {}", place.file("daedalus.db"));
            assert!(said.contains(&sentence), "{spelling}: {said}");
        }
    }
    let _alone = other.serve("link.db").unwrap();
}

#[test]
fn what_cannot_be_a_store_is_refused_before_it_is_locked() {
    let place = Place::new();
    for (path, sentence) in [
        ("/", "store.path must be"),
        ("/etc", "/etc is a directory, and a store is a file"),
        ("/dev/null", "/dev/null is a device, and a store is a file"),
        ("none/store.db", "the folder "),
    ] {
        let said = place.serve(path).err().expect("it is refused");
        assert!(said.contains(sentence), "{path}: {said}");
        assert!(!Path::new(&format!("{path}.lock")).exists());
    }
}

/// Somebody restored it as another user, for example.
#[test]
fn a_store_that_may_only_be_read_stops_the_start() {
    let place = Place::new();
    drop(store(&place));
    let file = place.0.join("daedalus.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    // No mode keeps root from writing.
    let user = rustix::process::geteuid().is_root().then_some(65_534);
    if let Some(user) = user {
        chown(&place.0, Some(user), Some(user)).unwrap();
    }
    let said = place.serve_as("daedalus.db", user).err().expect("it is refused");
    assert!(
        said.contains("daedalus.db may only be read: let the user of the daemon own"),
        "{said}"
    );
}

/// The names in a place that begin with this.
fn names(place: &Place, begin: &str) -> Vec<String> {
    let entries = fs::read_dir(&place.0).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(begin)).collect()
}

/// Kills a backup that has begun; whether it left something unfinished, and had not just ended.
fn a_backup_is_cut_off(place: &Place) -> bool {
    let (copy, partial) = (place.0.join("copy.db"), place.0.join(".copy.db.partial"));
    let mut backup = place.command(&["backup", "copy.db"]).spawn().unwrap();
    let has_begun = || fs::metadata(&partial).is_ok_and(|file| file.len() > 0);
    while !has_begun() && backup.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    backup.kill().unwrap();
    let status = backup.wait().unwrap();
    if copy.exists() {
        fs::remove_file(&copy).unwrap();
        return false;
    }
    assert_eq!(status.signal(), Some(9), "it made nothing");
    partial.exists()
}

#[test]
fn what_a_killed_backup_left_is_taken_over() {
    let place = Place::new();
    let mut store = store(&place);
    for batch in 1..=8 {
        let text = format!("\"{}\"", "x".repeat(1 << 20));
        let large = (0..8).map(|n| {
            let mut change = pending(batch * 10 + n);
            if let Change::Task { task, .. } = &mut change {
                task.spec.payload = Json::new(RawValue::from_string(text.clone()).unwrap());
            }
            change
        });
        store.commit(large.collect()).unwrap();
    }
    let was_cut_off = (0..50).any(|_| a_backup_is_cut_off(&place));
    assert!(was_cut_off, "each backup ended before it was killed");
    let again = place.run(&["backup", "copy.db"]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert!(text(&again.stdout).starts_with("copy.db: 67 tasks, 64."), "{}", text(&again.stdout));
    assert_eq!(names(&place, ".copy.db"), Vec::<String>::new());
    assert!(place.run(&["check", "copy.db"]).status.success());
}
