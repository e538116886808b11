//! The verbs of gates.

use super::{CallError, PoolHandle};
use crate::actors::GateProbeSettings;
use crate::actors::messages::{ListGates, OrderGate};
use crate::domain::{GateMode, GateView};

/// A gate, and what was configured for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateReport {
    /// How it is.
    pub view: GateView,
    /// How its dependency is asked; `None`: nobody asks.
    pub probe: Option<GateProbeSettings>,
    /// How many tasks may wait for it.
    pub max_depth: usize,
}

impl PoolHandle {
    /// Every gate, in the order of the configuration.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn gates(&self) -> Result<Vec<GateReport>, CallError> {
        let views = self.ask(&self.router, ListGates).await?;
        Ok(views.into_iter().map(|view| self.gate_report(view)).collect())
    }

    /// Opens or closes a gate whatever is known of its dependency, or lets that decide again.
    ///
    /// # Errors
    /// See [`CallError`]; `GateNotFound`.
    pub async fn order_gate(&self, name: &str, mode: GateMode) -> Result<GateReport, CallError> {
        let name = name.to_owned();
        let view = self.ask(&self.router, OrderGate { name, mode }).await??;
        Ok(self.gate_report(view))
    }

    fn gate_report(&self, view: GateView) -> GateReport {
        let probe = self.probes.iter().find(|probe| probe.name == view.name).cloned();
        GateReport { view, probe, max_depth: self.max_depth }
    }
}
