//! What always holds of runs that are being stopped; and the words for their ladders.

use std::collections::BTreeSet;

use super::world::{World, agent, name};
use crate::domain::agent::{Agent, Run};
use crate::domain::scheduler::Inside;
use crate::domain::task::Task;
use crate::domain::{
    AgentId, AgentKind, Attempt, AttemptRecord, Effect, Incarnation, Now, Seq, TaskId,
};

/// Attempts whose runs are being stopped.
#[derive(Default)]
pub(super) struct Stopping(BTreeSet<(Seq, u32)>);

impl Stopping {
    pub(super) fn of(inside: Inside<'_>) -> Self {
        let stopped = |run: &&Run| run.ending.is_some();
        let runs = inside.agents.values().filter_map(|agent| agent.run.as_ref());
        Self(runs.filter(stopped).map(|run| (run.task, run.attempt.get())).collect())
    }
}

/// What the scheduler ordered to bring runs of processes to their ends.
#[derive(Default)]
pub(super) struct Ladders {
    asked: BTreeSet<(AgentId, Incarnation, TaskId, Attempt)>,
    killed: BTreeSet<(AgentId, Incarnation)>,
}

impl Ladders {
    pub(super) fn remember(&mut self, effect: &Effect) {
        match *effect {
            Effect::CancelRun { agent, incarnation, task_id, attempt, .. } => {
                let first = self.asked.insert((agent, incarnation, task_id, attempt));
                assert!(first, "{} is asked twice", name(agent));
            }
            Effect::KillTree { agent, incarnation } => {
                self.killed.insert((agent, incarnation));
            }
            Effect::AgentRemoved { agent } => {
                self.asked.retain(|(of, ..)| *of != agent);
                self.killed.retain(|(of, _)| *of != agent);
            }
            _ => {}
        }
    }

    /// A run of a process that is to end is on a ladder, whose last step kills, or is being killed,
    /// or nothing is left of it.
    fn check(&self, agent: &Agent) {
        let Some(run) = agent.run.as_ref().filter(|run| run.ending.is_some()) else { return };
        let is_gone = agent.dying.as_ref().is_some_and(|dying| dying.tree_gone.is_some());
        let life = (agent.id, agent.incarnation);
        let is_asked = self.asked.contains(&(life.0, life.1, run.task_id, run.attempt));
        let ends = is_asked || self.killed.contains(&life) || is_gone || !agent.is_process();
        assert!(ends, "nobody ends {} on {}", name(run.task_id), name(agent.id));
    }
}

fn record(task: &Task, attempt: u32) -> &AttemptRecord {
    let found = task.attempts.iter().find(|record| record.attempt.get() == attempt);
    found.expect("a run has its attempt")
}

/// A run that is stopped says so; its steps are in order; when it is gone its stop is over, unless
/// nobody saw that.
pub(super) fn check(world: &World, inside: Inside<'_>, before: &Stopping) {
    inside.agents.values().for_each(|agent| world.ladders.check(agent));
    let present = Stopping::of(inside);
    for &(seq, attempt) in &present.0 {
        let task = &inside.tasks[&seq];
        let stop = record(task, attempt).stop;
        let stop = stop.unwrap_or_else(|| panic!("{} is stopped in silence", name(task.id)));
        assert_eq!(stop.over, None, "{} is over and runs", name(task.id));
    }
    for &(seq, attempt) in before.0.difference(&present.0) {
        let here = inside.tasks.get(&seq);
        let Some(task) = here.or_else(|| world.disk.all().find(|task| task.seq == seq)) else {
            continue; // forgotten
        };
        let record = record(task, attempt);
        let stop = record.stop.expect("it was being stopped");
        assert_eq!(stop.over.is_none(), record.overlap_possible, "the end of {}", name(task.id));
        let steps = [stop.asked, stop.signalled, stop.killed, stop.over];
        let by_us = |at: Now| at.mono_us;
        let times: Vec<_> = steps.into_iter().flatten().map(by_us).collect();
        let is_process = world.scheduler.agent_view(record.agent);
        // An external one may outlive a daemon, and the next has another clock.
        let is_process = is_process.is_ok_and(|agent| agent.kind == AgentKind::Process);
        assert!(times.is_sorted() || !is_process, "the ladder of {}: {stop:?}", name(task.id));
    }
}

impl World {
    /// Whether the actor of this process agent is at the ladder.
    pub(super) fn is_being_asked(&self, who: &str) -> bool {
        let agent = self.inside().agents.get(&agent(who)).filter(|agent| agent.alive);
        let run = agent.and_then(|agent| agent.run.as_ref());
        run.is_some_and(|run| run.ending.is_some())
    }

    /// The daemon stops, and is told a second time: whatever it asked to end is killed.
    pub(super) fn stop_at_once(&mut self) {
        self.drain();
        self.stop_listening();
        self.stop_process_runs();
        self.call(|s, now, fx| s.kill_processes(now, fx));
        let alive = self.inside().agents.values().filter(|agent| agent.alive && agent.is_process());
        let alive: Vec<_> = alive.map(|agent| (agent.id, agent.incarnation)).collect();
        for life in &alive {
            assert!(self.ladders.killed.contains(life) || self.dead, "{} lives", name(life.0));
        }
        for (id, _) in alive {
            self.lose(&name(id));
        }
    }

    /// The actor of the agent kills what did not end in its grace, and ends with it.
    pub(super) fn give_up_run(&mut self, who: &str) {
        self.effects.clear();
        self.killed_after_grace(agent(who), self.life(who));
    }

    /// How the newest attempt of the task was brought to its end, in seconds after its assignment.
    pub(super) fn expect_stop(&self, what: &str, words: &str) {
        let view = self.view(what);
        let record = view.attempts.last().expect("an attempt");
        let after = |at: Now| (at.wall_us - record.assigned.wall_us) as f64 / 1e6;
        let described = record.stop.map_or_else(
            || "not stopped".to_owned(),
            |stop| {
                let steps = [
                    ("asked", stop.asked),
                    ("signalled", stop.signalled),
                    ("killed", stop.killed),
                    ("over", stop.over),
                ];
                let steps = steps.into_iter().filter_map(|(step, at)| Some((step, after(at?))));
                let steps: Vec<_> = steps.map(|(step, at)| format!("{step} {at}")).collect();
                format!("{}: {}", stop.reason.name(), steps.join(", "))
            },
        );
        assert_eq!(described, words, "the stop of {what}");
    }
}
