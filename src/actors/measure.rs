//! The load of the agents' processes: blocking reads of `/proc`, off the arbiters.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::isolation::Issue;
use super::watcher::AgentPhase;
use crate::domain::{AgentId, AgentView, ProcessFacts};
use crate::worker::proc;

/// The shortest time that says something about the use of the CPU: the kernel counts it in steps of
/// usually 10 ms.
const SPAN_US: u64 = 1_000_000;

/// An agent with what was measured of its processes.
#[derive(Clone, Debug)]
pub struct AgentReport {
    /// What the pool knows of it.
    pub view: AgentView,
    /// What the operating system says of its processes.
    pub process: Option<ProcessHealth>,
    /// What its process does for its task, when it says so.
    pub phase: Option<AgentPhase>,
    /// What is not as it must be; empty when all is well.
    pub issues: Vec<Issue>,
}

/// The load of everything that an agent runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessHealth {
    /// Resident memory; what several of its processes share counts once for each.
    pub rss_bytes: u64,
    /// Resident memory as a share of the machine's, 0 to 1.
    pub memory_usage: f64,
    /// The share of a core since the last look, 0 to 1 (more than one core is 1).
    pub cpu_usage: f64,
}

/// Measures loads. It remembers the last look at each agent, and does nothing by itself.
#[derive(Debug, Default)]
pub(super) struct LoadMeter {
    looks: Mutex<BTreeMap<AgentId, Look>>,
}

/// A look at the use of the CPU by one process tree.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// The launcher and its start, which name the tree.
    tree: (u32, u64),
    at_us: u64,
    cpu: Duration,
    /// What was found then.
    usage: f64,
}

impl LoadMeter {
    /// The load of the processes of these agents at this time.
    pub(super) fn loads(
        &self,
        views: &[AgentView],
        now_us: u64,
    ) -> BTreeMap<AgentId, ProcessHealth> {
        let memory = proc::total_memory_bytes().unwrap_or(u64::MAX);
        let mut loads = BTreeMap::new();
        for view in views {
            let load = view.process.as_ref().and_then(|process| {
                let tree = tree(process)?;
                let rss_bytes = proc::tree_rss_bytes(process.launcher_pid);
                Some(ProcessHealth {
                    rss_bytes,
                    memory_usage: (rss_bytes as f64 / memory as f64).min(1.0),
                    cpu_usage: self.cpu_usage(view.id, tree, now_us)?,
                })
            });
            match load {
                Some(load) => drop(loads.insert(view.id, load)),
                // Whoever left is not remembered once somebody asks for it.
                None => drop(self.looks().remove(&view.id)),
            }
        }
        loads
    }

    /// Forgets whoever is not among these.
    pub(super) fn keep(&self, views: &[AgentView]) {
        let ids: std::collections::BTreeSet<_> = views.iter().map(|view| view.id).collect();
        self.looks().retain(|id, _| ids.contains(id));
    }

    fn cpu_usage(&self, agent: AgentId, tree: (u32, u64), now_us: u64) -> Option<f64> {
        let mut looks = self.looks();
        let last = looks.get(&agent).filter(|last| last.tree == tree).copied();
        if let Some(last) = last
            && now_us.saturating_sub(last.at_us) < SPAN_US
        {
            return Some(last.usage);
        }
        let cpu = proc::tree_cpu_time(tree.0);
        let (since, span) = match last {
            Some(last) => (last.cpu, Duration::from_micros(now_us - last.at_us)),
            None => (Duration::ZERO, proc::age(tree.0)?),
        };
        let usage = share(cpu.saturating_sub(since), span);
        looks.insert(agent, Look { tree, at_us: now_us, cpu, usage });
        Some(usage)
    }

    fn looks(&self) -> std::sync::MutexGuard<'_, BTreeMap<AgentId, Look>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What names the process tree of an agent, if it is there to be measured.
fn tree(process: &ProcessFacts) -> Option<(u32, u64)> {
    let tree = (process.launcher_pid, process.launcher_start_ticks);
    let is_there = proc::start_ticks(tree.0) == Some(tree.1) && proc::is_alive(process.pid);
    (is_there && !proc::hides(process.pid)).then_some(tree)
}

fn share(used: Duration, span: Duration) -> f64 {
    (used.as_secs_f64() / span.as_secs_f64().max(1e-3)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::tests::{Tree, until};

    #[test]
    fn the_use_of_the_cpu_is_that_since_the_last_look() {
        let (tree, view) = Tree::with(1, "while :; do :; done");
        let (meter, id) = (LoadMeter::default(), view.id);
        let views = [view];
        let usage = |now_us| meter.loads(&views, now_us)[&id].cpu_usage;
        usage(0);
        let before = proc::tree_cpu_time(tree.launcher());
        let half = Duration::from_millis(500);
        until(|| proc::tree_cpu_time(tree.launcher()) >= before + half);
        // It used half a second, and a little more: in one second, and then nothing in an hour.
        let usages = [SPAN_US, SPAN_US + 1].map(usage);
        assert!((0.5..=1.0).contains(&usages[0]), "{usages:?}");
        assert_eq!(usages[0], usages[1], "too soon for another look");
        assert!(usage(3_600 * SPAN_US) < 0.01);
    }

    #[test]
    fn memory_is_that_of_the_whole_tree() {
        let (tree, view) = Tree::with(1, "sleep 1000 & sleep 1000");
        let meter = LoadMeter::default();
        let all = || -> Vec<u64> {
            let processes = proc::descendants(tree.launcher());
            processes.into_iter().filter_map(proc::rss_bytes).collect()
        };
        // Processes that have just started still grow: what counts is a look between two equal ones.
        let mut looks = (vec![], None, vec![]);
        until(|| {
            let before = all();
            looks = (before, meter.loads(std::slice::from_ref(&view), 0).remove(&view.id), all());
            looks.0 == looks.2 && looks.0.len() == 2
        });
        let (all, load) = (looks.0, looks.1.unwrap());
        assert_eq!(load.rss_bytes, all.iter().sum::<u64>(), "{all:?}");
        assert!(all.iter().all(|one| *one < load.rss_bytes), "{all:?}");
        assert!(load.memory_usage > 0.0 && load.memory_usage < 1.0, "{load:?}");
    }

    #[test]
    fn nothing_is_known_of_who_is_gone() {
        let (tree, view) = Tree::with(1, "sleep 1000");
        let meter = LoadMeter::default();
        let views = [view];
        assert_eq!(meter.loads(&views, 0).len(), 1);
        drop(tree);
        assert_eq!(meter.loads(&views, 0).len(), 0);
        meter.keep(&[]);
        assert!(meter.looks().is_empty());
    }
}
