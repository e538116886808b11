//! What the operating system says of the agents: blocking reads of `/proc`, off the arbiters.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::clock;
use crate::domain::{AgentId, AgentView, ContextIds};
use crate::worker::proc;

/// An agent with what was measured of its process.
#[derive(Clone, Debug)]
pub struct AgentReport {
    /// What the pool knows of it.
    pub view: AgentView,
    /// What the operating system says of its process.
    pub process: Option<ProcessHealth>,
    /// What it shares with others and must not; empty when all is well.
    pub issues: Vec<String>,
}

/// The load of one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessHealth {
    /// Resident memory.
    pub rss_bytes: u64,
    /// Resident memory as a share of the machine's, 0 to 1.
    pub memory_usage: f64,
    /// CPU time as a share of the time since its start, 0 to 1 (more than one core is 1).
    pub cpu_usage: f64,
}

/// How far the agents are kept apart, measured.
#[derive(Clone, Debug)]
pub struct IsolationReport {
    /// When it was measured, in microseconds since the Unix epoch.
    pub wall_us: u64,
    /// Agent by agent.
    pub agents: Vec<AgentIsolation>,
}

/// How far one agent is kept apart from the others.
#[derive(Clone, Debug)]
pub struct AgentIsolation {
    /// The agent.
    pub agent_id: AgentId,
    /// What belongs to its present life alone.
    pub ids: ContextIds,
    /// What it shares and must not, a sentence each.
    pub issues: Vec<String>,
    /// What was measured of its process; `None` without one.
    pub measured: Option<Measured>,
}

/// What was measured of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Measured {
    /// The worker.
    pub pid: u32,
    /// Its working directory; `None` when it could not be read.
    pub workdir: Option<String>,
    /// The names of its environment variables; never their values.
    pub environment: Vec<String>,
}

/// Measures the process of each agent.
#[must_use]
pub fn reports(views: Vec<AgentView>) -> Vec<AgentReport> {
    let issues = issues(&views);
    let memory = proc::total_memory_bytes().unwrap_or(u64::MAX);
    let report = |view: AgentView| AgentReport {
        process: view.process.as_ref().and_then(|process| health(process.pid, memory)),
        issues: issues.get(&view.id).cloned().unwrap_or_default(),
        view,
    };
    views.into_iter().map(report).collect()
}

/// Measures how far the agents are kept apart.
#[must_use]
pub fn isolation(views: Vec<AgentView>) -> IsolationReport {
    let mut issues = issues(&views);
    let agent = |view: AgentView| AgentIsolation {
        agent_id: view.id,
        ids: view.ids,
        issues: issues.remove(&view.id).unwrap_or_default(),
        measured: view.process.as_ref().map(|process| measured(process.pid)),
    };
    IsolationReport { wall_us: clock::wall_us(), agents: views.into_iter().map(agent).collect() }
}

fn health(pid: u32, memory: u64) -> Option<ProcessHealth> {
    let rss_bytes = proc::rss_bytes(pid)?;
    let age_s = proc::age(pid)?.as_secs_f64().max(1e-3);
    Some(ProcessHealth {
        rss_bytes,
        memory_usage: rss_bytes as f64 / memory as f64,
        cpu_usage: (proc::cpu_time(pid)?.as_secs_f64() / age_s).min(1.0),
    })
}

fn measured(pid: u32) -> Measured {
    Measured {
        pid,
        workdir: workdir(pid),
        environment: proc::environment_names(pid).unwrap_or_default(),
    }
}

fn workdir(pid: u32) -> Option<String> {
    proc::workdir(pid).ok().map(|path| path.display().to_string())
}

/// What agents share and must not (rule 14): a sentence each.
fn issues(views: &[AgentView]) -> BTreeMap<AgentId, Vec<String>> {
    let mut owners: BTreeMap<(&str, String), Vec<AgentId>> = BTreeMap::new();
    let mut issues: BTreeMap<AgentId, Vec<String>> = BTreeMap::new();
    for view in views {
        let ids = view.ids;
        let mut has = vec![
            ("context_window_id", ids.context_window_id.to_string()),
            ("tool_session_id", ids.tool_session_id.to_string()),
            ("memory_handle_id", ids.memory_handle_id.to_string()),
        ];
        if let Some(process) = &view.process {
            has.push(("pid", process.pid.to_string()));
            // One that cannot be read is `null` in the report: most likely the process just ended.
            has.extend(workdir(process.pid).map(|path| ("workdir", path)));
        }
        for thing in has {
            owners.entry(thing).or_default().push(view.id);
        }
    }
    for ((what, value), sharers) in owners.into_iter().filter(|(_, sharers)| sharers.len() > 1) {
        for &agent in &sharers {
            let others = sharers.iter().filter(|&&other| other != agent).map(AgentId::to_string);
            let others: Vec<_> = others.collect();
            let sentence = format!("{what} {value} is shared with {}", others.join(", "));
            issues.entry(agent).or_default().push(sentence);
        }
    }
    issues
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AgentKind, AgentStats, AgentStatus, Incarnation, ProcessFacts, TaskTypes};
    use uuid::Uuid;

    fn view(number: u128) -> AgentView {
        let own = |offset| Uuid::from_u128(number * 10 + offset);
        AgentView {
            id: AgentId::from_uuid(own(0)),
            kind: AgentKind::Process,
            incarnation: Incarnation::FIRST,
            ids: ContextIds {
                context_window_id: own(1),
                tool_session_id: own(2),
                memory_handle_id: own(3),
            },
            status: AgentStatus::Idle,
            reason: None,
            run: None,
            leaving: false,
            types: TaskTypes::ALL,
            process: None,
            stats: AgentStats::default(),
        }
    }

    #[test]
    fn what_two_agents_share_is_an_issue_of_both() {
        let (mut anna, mut bert, carl) = (view(1), view(2), view(3));
        bert.ids.memory_handle_id = anna.ids.memory_handle_id;
        let here = ProcessFacts {
            pid: std::process::id(),
            launcher_pid: 1,
            launcher_start_ticks: 0,
            workdir: String::new(),
            confinement: None,
        };
        anna.process = Some(here.clone());
        bert.process = Some(here);
        let report = isolation(vec![anna, bert, carl]);
        let counts: Vec<_> = report.agents.iter().map(|agent| agent.issues.len()).collect();
        assert_eq!(counts, [3, 3, 0], "memory handle, pid and workdir: {report:?}");
        let measured = report.agents[0].measured.as_ref().unwrap();
        assert_eq!(measured.pid, std::process::id());
        assert!(measured.environment.iter().any(|name| name == "PATH"), "{measured:?}");
    }
}
