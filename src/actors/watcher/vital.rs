//! What an agent's actor lets the watcher know of its process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix::{Context, Handler, Message, MessageResult};

use super::Watcher;
use crate::domain::{AgentId, Incarnation};

/// The last sign of life of an agent and the phase of its run: written by its actor, read by the
/// watcher.
#[derive(Debug)]
pub(in crate::actors) struct Vital {
    seen_us: AtomicU64,
    /// What its run does, and since when; locked only for a moment.
    phase: Mutex<Option<(String, u64)>>,
}

impl Vital {
    /// Alive at this moment.
    #[must_use]
    pub(in crate::actors) const fn new(now_us: u64) -> Self {
        Self { seen_us: AtomicU64::new(now_us), phase: Mutex::new(None) }
    }

    /// Alive at this moment, too.
    pub(in crate::actors) fn touch(&self, now_us: u64) {
        self.seen_us.store(now_us, Ordering::Relaxed);
    }

    pub(super) fn silent_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.seen_us.load(Ordering::Relaxed))
    }

    /// Its run is in this phase.
    pub(in crate::actors) fn is_in(&self, phase: String, since_us: u64) {
        *self.phase() = Some((phase, since_us));
    }

    /// It has no run, or did not say yet what it does for it.
    pub(in crate::actors) fn is_in_none(&self) {
        *self.phase() = None;
    }

    fn phase(&self) -> MutexGuard<'_, Option<(String, u64)>> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a process does for its task, by its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPhase {
    /// In which life of its agent.
    pub incarnation: Incarnation,
    /// The phase.
    pub name: String,
    /// For how long it has been in it, in microseconds.
    pub lasts_us: u64,
}

/// Asks what the processes do for their tasks; those that have none, or do not say, are left out.
#[derive(Debug, Message)]
#[rtype(result = "HashMap<AgentId, AgentPhase>")]
pub(in crate::actors) struct ListPhases;

impl Handler<ListPhases> for Watcher {
    type Result = MessageResult<ListPhases>;

    fn handle(&mut self, _: ListPhases, _ctx: &mut Context<Self>) -> Self::Result {
        let now_us = self.clock.mono_us();
        let phases = self.watched.iter().filter_map(|(&id, watched)| {
            let (name, since_us) = watched.vital.phase().clone()?;
            let lasts_us = now_us.saturating_sub(since_us);
            Some((id, AgentPhase { incarnation: watched.incarnation, name, lasts_us }))
        });
        MessageResult(phases.collect())
    }
}
