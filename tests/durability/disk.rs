//! The disk is full, or may not be written. These mount file systems, which only root can.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use daedalus::domain::{
    Change, Now, Priority, Seq, Task, TaskId, TaskSpec, TaskState, TaskStatus, TaskType, TraceId,
};
use daedalus::store::{self, Expired, SqliteStore, Store, Tidied};
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::World;
use super::os::{say, until};
use super::site::Site;

/// A mounted file system; gone at the end.
struct Mount(PathBuf);

impl Mount {
    /// `None` when this user may not, which is said.
    fn new(arguments: &[&str], place: &Path) -> Option<Self> {
        fs::create_dir_all(place).expect("a folder to mount at");
        let mounted = Command::new("mount").args(arguments).arg(place).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(place.to_owned())),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                Self::skipped(said.lines().next().unwrap_or_default())
            }
            Err(error) => Self::skipped(&error.to_string()),
        }
    }

    /// Says once, past the harness, which shows nothing of a test that passes, what was not tested.
    fn skipped(why: &str) -> Option<Self> {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            let said = format!(
                "SKIPPED: full and read-only disks (tests/durability/disk.rs): only root may mount \
                 file systems: {why}\n"
            );
            std::io::stderr().write_all(said.as_bytes()).expect("there is a stderr");
        });
        None
    }

    fn again(&self, options: &str) {
        let status = Command::new("mount").args(["-o", options]).arg(&self.0).status();
        assert!(status.expect("there is mount").success(), "{options}");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// External agents that take what they are given by hand.
fn config(min_free_mb: u64) -> String {
    format!(
        "[pool]\nsize = 1\n[queue]\nmax_depth = 100000\n[worker]\nkind = \"external\"\n\
         [store]\nmin_free_mb = {min_free_mb}\n"
    )
}

/// A file that leaves so much of the file system free, or nothing.
fn fill(mount: &Mount, leave_kib: usize) {
    let mut file = File::create(mount.0.join("filler")).expect("there is room for a name");
    let noise = [7; 1024];
    while file.write_all(&noise).is_ok() {}
    let length = file.metadata().expect("it is open").len();
    file.set_len(length.saturating_sub(leave_kib as u64 * 1024)).expect("shorter is possible");
}

fn make_room(mount: &Mount) {
    fs::remove_file(mount.0.join("filler")).expect("it is there");
}

/// Submits a task: its id, or how it was refused; `None` when the daemon is gone.
fn submit(world: &World, number: usize) -> Option<Result<String, Value>> {
    let body = json!({"payload": {"number": number, "text": "x".repeat(2_000)}});
    let (status, body) = world.client().ask("POST", "/tasks", Some(&body))?;
    Some(if status == 200 { Ok(text(&body["task_id"])) } else { Err(body) })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The id of an agent, once there is one: the pool begins after the listener.
fn first_agent(world: &World) -> Option<String> {
    let agents = world.client().ok("GET", "/agents", None);
    agents[0]["agent"]["agent_id"].as_str().map(str::to_owned)
}

/// Every task is there with its payload.
fn assert_there(world: &World, tasks: &[String]) {
    for (number, task) in tasks.iter().enumerate() {
        let shown = world.client().ok("GET", &format!("/tasks/{task}"), None);
        assert_eq!(shown["payload"]["number"], number, "{shown}");
    }
}

#[test]
fn a_disk_that_gets_full_refuses_new_tasks_and_lets_the_others_end() {
    let mut site = Site::new(&config(4));
    let Some(mount) = Mount::new(&["-t", "tmpfs", "-o", "size=16m", "none"], &site.state) else {
        return;
    };
    let world = World::new(site.line.clone());
    let client = world.client();
    site.start();
    let tasks: Vec<_> =
        (0..5).map(|number| submit(&world, number).expect("up").expect("there is room")).collect();
    let agent = until("the pool has its agent", || first_agent(&world));

    fill(&mount, 2_048);
    // Not with tasks, which would fill the rest of the disk before they are refused.
    until("it is noticed", || site.log().contains("\"msg\":\"store_full\"").then_some(()));
    let refused = submit(&world, 5).expect("up").expect_err("there is no room");
    assert_eq!((&refused["code"], &refused["status"]), (&"store_full".into(), &503.into()));
    let refused = client.call("POST", "/agents", None).1.expect("an answer");
    assert_eq!((refused.0, &refused.1["code"]), (503, &"store_full".into()));
    for task in &tasks {
        let work = client.ok("GET", &format!("/agents/{agent}/assignment?wait_s=5"), None);
        assert_eq!(work["task_id"], **task);
        client.ok("POST", &format!("/tasks/{task}/complete"), Some(&json!({"result": 1})));
        assert_eq!(client.ok("GET", &format!("/tasks/{task}"), None)["status"], "completed");
    }
    site.must_run();

    make_room(&mount);
    let next = until("it takes tasks again", || submit(&world, 5).expect("up").ok());
    site.kill();
    site.start();
    assert_there(&world, &[tasks, vec![next]].concat());
}

/// Another program may fill it to the last byte. Only a commit that fails ends the daemon.
#[test]
fn a_store_on_a_full_disk_forgets_and_tidies_up_when_there_is_room_again() {
    let site = Site::new(&config(4));
    let Some(mount) = Mount::new(&["-t", "tmpfs", "-o", "size=16m", "none"], &site.state) else {
        return;
    };
    let file = site.state.join("daedalus.db");
    let mut store = SqliteStore::open(&file).expect("there is room");
    store.commit((1..=1_000).map(ended).collect()).expect("there is room");
    fill(&mount, 0);
    let tidied = store.checkpoint().expect("no damage");
    assert!(matches!(tidied, Tidied::NotNow(_)), "{tidied:?}");
    make_room(&mount);
    assert!(matches!(store.checkpoint(), Ok(Tidied::Wholly)));
    fill(&mount, 0);
    assert_eq!(store.expire(u64::MAX, u64::MAX).expect("no error"), Expired::default());
    make_room(&mount);
    let mut forgotten = 0;
    until("the old ones are forgotten", || {
        forgotten += store.expire(u64::MAX, u64::MAX).expect("there is room").tasks;
        (forgotten == 999).then_some(())
    });
    store.commit(vec![ended(1_001)]).expect("it is as it was");
    drop(store);
    let report = store::check(&file).expect("it can be read");
    assert!(report.sound, "{:?}", report.problems);
}

/// A task that ended long ago.
fn ended(seq: u64) -> Change {
    let spec = TaskSpec {
        kind: TaskType::General,
        payload: serde_json::from_str("{}").expect("JSON"),
        priority: Priority::default(),
        preferred: None,
        timeout_us: None,
        key: None,
        trace: TraceId::from_uuid(Uuid::nil()),
    };
    let id = TaskId::from_uuid(Uuid::from_u128(seq.into()));
    let mut task = Task::new(id, Seq::new(seq), spec, Now::default());
    task.state = TaskState::Ended { status: TaskStatus::Cancelled, at: Now::default() };
    Change::Task { task: Box::new(task), new: true }
}

#[test]
fn a_disk_that_is_full_at_the_start_is_said_and_the_pool_begins_when_there_is_room() {
    let mut site = Site::new(&config(4));
    let Some(mount) = Mount::new(&["-t", "tmpfs", "-o", "size=16m", "none"], &site.state) else {
        return;
    };
    let world = World::new(site.line.clone());
    fill(&mount, 2_048);
    site.start();
    until("both are said", || {
        let log = site.log();
        let is_said = |event: &str| log.contains(&format!("\"msg\":\"{event}\""));
        (is_said("store_full") && is_said("autostart_failed")).then_some(())
    });
    let (status, ready) = world.client().ask("GET", "/readyz", None).expect("it is up");
    assert_eq!((status, &ready["code"]), (503, &"not_ready".into()), "{ready}");
    assert!(ready["detail"].as_str().is_some_and(|why| why.contains("MiB are free")), "{ready}");
    assert_eq!(first_agent(&world), None);
    make_room(&mount);
    until("the pool begins by itself", || first_agent(&world));
    until("it is ready", || {
        let (status, _) = world.client().ask("GET", "/readyz", None).expect("it is up");
        (status == 200).then_some(())
    });
}

#[test]
fn a_full_disk_ends_the_daemon_and_nothing_acknowledged_is_lost() {
    let mut site = Site::new(&config(0));
    let Some(mount) = Mount::new(&["-t", "tmpfs", "-o", "size=8m", "none"], &site.state) else {
        return;
    };
    let world = World::new(site.line.clone());
    let mut tasks = Vec::new();
    // Full at once, and full in the middle of something.
    for (room, at_least) in [(0, 0), (300, 5)] {
        site.start();
        tasks.push(submit(&world, tasks.len()).expect("up").expect("there is room"));
        fill(&mount, room);
        let before = tasks.len();
        while let Some(answer) = submit(&world, tasks.len()) {
            match answer {
                Ok(task) => tasks.push(task),
                Err(body) => assert_eq!(body["code"], "unavailable", "{body}"),
            }
            assert!(tasks.len() < 10_000, "the disk does not get full");
            if site.is_over() {
                break;
            }
        }
        assert!(tasks.len() >= before + at_least, "{} tasks found room", tasks.len() - before);
        let status = site.ended();
        let log = site.log();
        let last = log.lines().last().unwrap_or_default();
        say(&format!("{status}: {last}"));
        assert_eq!(status.code(), Some(74), "{log}");
        assert!(last.contains("daedalus.db") && last.contains("full"), "why? {last}");

        // A start on the full disk may fail, with a sentence, and does no harm.
        site.launch();
        until("it listens or has ended", || (site.is_over() || site.listens()).then_some(()));
        if site.is_over() {
            let status = site.ended();
            say(&format!(
                "on a full disk: {status}: {}",
                site.log().lines().last().unwrap_or_default()
            ));
            assert!(status.code().is_some_and(|code| code != 0), "{}", site.tail());
        } else {
            site.kill();
        }
        make_room(&mount);
        site.start();
        assert_there(&world, &tasks);
        site.kill();
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_said_and_does_no_harm() {
    for is_new in [true, false] {
        let mut site = Site::new(&config(0));
        let Some(mount) = Mount::new(&["-t", "tmpfs", "-o", "size=16m", "none"], &site.state)
        else {
            return;
        };
        let world = World::new(site.line.clone());
        let mut tasks = Vec::new();
        if !is_new {
            site.start();
            tasks.extend((0..3).map(|number| submit(&world, number).expect("up").expect("room")));
            site.kill();
        }
        mount.again("remount,ro");
        let (status, said) = site.start_in_vain();
        let last = said.lines().last().unwrap_or_default();
        say(&format!("{status}: {last}"));
        assert!(status.code().is_some_and(|code| code != 0), "{status}: {said}");
        assert!(last.contains(&site.state.display().to_string()), "which directory? {said}");
        mount.again("remount,rw");
        site.start();
        assert_there(&world, &tasks);
    }
}
