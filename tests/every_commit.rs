//! A store that stops at the n-th commit, for every n of a scripted run, before that commit or
//! right after it: the next start knows everything that anybody was told, and goes on to the end.
//!
//! It runs within this process, because only a test can make a store stop: the daemon has no back
//! door for that. One agent is a process, the others are external.

#[path = "every_commit/discovery.rs"]
mod discovery;
#[path = "support/place.rs"]
mod place;
#[path = "every_commit/pool.rs"]
mod pool;
#[path = "every_commit/script.rs"]
mod script;
#[path = "every_commit/store.rs"]
mod store;
#[path = "every_commit/told.rs"]
mod told;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use daedalus::actors::messages::SpawnAgent;
use daedalus::domain::{AgentKind, TaskTypes};
use place::fresh_directory;
use pool::Pool;
use script::play;
use store::{Fails, StopAt};
use told::Told;

/// More commits than the script makes.
const FAR_TOO_MANY: u64 = 1_000;

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(fresh_directory("commits"))
    }

    fn store(&self) -> PathBuf {
        self.0.join("daedalus.db")
    }

    fn agents(&self) -> PathBuf {
        self.0.join("agents")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _left_for_the_system = std::fs::remove_dir_all(&self.0);
    }
}

/// Plays the script on a store that stops, then starts again on what is left. Whether the script
/// was stopped at all.
fn stop_and_start_again(stop_at: u64, fails: Fails) -> bool {
    let place = Place::new();
    let mut told = Told::default();
    let stopped = actix::System::new().block_on(async {
        let store = StopAt::open(&place.store(), stop_at, fails);
        let pool = Pool::start(Box::new(store), &place.agents());
        let stopped = pool.until_lost(play(&pool, &mut told)).await.is_none();
        pool.end(stopped).await;
        stopped
    });
    let what = format!("{told:?} with a stop at commit {stop_at} ({fails:?})");
    actix::System::new().block_on(async {
        let store = StopAt::open(&place.store(), FAR_TOO_MANY, fails);
        let pool = Pool::start(Box::new(store), &place.agents());
        told.is_still_true(&pool, &what).await;
        script::go_on_to_the_end(&pool, &mut told, &what).await;
        pool.end(false).await;
    });
    stopped
}

fn for_every_commit(fails: Fails) {
    let stops = (1..FAR_TOO_MANY).take_while(|&stop_at| stop_and_start_again(stop_at, fails));
    let commits = stops.count();

    assert!(commits >= 20, "the script made {commits} commits only");
}

#[test]
fn what_was_told_is_known_after_a_stop_before_any_commit() {
    for_every_commit(Fails::Before);
}

#[test]
fn what_was_told_is_known_after_a_stop_right_after_any_commit() {
    for_every_commit(Fails::After);
}

/// Discovers on a store that stops, then starts again on what is left.
fn stop_a_discovery(stop_at: u64, fails: Fails) -> bool {
    let place = Place::new();
    let stopped = actix::System::new().block_on(async {
        let store = StopAt::open(&place.store(), stop_at, fails);
        let pool = Pool::start(Box::new(store), &place.agents());
        let stopped = pool.until_lost(discovery::play(&pool)).await.is_none();
        pool.end(stopped).await;
        stopped
    });
    let what = format!("a stop at commit {stop_at} ({fails:?})");
    actix::System::new().block_on(async {
        let store = StopAt::open(&place.store(), FAR_TOO_MANY, fails);
        let pool = Pool::start(Box::new(store), &place.agents());
        discovery::is_whole(&pool, &what).await;
        discovery::play(&pool).await;
        discovery::is_done(&pool, &what).await;
        pool.end(false).await;
    });
    stopped
}

#[test]
fn a_discovery_is_completed_with_its_follow_ups_or_not_at_all() {
    for fails in [Fails::Before, Fails::After] {
        let stops = (1..FAR_TOO_MANY).take_while(|&stop_at| stop_a_discovery(stop_at, fails));
        let commits = stops.count();
        assert!(commits >= 5, "it made {commits} commits only");
    }
}

/// Else the next daemon would give the same incarnation to another process.
#[test]
fn no_process_is_started_for_a_life_that_is_not_on_disk() {
    let place = Place::new();
    let (launcher, started) = (place.0.join("launcher"), place.0.join("started"));
    let script = format!("#!/bin/sh\n: > '{}'\n", started.display());
    std::fs::write(&launcher, script).expect("it can be written");
    let anybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&launcher, anybody).expect("it is ours");
    for (stop_at, may_start) in [(1, false), (FAR_TOO_MANY, true)] {
        actix::System::new().block_on(async {
            let store = StopAt::open(&place.store(), stop_at, Fails::Before);
            let pool = Pool::start_with(Box::new(store), &place.agents(), launcher.clone());
            let agent = SpawnAgent { kind: Some(AgentKind::Process), types: TaskTypes::ALL };
            let stopped = pool.until_lost(pool.handle.spawn(agent)).await.is_none();
            assert_eq!(stopped, !may_start);
            // What must not come is given the time to.
            tokio::time::sleep(Duration::from_millis(if may_start { 0 } else { 200 })).await;
            assert_eq!(started.exists(), may_start);
            pool.end(stopped).await;
        });
    }
}
