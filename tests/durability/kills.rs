//! The daemon is killed at any moment, again and again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::client::World;
use super::os::{Chance, kill_one_below, let_pass, try_to_send, until};
use super::site::Site;
use super::story::{
    EXTERNAL, Story, agents_of, assert_nothing_was_repeated, nothing_else, process_config, seed,
    settle,
};
use super::work::Manner;

/// How often the daemon is killed: as often as the test says, or `DAEDALUS_SOAK_KILLS` tells.
fn kills(usually: u64) -> u64 {
    let told = std::env::var("DAEDALUS_SOAK_KILLS").ok();
    told.map_or(usually, |told| told.parse().expect("DAEDALUS_SOAK_KILLS is a number"))
}

/// Lets a daemon live for a while, and kills it; one in five before it may have begun.
fn live_and_die(site: &mut Site, chance: &mut Chance) {
    if chance.one_in(5) {
        site.live(Duration::from_millis(chance.below(120)), false);
    } else {
        site.live(Duration::from_millis(chance.below(600)), true);
    }
    if chance.one_in(6) {
        // In the middle of a clean stop, or at its end.
        try_to_send(site.pid(), Signal::SIGTERM);
        let_pass(Duration::from_millis(chance.below(500)));
    }
    site.kill();
}

/// Waits until so many tasks were acknowledged that a loss would be seen; one death more follows.
fn there_is_enough_to_lose(world: &World) {
    until("there is enough to lose", || {
        let tasks = world.ids().iter().cloned().collect::<BTreeSet<_>>().len();
        (tasks > 50).then_some(())
    });
}

#[test]
fn nothing_is_lost_through_deaths_of_the_daemon() {
    let mut chance = seed("process");
    let mut site = Site::new(&process_config());
    let world = World::new(site.line.clone());
    let manner = Manner { work_ms: 30, cancels: true, fails: true };
    let story = Story { world: &world, manner, agents: &[], strike: &nothing_else };
    story.while_they_work(&mut chance, |chance| {
        (0..kills(30)).for_each(|_| live_and_die(&mut site, chance));
        site.start();
        there_is_enough_to_lose(&world);
    });
    settle(&mut site, &world);
}

#[test]
fn nothing_is_lost_when_agents_die_too() {
    let mut chance = seed("agents die");
    let mut site = Site::new(&process_config());
    let line = site.line.clone();
    let world = World::new(site.line.clone());
    let killed = AtomicU32::new(0);
    let kill_one = |chance: &mut Chance| {
        let_pass(Duration::from_millis(50 + chance.below(200)));
        let Some(pid) = line.pid() else { return };
        if kill_one_below(pid, chance, || line.pid() == Some(pid)) {
            killed.fetch_add(1, Ordering::Relaxed);
        }
    };
    let manner = Manner { work_ms: 60, cancels: true, fails: true };
    let story = Story { world: &world, manner, agents: &[], strike: &kill_one };
    story.while_they_work(&mut chance, |chance| {
        (0..kills(10)).for_each(|_| live_and_die(&mut site, chance));
        site.start();
        until("some are killed", || (killed.load(Ordering::Relaxed) > 2).then_some(()));
    });
    settle(&mut site, &world);
}

#[test]
fn nothing_is_lost_while_agents_come_and_go() {
    let mut chance = seed("come and go");
    let mut site = Site::new(&process_config());
    let world = World::new(site.line.clone());
    let add_or_remove = |chance: &mut Chance| {
        let_pass(Duration::from_millis(chance.below(150)));
        let client = world.client();
        let Some(agents) = client.agents() else { return };
        if agents.len() > 1 + chance.below(4) as usize {
            let agent = &agents[chance.below(agents.len() as u64) as usize];
            client.remove(agent["agent_id"].as_str().expect("an id"));
        } else {
            client.spawn(None);
        }
    };
    let manner = Manner { work_ms: 60, cancels: true, fails: true };
    let story = Story { world: &world, manner, agents: &[], strike: &add_or_remove };
    story.while_they_work(&mut chance, |chance| {
        (0..kills(10)).for_each(|_| live_and_die(&mut site, chance));
        site.start();
        until("agents came and went", || {
            let history = world.history();
            let went = history.removed.iter().filter(|one| one.span.end < u64::MAX).count();
            (history.spawned.len() > 1 && went > 1).then_some(())
        });
    });
    settle(&mut site, &world);
}

#[test]
fn a_first_start_that_was_cut_off_can_be_repeated() {
    let mut chance = seed("first start");
    for _ in 0..kills(20) {
        let mut site = Site::new(EXTERNAL);
        site.live(Duration::from_millis(chance.below(60)), false);
        site.kill();
        site.start();
        agents_of(&World::new(site.line.clone()), 3);
    }
}

#[test]
fn attempts_on_external_agents_outlive_the_daemon() {
    let mut chance = seed("external");
    let mut site = Site::new(EXTERNAL);
    let world = World::new(site.line.clone());
    site.start();
    let leased = json!({"kind": "external", "lease_s": 60});
    world.client().spawn(Some(&leased)).expect("there is room");
    let agents = agents_of(&world, 4);
    let manner = Manner { work_ms: 40, cancels: false, fails: false };
    let story = Story { world: &world, manner, agents: &agents, strike: &nothing_else };
    story.while_they_work(&mut chance, |chance| {
        site.kill();
        (0..kills(15)).for_each(|_| live_and_die(&mut site, chance));
        site.start();
        there_is_enough_to_lose(&world);
    });
    settle(&mut site, &world);
    assert_nothing_was_repeated(&world);
    assert_eq!(agents_of(&world, 4), agents);
}

#[test]
fn nothing_is_lost_when_external_agents_are_failed_too() {
    let mut chance = seed("external, failed");
    let mut site = Site::new(EXTERNAL);
    let world = World::new(site.line.clone());
    site.start();
    let agents = agents_of(&world, 3);
    let failed = AtomicU32::new(0);
    let fail_one = |chance: &mut Chance| {
        let_pass(Duration::from_millis(20 + chance.below(100)));
        let client = world.client();
        let agent = &agents[chance.below(3) as usize];
        let (_, answer) = client.call("POST", &format!("/agents/{agent}/fail"), None);
        let is_failed = answer.is_some_and(|(status, _)| status == 200);
        failed.fetch_add(u32::from(is_failed), Ordering::Relaxed);
        until("it is recovered", || {
            // An answer may be lost, or the agent may not have failed at all.
            let (_, answer) = client.call("POST", &format!("/agents/{agent}/recover"), None);
            answer.filter(|(status, _)| [200, 409].contains(status))
        });
    };
    let manner = Manner { work_ms: 40, cancels: true, fails: true };
    let story = Story { world: &world, manner, agents: &agents, strike: &fail_one };
    story.while_they_work(&mut chance, |chance| {
        site.kill();
        (0..kills(10)).for_each(|_| live_and_die(&mut site, chance));
        site.start();
        until("some are failed", || (failed.load(Ordering::Relaxed) > 2).then_some(()));
    });
    settle(&mut site, &world);
}
