//! The daemon is killed at any moment, again and again.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::checker::violations;
use super::client::{AtTheEnd, World};
use super::os::{Chance, alive_below, let_pass, python, try_to_send, until};
use super::site::Site;
use super::work::{self, Manner};

/// Three agents with processes that write down what they run.
fn process_config() -> String {
    let worker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/durability/worker.py");
    let command =
        [python().as_str(), "-I", "-S", worker].map(|word| format!("{word:?}")).join(", ");
    format!(
        "[pool]\nsize = 3\nrestarts_max = 1000\n\
         [queue]\nmax_depth = 30\nmax_attempts = 100\nexclusion_relax_s = 0.1\n\
         [worker]\ncommand = [{command}]\nenv = {{ RUNS = \"RUNS_HERE\" }}\ncancel_grace_s = 0.5\n"
    )
}

const EXTERNAL: &str = "[pool]\nsize = 3\n[queue]\nmax_depth = 30\nmax_attempts = 100\n\
                        exclusion_relax_s = 0.1\n[worker]\nkind = \"external\"\n";

/// How often the daemon is killed: as often as the test says, or `DAEDALUS_SOAK_KILLS` tells.
fn kills(usually: u64) -> u64 {
    let told = std::env::var("DAEDALUS_SOAK_KILLS").ok();
    told.map_or(usually, |told| told.parse().expect("DAEDALUS_SOAK_KILLS is a number"))
}

/// A seed of this run for this test, which is printed: a failure can be looked at again.
fn seed(test: &str) -> Chance {
    let seed = Chance::seed();
    println!("{test}: DAEDALUS_SEED={seed}");
    Chance::new(test.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31) + u64::from(byte)))
}

/// Lets a daemon live for a while, and kills it; one in five before it may have begun.
fn live_and_die(site: &mut Site, chance: &mut Chance) {
    if chance.one_in(5) {
        site.live(Duration::from_millis(chance.below(120)), false);
    } else {
        site.live(Duration::from_millis(chance.below(600)), true);
    }
    site.kill();
}

/// What goes on while the daemon dies and is started again.
struct Story<'a> {
    world: &'a World,
    manner: Manner,
    /// External agents.
    agents: &'a [String],
    /// What else goes wrong, once.
    strike: &'a (dyn Fn(&mut Chance) + Sync),
}

impl Story<'_> {
    /// Clients submit and read, agents work, while `happen` does what it does with the daemon; it
    /// leaves one that listens.
    fn while_they_work(&self, chance: &mut Chance, happen: impl FnOnce(&mut Chance)) {
        let Self { world, manner, .. } = *self;
        std::thread::scope(|scope| {
            let _end = AtTheEnd(world);
            for number in 0..3 {
                let chance = Chance::new(chance.next());
                scope.spawn(move || work::submit(world, &format!("c{number}"), manner, chance));
            }
            for _ in 0..2 {
                let chance = Chance::new(chance.next());
                scope.spawn(move || work::read(world, chance));
            }
            for (number, agent) in (1..).zip(self.agents) {
                scope.spawn(move || work::be_agent(world, agent, number));
            }
            let mut own = Chance::new(chance.next());
            scope.spawn(move || {
                while !world.is_closing() {
                    (self.strike)(&mut own);
                }
            });
            happen(chance);
            world.close();
        });
    }
}

fn nothing_else(_: &mut Chance) {
    let_pass(Duration::from_millis(20));
}

/// The end of every story: all has ended, another death changes nothing, nothing contradicts; how
/// many tasks there were.
fn settle(site: &mut Site, world: &World) -> usize {
    work::drain(world);
    site.kill();
    site.start();
    work::read_all(world);
    let runs = work::runs_in(&site.place.join("runs"));
    let mut history = world.history();
    history.runs.extend(runs);
    let found = violations(&history);
    assert!(found.is_empty(), "{} violations: {:#?}", found.len(), &found[..found.len().min(20)]);
    let (tasks, answers) = (history.tasks().len(), history.sights.len());
    println!("{tasks} tasks, {} runs, {answers} answers about tasks", history.runs.len());
    tasks
}

/// No task has had a second attempt, nor a failure.
fn assert_nothing_was_repeated(world: &World) {
    for sight in &world.history().sights {
        assert!(sight.attempt <= 1 && sight.failures == 0, "a second attempt: {sight:#?}");
    }
}

/// The ids of the agents once there are three of them.
fn three_agents(world: &World) -> Vec<String> {
    until("three agents are there", || {
        let ids = |agents: Vec<Value>| agents.iter().map(|one| text(&one["agent_id"])).collect();
        world.client().agents().map(ids).filter(|ids: &Vec<_>| ids.len() == 3)
    })
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn nothing_is_lost_through_deaths_of_the_daemon() {
    let mut chance = seed("process");
    let mut site = Site::new(&process_config());
    let world = World::new(site.line.clone());
    let manner = Manner { work_ms: 30, cancels: true };
    let story = Story { world: &world, manner, agents: &[], strike: &nothing_else };
    story.while_they_work(&mut chance, |chance| {
        (0..kills(30)).for_each(|_| live_and_die(&mut site, chance));
        site.start();
    });
    assert!(settle(&mut site, &world) > 50, "there was too little to lose");
}

#[test]
fn nothing_is_lost_when_agents_die_too() {
    let mut chance = seed("agents die");
    let mut site = Site::new(&process_config());
    let line = site.line.clone();
    let world = World::new(site.line.clone());
    let kill_one = move |chance: &mut Chance| {
        let_pass(Duration::from_millis(50 + chance.below(200)));
        let below = line.pid().map(alive_below).unwrap_or_default();
        if !below.is_empty() {
            try_to_send(below[chance.below(below.len() as u64) as usize], Signal::SIGKILL);
        }
    };
    let manner = Manner { work_ms: 60, cancels: true };
    let story = Story { world: &world, manner, agents: &[], strike: &kill_one };
    story.while_they_work(&mut chance, |chance| {
        (0..kills(10)).for_each(|_| live_and_die(&mut site, chance));
        site.start();
    });
    settle(&mut site, &world);
}

#[test]
fn attempts_on_external_agents_outlive_the_daemon() {
    let mut chance = seed("external");
    let mut site = Site::new(EXTERNAL);
    let world = World::new(site.line.clone());
    site.start();
    let agents = three_agents(&world);
    let manner = Manner { work_ms: 40, cancels: false };
    let story = Story { world: &world, manner, agents: &agents, strike: &nothing_else };
    story.while_they_work(&mut chance, |chance| {
        site.kill();
        (0..kills(15)).for_each(|_| live_and_die(&mut site, chance));
        site.start();
    });
    assert!(settle(&mut site, &world) > 50, "there was too little to lose");
    assert_nothing_was_repeated(&world);
    assert_eq!(three_agents(&world), agents);
}

#[test]
fn nothing_is_lost_when_external_agents_are_failed_too() {
    let mut chance = seed("external, failed");
    let mut site = Site::new(EXTERNAL);
    let world = World::new(site.line.clone());
    site.start();
    let agents = three_agents(&world);
    let fail_one = |chance: &mut Chance| {
        let_pass(Duration::from_millis(20 + chance.below(100)));
        let client = world.client();
        let agent = &agents[chance.below(3) as usize];
        client.call("POST", &format!("/agents/{agent}/fail"), None);
        until("it is recovered", || {
            // An answer may be lost, or the agent may not have failed at all.
            let (_, answer) = client.call("POST", &format!("/agents/{agent}/recover"), None);
            answer.filter(|(status, _)| [200, 409].contains(status))
        });
    };
    let manner = Manner { work_ms: 40, cancels: true };
    let story = Story { world: &world, manner, agents: &agents, strike: &fail_one };
    story.while_they_work(&mut chance, |chance| {
        site.kill();
        (0..kills(10)).for_each(|_| live_and_die(&mut site, chance));
        site.start();
    });
    settle(&mut site, &world);
}
