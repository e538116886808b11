//! How far the agents are kept apart, as the operating system says (rule 14).
//!
//! Blocking reads of `/proc`, off the arbiters. What the rules find is looked at twice: a process
//! may end, and another begin, while it is looked at, and that is nobody's fault.

mod auditor;
mod issues;
mod measured;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::clock;
use crate::domain::{AgentId, AgentView, ContextIds, Guard, Incarnation, MissingGuard};
use crate::worker::inspect::{self, Sight};
use issues::Finding;

pub(super) use auditor::{Auditor, IsolationAuditor};
pub use issues::Issue;
pub use measured::{Measured, MeasuredFile, MeasuredProcess};

/// How far the agents are kept apart, measured.
#[derive(Clone, Debug)]
pub struct IsolationReport {
    /// When it was measured, in microseconds since the Unix epoch.
    pub wall_us: u64,
    /// Agent by agent.
    pub agents: Vec<AgentIsolation>,
    /// The guards that some agent is without, each with a reason once. That is no breach.
    pub not_enforced: Vec<MissingGuard>,
}

/// How far one agent is kept apart from the others.
#[derive(Clone, Debug)]
pub struct AgentIsolation {
    /// The agent.
    pub agent_id: AgentId,
    /// Its present life.
    pub incarnation: Incarnation,
    /// What belongs to that life alone.
    pub ids: ContextIds,
    /// What is not as it must be.
    pub issues: Vec<Issue>,
    /// What was measured of its processes; `None` without one.
    pub measured: Option<Measured>,
}

impl IsolationReport {
    /// How many breaches there are: every issue of every agent.
    #[must_use]
    pub fn breaches(&self) -> usize {
        self.agents.iter().map(|agent| agent.issues.len()).sum()
    }
}

/// An agent with all that was seen of it.
#[derive(Debug)]
struct Subject<'a> {
    view: &'a AgentView,
    /// Where it is to work, as the operating system writes it.
    workdir: Option<PathBuf>,
    launcher_session: Option<u32>,
    /// Everything under its launcher.
    processes: Vec<Sight>,
}

impl<'a> Subject<'a> {
    fn of(view: &'a AgentView) -> Self {
        let Some(process) = &view.process else {
            return Self { view, workdir: None, launcher_session: None, processes: Vec::new() };
        };
        Self {
            view,
            workdir: std::fs::canonicalize(&process.workdir).ok(),
            launcher_session: inspect::session(process.launcher_pid),
            processes: inspect::tree(process.launcher_pid, process.launcher_start_ticks),
        }
    }
}

/// Measures how far the agents are kept apart. `given` are the names of the variables that a worker
/// gets.
fn look(views: &[AgentView], given: &BTreeSet<String>) -> IsolationReport {
    let see = || -> Vec<_> { views.iter().map(Subject::of).collect() };
    let find = |subjects: &[Subject<'_>]| {
        issues::find(subjects, Sight::of(std::process::id()).as_ref(), given)
    };
    let subjects = see();
    let mut findings = find(&subjects);
    if !findings.is_empty() {
        findings = issues::confirmed(findings, &find(&see()));
    }
    report(&subjects, &findings)
}

fn report(subjects: &[Subject<'_>], findings: &[Finding]) -> IsolationReport {
    let mut issues: BTreeMap<AgentId, Vec<Issue>> = issues::told(findings);
    let agent = |subject: &Subject<'_>| AgentIsolation {
        agent_id: subject.view.id,
        incarnation: subject.view.incarnation,
        ids: subject.view.ids,
        issues: issues.remove(&subject.view.id).unwrap_or_default(),
        measured: subject.view.process.as_ref().map(|facts| Measured::of(facts, subject)),
    };
    IsolationReport {
        wall_us: clock::wall_us(),
        agents: subjects.iter().map(agent).collect(),
        not_enforced: not_enforced(subjects),
    }
}

fn not_enforced(subjects: &[Subject<'_>]) -> Vec<MissingGuard> {
    let missing: BTreeSet<(Guard, &str)> = subjects
        .iter()
        .filter_map(|subject| subject.view.process.as_ref()?.confinement.as_ref())
        .flat_map(|confinement| &confinement.missing)
        .map(|missing| (missing.guard, missing.why.as_str()))
        .collect();
    missing.into_iter().map(|(guard, why)| MissingGuard { guard, why: why.to_owned() }).collect()
}

#[cfg(test)]
mod tests;
