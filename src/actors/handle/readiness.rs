//! Whether the pool can do work.

use chrono::{DateTime, SecondsFormat};

use super::{CallError, PoolHandle};
use crate::actors::messages::{IsDraining, ListAgents, ListGates};
use crate::domain::{AgentView, GateMode, GateState, GateView, Now, Refusal};

/// Whether the pool can do work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why not; empty when it can.
    pub reasons: Vec<String>,
    /// What it cannot do although it can do other work; empty when there is no such thing.
    pub degraded: Vec<String>,
}

impl PoolHandle {
    /// Whether the pool can do work, and why not.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn readiness(&self) -> Result<Readiness, CallError> {
        let mut reasons = Vec::new();
        if self.ask(&self.router, IsDraining).await? {
            reasons.push("the daemon is stopping".to_owned());
        }
        if self.gauges.is_full() {
            let min_free_mb = self.gauges.min_free_mb();
            reasons.push(Refusal::StoreFull { min_free_mb }.to_string());
        }
        let views = self.ask(&self.router, ListAgents).await?;
        if views.is_empty() {
            reasons.push("the pool has no agents; initialize it or spawn some".to_owned());
        } else if views.iter().all(|view| view.reason.is_some()) {
            reasons.extend(views.iter().map(why_degraded));
        }
        let gates = self.ask(&self.router, ListGates).await?;
        let degraded = gates.iter().filter_map(what_waits).collect();
        Ok(Readiness { reasons, degraded })
    }
}

fn why_degraded(view: &AgentView) -> String {
    let (reason, detail) =
        view.reason.as_ref().map_or(("", ""), |(reason, detail)| (reason.name(), detail.as_str()));
    let separator = if detail.is_empty() { "" } else { ": " };
    format!("agent {} is degraded ({reason}){separator}{detail}", view.id)
}

/// What waits for a gate, and why; `None` while it is open, or nobody was told that it is closed so
/// soon after the start.
fn what_waits(gate: &GateView) -> Option<String> {
    match gate.state {
        GateState::Open => return None,
        GateState::Unknown if gate.closures == 0 => return None,
        GateState::Unknown | GateState::Closed => {}
    }
    let (name, since) = (&gate.name, rfc_3339(gate.since));
    let why = match (gate.mode, &gate.last_error) {
        _ if gate.state == GateState::Unknown => ": nothing is known of it yet",
        (GateMode::Closed, _) => ": by order",
        (GateMode::Auto | GateMode::Open, Some(error)) => &format!(": {error}"),
        (GateMode::Auto | GateMode::Open, None) => "",
    };
    let waiting = match gate.waiting {
        1 => "1 task waits".to_owned(),
        waiting => format!("{waiting} tasks wait"),
    };
    Some(format!("gate {name} is closed since {since}{why}; {waiting} for it"))
}

fn rfc_3339(at: Now) -> String {
    let at = i64::try_from(at.wall_us).ok().and_then(DateTime::from_timestamp_micros);
    at.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TaskTypes;

    fn closed() -> GateView {
        GateView {
            name: "discovery".into(),
            types: TaskTypes::ALL,
            state: GateState::Closed,
            mode: GateMode::Auto,
            since: Now { mono_us: 0, wall_us: 1_764_144_000_500_000 },
            last_error: Some("HTTP 500".to_owned()),
            held_until: None,
            waiting: 3,
            counted: 3,
            closures: 1,
        }
    }

    #[test]
    fn a_closed_gate_says_since_when_why_and_what_waits() {
        let begin = "gate discovery is closed since 2025-11-26T08:00:00Z";
        let said = |gate: GateView| what_waits(&gate).expect("it is closed");
        assert_eq!(said(closed()), format!("{begin}: HTTP 500; 3 tasks wait for it"));
        let unexplained = GateView { last_error: None, waiting: 1, ..closed() };
        assert_eq!(said(unexplained), format!("{begin}; 1 task waits for it"));
        let by_order = GateView { mode: GateMode::Closed, waiting: 0, ..closed() };
        assert_eq!(said(by_order), format!("{begin}: by order; 0 tasks wait for it"));
    }

    #[test]
    fn a_gate_that_is_open_or_was_not_told_as_closed_says_nothing() {
        assert_eq!(what_waits(&GateView { state: GateState::Open, ..closed() }), None);
        let begins = GateView { state: GateState::Unknown, closures: 0, ..closed() };
        assert_eq!(what_waits(&begins), None);
        let said = what_waits(&GateView { closures: 1, ..begins }).expect("its grace is over");
        assert!(said.contains(": nothing is known of it yet; 3 tasks wait"), "{said}");
    }
}
