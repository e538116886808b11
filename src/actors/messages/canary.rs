//! The canary: idle agents hide a secret each, and look for those of the others.

use actix::Message;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::worker::protocol::{Found, Hints, Planted};

/// From the canary to a WorkerAgent: have the worker do this, if it is at no task. The answer is
/// dropped when that life ends before.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DoCanary {
    /// Which run of the check.
    pub run: Uuid,
    /// What to do.
    pub step: CanaryStep,
    /// Is told what came of it.
    pub answer: oneshot::Sender<CanaryAnswer>,
}

/// From the canary to a WorkerAgent: the worker did not answer a step of this run in time.
/// Nothing happens when it did meanwhile.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct GiveUpCanary {
    /// Which run of the check.
    pub run: Uuid,
}

/// One step of the canary.
#[derive(Clone, Debug)]
pub enum CanaryStep {
    /// Hide this secret.
    Plant(String),
    /// Look for the secrets of those who are here.
    Look(Hints),
    /// Remove what was hidden.
    Clear,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryAnswer {
    /// The secret is hidden.
    Planted(Planted),
    /// What was found.
    Found(Found),
    /// Nothing is left of the secret.
    Cleared,
    /// The worker takes nothing but a task now, or is at one.
    Busy,
    /// The worker does not know what a canary is.
    Unsupported,
}
