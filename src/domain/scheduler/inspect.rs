//! What tests may see of the state machine beyond what it tells its readers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Scheduler;
use crate::domain::agent::Agent;
use crate::domain::family::Family;
use crate::domain::gates::Gates;
use crate::domain::idle::IdleAgents;
use crate::domain::ids::{AgentId, TaskId};
use crate::domain::limits::Limits;
use crate::domain::metrics::Counters;
use crate::domain::priority::Seq;
use crate::domain::queue::Queue;
use crate::domain::task::Task;
use crate::domain::timers::Timers;

/// Every part of the state machine, to look at.
#[derive(Clone, Copy)]
pub(in crate::domain) struct Inside<'a> {
    pub limits: &'a Limits,
    pub tasks: &'a BTreeMap<Seq, Task>,
    pub ids: &'a BTreeMap<TaskId, Seq>,
    pub keys: &'a BTreeMap<Arc<str>, Seq>,
    pub queue: &'a Queue,
    pub counted: usize,
    pub agents: &'a BTreeMap<AgentId, Agent>,
    pub idle: &'a IdleAgents,
    pub family: &'a Family,
    pub gates: &'a Gates,
    pub timers: &'a Timers,
    pub counters: &'a Counters,
    pub process_runs: usize,
    pub closing: bool,
    pub draining: bool,
}

impl Scheduler {
    pub(in crate::domain) fn inside(&self) -> Inside<'_> {
        Inside {
            limits: &self.limits,
            tasks: &self.tasks,
            ids: &self.ids,
            keys: &self.keys,
            queue: &self.queue,
            counted: self.gates.queued(),
            agents: &self.agents,
            idle: &self.idle,
            family: &self.family,
            gates: &self.gates,
            timers: &self.timers,
            counters: &self.counters,
            process_runs: self.process_runs,
            closing: self.closing.is_some(),
            draining: self.draining,
        }
    }
}
