//! The daemon is stopped as it should be, or stands still for a while.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::client::World;
use super::os::{let_pass, try_to_send, until};
use super::site::Site;
use super::story::{
    EXTERNAL, Story, agents_of, assert_nothing_was_repeated, nothing_else, process_config, seed,
    settle,
};
use super::work::Manner;

/// Three daemons, one after the other, each stopped while everybody works.
fn stopped_thrice(config: &str, test: &str, work_ms: u64, agents: bool) -> (Site, World) {
    let mut chance = seed(test);
    let mut site = Site::new(config);
    let world = World::new(site.line.clone());
    site.start();
    let agents = if agents { agents_of(&world, 3) } else { Vec::new() };
    let manner = Manner { work_ms, cancels: false, fails: false };
    let story = Story { world: &world, manner, agents: &agents, strike: &nothing_else };
    story.while_they_work(&mut chance, |chance| {
        for _ in 0..3 {
            some_work_is_done(&world);
            let_pass(Duration::from_millis(chance.below(300)));
            let status = site.stop();
            assert_eq!(status.code(), Some(0), "{}", site.tail());
            site.start();
        }
        some_work_is_done(&world);
    });
    settle(&mut site, &world);
    (site, world)
}

/// Waits until two tasks more are completed.
fn some_work_is_done(world: &World) {
    let completed = || {
        let (_, answer) = world.client().call("GET", "/tasks?status=completed&limit=1", None);
        answer.and_then(|(_, page)| page["tasks"][0]["completed_at"].as_f64())
    };
    let before = completed();
    until("some task is completed", || completed().filter(|now| Some(*now) > before));
}

#[test]
fn a_stop_is_no_failure() {
    // Longer than the calls that are open get when the listener closes.
    let config = process_config().replace("max_depth = 30", "max_depth = 3");
    let (_site, world) = stopped_thrice(&config, "stop", 5_000, false);
    let history = world.history();
    let mut interrupted = 0;
    for sight in &history.sights {
        assert_eq!(sight.failures, 0, "{sight:#?}");
        let outcomes = sight.facts.iter().filter(|((_, name), _)| *name == "outcome");
        for (_, outcome) in outcomes {
            assert!(outcome == "completed" || outcome == "interrupted", "{sight:#?}");
            interrupted += usize::from(outcome == "interrupted");
        }
    }
    assert!(interrupted > 0, "nothing ran when the daemon was stopped");
}

#[test]
fn a_stop_that_waits_long_enough_interrupts_nothing() {
    let config = process_config().replace("[pool]", "[pool]\ndrain_s = 30");
    let (_site, world) = stopped_thrice(&config, "drain", 300, false);
    assert_nothing_was_repeated(&world);
}

#[test]
fn a_stop_leaves_external_agents_at_their_work() {
    let (_site, world) = stopped_thrice(EXTERNAL, "external, stop", 100, true);
    assert_nothing_was_repeated(&world);
}

#[test]
fn a_daemon_that_stands_still_costs_no_healthy_agent_its_life() {
    let mut chance = seed("still");
    // An agent is silent for as long as no busy machine makes it, and the daemon for longer.
    let watchful = "[worker]\nheartbeat_s = 0.5\nheartbeat_misses_max = 20\nstuck_s = 10";
    let mut site = Site::new(&process_config().replace("[worker]", watchful));
    let world = World::new(site.line.clone());
    let pid = {
        site.start();
        site.pid()
    };
    let lives = || {
        let agents = world.client().agents().expect("an answer");
        let life = |agent: &Value| (agent["agent_id"].clone(), agent["incarnation"].clone());
        agents.iter().map(life).collect::<Vec<_>>()
    };
    agents_of(&world, 3);
    let before = lives();
    let manner = Manner { work_ms: 100, cancels: false, fails: false };
    let story = Story { world: &world, manner, agents: &[], strike: &nothing_else };
    story.while_they_work(&mut chance, |chance| {
        for _ in 0..2 {
            some_work_is_done(&world);
            let_pass(Duration::from_millis(chance.below(300)));
            try_to_send(pid, Signal::SIGSTOP);
            let_pass(Duration::from_secs(12));
            try_to_send(pid, Signal::SIGCONT);
            site.must_run();
        }
        some_work_is_done(&world);
    });
    assert_eq!(lives(), before);
    settle(&mut site, &world);
    assert_nothing_was_repeated(&world);
}

#[test]
fn a_pool_larger_than_may_be_now_is_kept_and_initialized_as_it_is() {
    let mut site = Site::new(EXTERNAL);
    let world = World::new(site.line.clone());
    site.start();
    let initialize =
        |size: usize| world.client().ok("POST", "/pool/initialize", Some(&json!({"size": size})));
    let before = initialize(3);
    assert_eq!(site.stop().code(), Some(0), "{}", site.tail());
    let config = EXTERNAL.replace("size = 3", "size = 2\nmax_size = 2");
    fs::write(site.place.join("daedalus.toml"), config).expect("it can be written");
    site.start();
    let after = initialize(2);
    assert_eq!((&after["pool_size"], &after["spawned_agents"]), (&json!(3), &json!(0)));
    assert_eq!(after["agent_ids"], before["agent_ids"]);
}
