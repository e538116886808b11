//! The files of the store are damaged, or are not the daemon's to write.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::client::World;
use super::os::{Chance, copy_folder, python, say, until};
use super::pages::Pages;
use super::site::Site;
use super::story::seed;
use super::work::{self, Manner};

/// Tasks stay in the queue.
const NO_AGENTS: &str = "[pool]\nautostart = false\n[queue]\nmax_depth = 1000\n";

const QUICK: Manner = Manner { work_ms: 1, cancels: false, fails: false };

/// A task that was acknowledged.
pub(super) struct Accepted {
    pub(super) id: String,
    pub(super) token: String,
    pub(super) payload: Value,
    /// How long the log of the store was then.
    wal: u64,
}

/// A site with some tasks, each acknowledged before the next one was asked for.
pub(super) fn site_with_tasks(count: u64, chance: &mut Chance) -> (Site, Vec<Accepted>) {
    let mut site = Site::new(NO_AGENTS);
    site.start();
    let tasks = (0..count).map(|number| accept(&site, &format!("t{number}"), chance)).collect();
    (site, tasks)
}

fn accept(site: &Site, token: &str, chance: &mut Chance) -> Accepted {
    let world = World::new(site.line.clone());
    let payload = work::payload(token, QUICK, chance);
    let id = world.client().submit(token, true, &payload).expect("it is accepted");
    let wal = wal_bytes(site);
    Accepted { id, token: token.to_owned(), payload, wal }
}

/// A site that was killed, with all of its tasks in the log: a daemon that has had nothing to do for
/// some seconds empties it.
fn killed_site_with_log(count: u64, chance: &mut Chance) -> (Site, Vec<Accepted>) {
    for _ in 0..10 {
        let (mut site, tasks) = site_with_tasks(count, chance);
        site.kill();
        let grew = tasks.is_sorted_by(|one, next| 0 < one.wal && one.wal < next.wal);
        if grew && tasks.last().is_some_and(|last| last.wal == wal_bytes(&site)) {
            return (site, tasks);
        }
    }
    panic!("the log was emptied again and again")
}

fn wal_bytes(site: &Site) -> u64 {
    fs::metadata(site.state.join("daedalus.db-wal")).map_or(0, |file| file.len())
}

/// How many of the tasks are there, each whole or not at all.
fn count(site: &Site, tasks: &[Accepted]) -> usize {
    let world = World::new(site.line.clone());
    let is_there = |task: &&Accepted| {
        let (_, answer) = world.client().call("GET", &format!("/tasks/{}", task.id), None);
        match answer {
            Some((200, body)) => {
                assert_eq!(body["payload"], task.payload);
                assert_eq!(body["status"], "pending");
                true
            }
            Some((404, _)) => false,
            other => panic!("{} was answered with {other:?}", task.id),
        }
    };
    tasks.iter().filter(is_there).count()
}

/// Another site with a copy of the state.
pub(super) fn copy_of(site: &Site) -> Site {
    let copy = Site::new(NO_AGENTS);
    copy_folder(&site.state, &copy.state);
    copy
}

#[test]
fn what_follows_the_last_commit_in_the_log_does_not_matter() {
    let mut chance = seed("garbage behind");
    let (site, tasks) = killed_site_with_log(5, &mut chance);
    let wal = fs::read(site.state.join("daedalus.db-wal")).expect("there is a log");
    let noise: Vec<u8> = (0..10_000).map(|_| chance.below(256) as u8).collect();
    let frame = wal[wal.len() - 4_120..].to_vec();
    for (what, garbage) in [
        ("noise", noise),
        ("nothing", vec![0; 10_000]),
        ("a frame again", frame),
        ("a byte", vec![7]),
    ] {
        let mut copy = copy_of(&site);
        let file = OpenOptions::new().append(true).open(copy.state.join("daedalus.db-wal"));
        file.and_then(|mut file| file.write_all(&garbage)).expect("garbage can be written");
        copy.start();
        assert_eq!(count(&copy, &tasks), tasks.len(), "{what}");
        // What is written from now on is found as well.
        let more = [accept(&copy, "more", &mut chance)];
        copy.kill();
        copy.start();
        assert_eq!(count(&copy, &tasks) + count(&copy, &more), tasks.len() + 1, "{what}");
    }
}

#[test]
fn of_a_log_that_was_cut_every_whole_commit_is_there() {
    let mut chance = seed("cut");
    let (site, tasks) = killed_site_with_log(8, &mut chance);
    let last = tasks.len() - 1;
    let cuts = [
        tasks[last].wal - 1,
        tasks[last - 1].wal + 1,
        tasks[last - 1].wal,
        tasks[2].wal + chance.below(tasks[3].wal - tasks[2].wal),
        tasks[0].wal,
    ];
    for cut in cuts {
        let mut copy = copy_of(&site);
        let file = OpenOptions::new().write(true).open(copy.state.join("daedalus.db-wal"));
        file.and_then(|file| file.set_len(cut)).expect("it can be cut");
        let whole = tasks.iter().filter(|task| task.wal <= cut).count();
        copy.start();
        assert_eq!(count(&copy, &tasks), whole, "cut at {cut}");
        let more = [accept(&copy, "more", &mut chance)];
        copy.kill();
        copy.start();
        assert_eq!(count(&copy, &tasks) + count(&copy, &more), whole + 1, "cut at {cut}");
    }
}

/// A start on a file that was damaged must fail, name the file, and leave it as it is.
fn is_refused(site: &Site, what: &str, damage: impl FnOnce(&Path)) -> String {
    let mut copy = copy_of(site);
    let file = copy.state.join("daedalus.db");
    damage(&file);
    let before = fs::read(&file).expect("it is there");
    let (status, said) = copy.start_in_vain();
    assert!(status.code().is_some_and(|code| code != 0), "{what}: {status}: {said}");
    let last = said.lines().last().unwrap_or_default();
    say(&format!("{what}: {status}: {last}"));
    assert!(last.contains(&file.display().to_string()), "{what}: which file? {said}");
    assert!(fs::read(&file).expect("it is there") == before, "{what}: the file was changed");
    said
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let mut chance = seed("damaged");
    let (mut site, tasks) = site_with_tasks(50, &mut chance);
    assert_eq!(site.stop().code(), Some(0), "{}", site.tail());
    let whole = fs::metadata(site.state.join("daedalus.db")).expect("it is there").len();
    assert_eq!(wal_bytes(&site), 0, "after a clean stop the file alone is the store");
    for length in [0, 1, 100, 4_096, whole / 2, whole - 1] {
        is_refused(&site, &format!("{length} of {whole} bytes"), |file| {
            let file = OpenOptions::new().write(true).open(file);
            file.and_then(|file| file.set_len(length)).expect("it can be cut");
        });
    }
    is_refused(&site, "another file", |file| {
        fs::write(file, "a letter to somebody else\n".repeat(500)).expect("it can be written");
    });
    is_refused(&site, "noise at its begin", |file| {
        let noise: Vec<u8> = (0..4_096).map(|_| chance.below(256) as u8).collect();
        let file = OpenOptions::new().write(true).open(file).expect("it is there");
        file.write_all_at(&noise, 0).expect("it can be written");
    });
    is_refused(&site, "noise in its middle", |file| {
        Pages::of_row(file, &tasks[25].id).damage();
    });
    site.start();
    assert_eq!(count(&site, &tasks), tasks.len());
}

/// Lets Python do something to the file as a database.
fn sqlite(file: &Path, script: &str) {
    let program = format!("import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); {script}");
    let status = Command::new(python()).args(["-c", &program]).arg(file).status();
    assert!(status.expect("there is a python").success(), "{script}");
}

#[test]
fn a_file_of_a_newer_version_or_of_somebody_else_is_refused() {
    let mut chance = seed("newer");
    let (mut site, tasks) = site_with_tasks(3, &mut chance);
    assert_eq!(site.stop().code(), Some(0), "{}", site.tail());
    let said = is_refused(&site, "a newer version", |file| {
        sqlite(file, "db.execute('PRAGMA user_version = 1000')");
    });
    assert!(said.contains("version 1000"), "{said}");
    is_refused(&site, "somebody else's", |file| {
        fs::remove_file(file).expect("it is there");
        sqlite(file, "db.execute('CREATE TABLE birds(name)'); db.commit()");
    });
    site.start();
    assert_eq!(count(&site, &tasks), tasks.len());
}

#[test]
fn a_second_daemon_on_the_same_store_is_refused() {
    let mut chance = seed("second");
    let (mut site, tasks) = site_with_tasks(3, &mut chance);
    let mut second = site.command(Stdio::piped()).spawn().expect("it starts");
    let status = until("the second daemon ends", || second.try_wait().expect("our child"));
    let said = std::io::read_to_string(second.stderr.take().expect("it has one")).expect("text");
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {said}");
    let last = said.lines().last().unwrap_or_default();
    say(&format!("{status}: {last}"));
    assert!(last.contains(&site.state.display().to_string()), "which store? {said}");
    let more = [accept(&site, "more", &mut chance)];
    assert_eq!(count(&site, &tasks) + count(&site, &more), 4);
    site.kill();
    site.start();
    assert_eq!(count(&site, &tasks) + count(&site, &more), 4);
}
