//! An agent: its life, its run and what it did so far.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::affinity::Affinity;
use super::attempt::Failure;
use super::confinement::Confinement;
use super::exit::Exit;
use super::ids::{AgentId, Attempt, ContextIds, Incarnation, TaskId};
use super::priority::Seq;
use super::stop::StopReason;
use super::task_type::{PerType, TaskTypes};

/// What stands behind an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    /// A process that the daemon starts and watches.
    Process,
    /// A program elsewhere that fetches its work.
    External {
        /// How long it counts as there after its last call, in microseconds; `None`: always.
        lease_us: Option<u64>,
    },
}

impl AgentKind {
    /// The name on every wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::External { .. } => "external",
        }
    }

    /// How long its lease lasts, in microseconds, if it has one.
    #[must_use]
    pub const fn lease_us(self) -> Option<u64> {
        match self {
            Self::Process => None,
            Self::External { lease_us } => lease_us,
        }
    }
}

/// What a client sees of an agent's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentStatus {
    /// Has nothing to do.
    Idle,
    /// Was given a task and has not said yet that it started.
    Analyzing,
    /// Works on a task.
    Executing,
    /// Gets no task; the reason says why.
    Degraded,
}

impl AgentStatus {
    /// The name on every wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Analyzing => "analyzing",
            Self::Executing => "executing",
            Self::Degraded => "degraded",
        }
    }
}

/// Why an agent is degraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusReason {
    /// Its first process is not ready yet.
    Starting,
    /// It died, broke the protocol, went silent, or a client failed it.
    Failed,
    /// Its next process is not ready yet.
    Restarting,
    /// It died too often; it is tried again in a while, or by `recover`.
    RestartsExhausted,
    /// Its command cannot run; it is tried again in a while, or by `recover`.
    CommandFailed,
    /// Its process tree does not end although it was killed.
    Unkillable,
    /// The lease of an external agent ended.
    LeaseLost,
    /// It is being removed.
    Leaving,
}

impl StatusReason {
    /// The name on every wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Failed => "failed",
            Self::Restarting => "restarting",
            Self::RestartsExhausted => "restarts_exhausted",
            Self::CommandFailed => "command_failed",
            Self::Unkillable => "unkillable",
            Self::LeaseLost => "lease_lost",
            Self::Leaving => "leaving",
        }
    }

    /// Whether a client that waits for the agent's start need not wait longer.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Starting | Self::Restarting)
    }
}

/// Whether an agent is fit for work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It is.
    Fit,
    /// It is not.
    Degraded {
        /// Why, for programs.
        reason: StatusReason,
        /// Why, as a sentence; may be empty.
        detail: String,
    },
}

/// Why a run is being brought to its end before its agent ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its task was cancelled; it has ended already.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// A client failed its agent.
    FailedByClient,
    /// Its agent leaves, or the daemon stops.
    Stopped,
    /// It waited for children, and no live agent was left to run them.
    Deadlocked,
}

impl Ending {
    /// What the worker is told.
    #[must_use]
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::FailedByClient => "agent_failed",
            Self::Stopped | Self::Deadlocked => "interrupted",
        }
    }

    /// What the attempt says of it.
    #[must_use]
    pub(super) const fn reason(&self) -> StopReason {
        match self {
            Self::Cancelled => StopReason::Cancelled,
            Self::TimedOut => StopReason::TimedOut,
            Self::FailedByClient => StopReason::AgentFailed,
            Self::Stopped | Self::Deadlocked => StopReason::Interrupted,
        }
    }
}

/// What an agent does now: one attempt of one task. It is over only when nothing of it can act any
/// more (rule 9), which may be after the end of the attempt.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The task.
    pub task: Seq,
    /// Its id.
    pub task_id: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// Whether the agent said that it started.
    pub started: bool,
    /// When it times out, in monotonic microseconds.
    pub deadline_us: u64,
    /// Why it is being ended early, if it is.
    pub ending: Option<Ending>,
    /// Why it timed out, when that was not for its length as a whole.
    pub overdue: Option<Failure>,
    /// Whether a client that failed its agent waits for its end.
    pub failed_by_client: bool,
    /// The gates whose backlog it is a part of, one bit each.
    pub gates: u16,
    /// How long the gates of its type had been closed in all when it was assigned, in microseconds.
    pub closed_us: u64,
    /// Until when an external agent may still answer after its cancel or time-out.
    pub grace_us: Option<u64>,
}

impl Run {
    /// Whether a later daemon must know of it beyond what its task says: an external agent may
    /// still be at a task that was cancelled.
    #[must_use]
    pub(super) fn is_remembered(&self, of: AgentKind) -> bool {
        let is_external = matches!(of, AgentKind::External { .. });
        is_external && self.ending == Some(Ending::Cancelled)
    }
}

/// The end of one life of a process agent, as far as it is known. The life is over when both the
/// actor and the process tree are gone: the actor may still hold an answer that the process wrote
/// before it died.
#[derive(Clone, Debug, Default)]
pub(super) struct Dying {
    /// The first reason that anybody gave.
    pub cause: Option<Failure>,
    /// Whether its process tree was ordered to be killed.
    pub(super) killed: bool,
    /// Whether the actor reported its end.
    pub actor_gone: bool,
    /// The verified end of the process tree.
    pub tree_gone: Option<Exit>,
    /// Whether this death counts against the restart budget (rule 2).
    pub pardoned: bool,
}

impl Dying {
    /// Whether nothing is left to be done to its process tree: it is being killed, or gone.
    #[must_use]
    pub(super) const fn is_at_end(&self) -> bool {
        self.killed || self.tree_gone.is_some()
    }
}

/// The lease of an external agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lease {
    /// When it ends, in monotonic microseconds; `None`: not held, or held by an open call.
    pub until_us: Option<u64>,
    /// How many `assignment` calls are open.
    pub open_calls: u32,
    /// Whether its agent has not called since the daemon started, which gives it its full length to
    /// do so. Nobody counts on an agent that may be gone.
    pub unheard: bool,
}

impl Lease {
    /// Whether the agent counts as there.
    #[must_use]
    pub(super) const fn is_held(self) -> bool {
        (self.until_us.is_some() && !self.unheard) || self.open_calls > 0
    }
}

/// What an agent did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AgentStats {
    /// Tasks that it completed.
    pub completed: u64,
    /// Attempts on it that failed, by the task's doing or its own.
    pub failed: u64,
    /// Time from start to end of the completed ones, in microseconds.
    pub busy_us: u64,
    /// Fresh contexts begun: one per assignment.
    pub contexts: u64,
    /// Completed tasks and their time in microseconds, per type.
    pub by_type: PerType<(u64, u64)>,
}

/// A supervised worker of the pool.
#[derive(Debug)]
pub(super) struct Agent {
    /// Its id, for good.
    pub id: AgentId,
    /// What stands behind it.
    pub kind: AgentKind,
    /// What it takes.
    pub types: TaskTypes,
    /// Its present life.
    pub incarnation: Incarnation,
    /// What belongs to this life alone.
    pub ids: ContextIds,
    /// Whether it is fit for work.
    pub health: Health,
    /// Whether anything of its present process may be left; never of an external agent.
    pub alive: bool,
    /// What it does now.
    pub run: Option<Run>,
    /// The end of its present life, while that comes about; only of process agents.
    pub dying: Option<Dying>,
    /// Whether it is being removed, and until when its run may go on.
    pub leaving: Option<Leaving>,
    /// Its lease, for an external agent that has one.
    pub lease: Lease,
    /// Until when it counts as live while it is being started, in monotonic microseconds; past, it
    /// takes too long.
    pub due_us: Option<u64>,
    /// Whether it is counted among the live agents.
    pub is_live: bool,
    /// The status that was told last.
    pub said: Option<(Incarnation, AgentStatus, Health)>,
    /// How fast it is.
    pub affinity: Affinity,
    /// What it did so far.
    pub stats: AgentStats,
    /// What stands behind it now: process id and working directory.
    pub process: Option<ProcessFacts>,
}

/// An agent on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// When its run is stopped, in monotonic microseconds; `None`: it was.
    pub until_us: Option<u64>,
    /// How long its run got, in microseconds; never more is left of that.
    pub drain_us: u64,
    /// Whether its task is cancelled when it comes back (rule 17).
    pub discard: bool,
}

/// The process of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFacts {
    /// The worker.
    pub pid: u32,
    /// Its launcher.
    pub launcher_pid: u32,
    /// When the launcher began, in clock ticks since the boot.
    pub launcher_start_ticks: u64,
    /// The directory that only it writes to.
    pub workdir: String,
    /// What its launcher enforced on it; `None`: nothing, or it did not say.
    pub confinement: Option<Arc<Confinement>>,
}

impl Agent {
    /// An agent in this life that has done nothing yet and has no process.
    #[must_use]
    pub(super) fn new(
        id: AgentId,
        kind: AgentKind,
        types: TaskTypes,
        incarnation: Incarnation,
        ids: ContextIds,
        health: Health,
    ) -> Self {
        Self {
            id,
            kind,
            types,
            incarnation,
            ids,
            health,
            alive: false,
            run: None,
            dying: None,
            leaving: None,
            lease: Lease::default(),
            due_us: None,
            is_live: false,
            said: None,
            affinity: Affinity::default(),
            stats: AgentStats::default(),
            process: None,
        }
    }

    /// What a client sees of its state.
    #[must_use]
    pub(super) fn status(&self) -> AgentStatus {
        match (&self.health, &self.run) {
            (Health::Degraded { .. }, _) => AgentStatus::Degraded,
            (Health::Fit, None) if self.leaving.is_some() => AgentStatus::Degraded,
            (Health::Fit, None) => AgentStatus::Idle,
            (Health::Fit, Some(run)) if run.started => AgentStatus::Executing,
            (Health::Fit, Some(_)) => AgentStatus::Analyzing,
        }
    }

    /// Why it is degraded, and a sentence about it.
    #[must_use]
    pub(super) fn status_reason(&self) -> Option<(StatusReason, &str)> {
        match &self.health {
            Health::Degraded { reason, detail } => Some((*reason, detail)),
            Health::Fit if self.leaving.is_some() && self.run.is_none() => {
                Some((StatusReason::Leaving, ""))
            }
            Health::Fit => None,
        }
    }

    /// Whether it may be given a task now.
    #[must_use]
    pub(super) fn is_candidate(&self) -> bool {
        self.is_there() && self.run.is_none()
    }

    /// Whether it is fit for work, at which it may be, and stays.
    #[must_use]
    pub(super) fn is_there(&self) -> bool {
        let here = match self.kind {
            AgentKind::External { lease_us: Some(_) } => self.lease.is_held(),
            AgentKind::External { lease_us: None } | AgentKind::Process => true,
        };
        here && self.health == Health::Fit && self.leaving.is_none()
    }

    /// Whether it is being started, or will be by itself soon, to stay.
    #[must_use]
    pub(super) fn is_coming(&self) -> bool {
        let Health::Degraded { reason, .. } = &self.health else { return false };
        let comes = matches!(
            reason,
            StatusReason::Starting | StatusReason::Restarting | StatusReason::Failed
        );
        comes && self.is_process() && self.leaving.is_none()
    }

    /// The end of its present life, which begins here unless it has begun. A death after a cancel,
    /// a time-out or an order is pardoned (rule 2); what comes after the death pardons nothing.
    pub(super) fn begin_dying(&mut self) -> &mut Dying {
        let pardoned = self.run.as_ref().is_some_and(|run| run.ending.is_some());
        self.dying.get_or_insert_with(|| Dying { pardoned, ..Dying::default() })
    }

    /// Takes a fit agent out of service; why in words comes later.
    pub(super) fn degrade_if_fit(&mut self, reason: StatusReason) {
        if self.health == Health::Fit {
            self.health = Health::Degraded { reason, detail: String::new() };
        }
    }

    /// Whether a process stands behind it.
    #[must_use]
    pub(super) const fn is_process(&self) -> bool {
        matches!(self.kind, AgentKind::Process)
    }
}
