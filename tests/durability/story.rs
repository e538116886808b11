//! Everybody works while something happens to the daemon; then the whole history is checked.

use std::time::Duration;

use serde_json::Value;

use super::checker::violations;
use super::client::{AtTheEnd, World};
use super::history::Said;
use super::os::{Chance, let_pass, python, say, until};
use super::site::Site;
use super::work::{self, Manner};

/// Three agents with processes that write down what they run, where the next ones read it and look
/// for those before them: no sandbox would let them.
pub(super) fn process_config() -> String {
    let worker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/durability/worker.py");
    let command =
        [python().as_str(), "-I", "-S", worker].map(|word| format!("{word:?}")).join(", ");
    format!(
        "[pool]\nsize = 3\nrestarts_max = 1000\n\
         [queue]\nmax_depth = 30\nmax_attempts = 100\nexclusion_relax_s = 0.1\nbackoff_first_s = 0.05\n\
         [worker]\ncommand = [{command}]\nenv = {{ RUNS = \"RUNS_HERE\" }}\ncancel_grace_s = 0.5\n\
         [worker.sandbox]\nenabled = false\n"
    )
}

/// Three external agents.
pub(super) const EXTERNAL: &str = "[pool]\nsize = 3\n[queue]\nmax_depth = 30\nmax_attempts = 100\n\
                        exclusion_relax_s = 0.1\nbackoff_first_s = 0.05\n[worker]\nkind = \"external\"\n";

/// A seed of this run for this test, which is printed: a failure can be looked at again.
pub(super) fn seed(test: &str) -> Chance {
    let seed = Chance::seed();
    say(&format!("{test}: DAEDALUS_SEED={seed}"));
    Chance::new(test.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31) + u64::from(byte)))
}

/// What goes on while the daemon dies and is started again.
pub(super) struct Story<'a> {
    pub(super) world: &'a World,
    pub(super) manner: Manner,
    /// External agents.
    pub(super) agents: &'a [String],
    /// What else goes wrong, once.
    pub(super) strike: &'a (dyn Fn(&mut Chance) + Sync),
}

impl Story<'_> {
    /// Clients submit and read, agents work, while `happen` does what it does with the daemon; it
    /// leaves one that listens.
    pub(super) fn while_they_work(&self, chance: &mut Chance, happen: impl FnOnce(&mut Chance)) {
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

pub(super) fn nothing_else(_: &mut Chance) {
    let_pass(Duration::from_millis(20));
}

/// The end of every story: all has ended, another death changes nothing, nothing contradicts.
pub(super) fn settle(site: &mut Site, world: &World) {
    work::drain(world);
    site.kill();
    site.start();
    work::read_all(world);
    let runs = work::runs_in(&site.place.join("runs"));
    let mut history = world.history();
    history.runs.extend(runs);
    for line in std::mem::take(&mut site.logged) {
        history.heard(&line);
    }
    let found = violations(&history);
    assert!(found.is_empty(), "{} violations: {:#?}", found.len(), &found[..found.len().min(20)]);
    let (tasks, answers) = (history.tasks().len(), history.sights.len());
    let tries = |said: &dyn Fn(&Said) -> bool| {
        history.submits.iter().filter(|submit| said(&submit.said)).count()
    };
    let refused = tries(&|said| *said == Said::Refused);
    let unknown = tries(&|said| *said == Said::Unknown);
    say(&format!(
        "{tasks} tasks, {} runs, {answers} answers about tasks; {refused} submits were refused, \
         {unknown} had no answer",
        history.runs.len()
    ));
}

/// No task has had a second attempt, nor a failure.
pub(super) fn assert_nothing_was_repeated(world: &World) {
    for sight in &world.history().sights {
        assert!(sight.attempt <= 1 && sight.failures == 0, "a second attempt: {sight:#?}");
    }
}

/// The ids of the agents once there are so many of them.
pub(super) fn agents_of(world: &World, count: usize) -> Vec<String> {
    until("the agents are there", || {
        let ids = |agents: Vec<Value>| agents.iter().map(|one| text(&one["agent_id"])).collect();
        world.client().agents().map(ids).filter(|ids: &Vec<_>| ids.len() == count)
    })
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
