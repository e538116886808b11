//! To the Router: what is known of dependencies, and what is wanted of their gates.

use std::sync::Arc;

use actix::Message;

use crate::domain::{GateMode, GateView, Refusal};

/// A fact, from a `GateProbe`: this dependency is up, or down.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct GateKnown {
    /// Whose gate it is.
    pub name: Arc<str>,
    /// Whether it is up.
    pub is_up: bool,
    /// Why it is not, in a few words.
    pub error: Option<String>,
}

/// Asks for a gate to be opened or closed, or to be left to its dependency again.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<GateView, Refusal>")]
pub struct OrderGate {
    /// Which.
    pub name: String,
    /// What it is to do.
    pub mode: GateMode,
}

/// Asks for every gate.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<GateView>")]
pub struct ListGates;
