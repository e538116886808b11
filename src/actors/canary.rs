//! The canary: does a secret of one agent reach another one?
//!
//! Each idle process agent is told a secret of its own and hides it in every way it has; then each
//! looks for the secrets of the others in every way it has; then all of it is removed. No worker is
//! told the secret of another, so one that has it came by it. Busy agents are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use utoipa::ToSchema;
use uuid::Uuid;

use super::clock;
use super::isolation::Auditor;
use super::messages::{CanaryAnswer, CanaryStep, DoCanary, GiveUpCanary};
use super::worker_agent::WorkerAgent;
use crate::domain::{AgentId, AgentView, Incarnation};
use crate::worker::protocol::{CANARY_PREFIX, Find, Hints, Planted};

/// How long one worker may take for one step.
const STEP_WITHIN: Duration = Duration::from_secs(10);

/// How many look at the same time: a look is work, and has a limit of time.
const LOOKS_AT_ONCE: usize = 4;

/// How long an agent waits for its turn to look.
const TURN_WITHIN: Duration = Duration::from_secs(12);

/// How many leaks are told.
const MAX_LEAKS: usize = 1_000;

/// What came of one run.
#[derive(Clone, Debug)]
pub struct CanaryReport {
    /// When it ended, in microseconds since the Unix epoch.
    pub wall_us: u64,
    /// The number of the run.
    pub run: Uuid,
    /// Every process agent.
    pub agents: Vec<CanaryAgent>,
    /// Secrets that reached another agent.
    pub leaks: BTreeSet<Leak>,
}

/// What one agent did.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = CanaryAgent)]
pub struct CanaryAgent {
    /// The agent.
    pub agent_id: AgentId,
    /// Its life at that time.
    pub incarnation: Incarnation,
    /// How far it came.
    pub outcome: CanaryOutcome,
    /// Where its secret was.
    pub planted: Vec<String>,
    /// How it looked for those of the others, those ways included that are closed to it.
    pub tried: Vec<String>,
}

/// How far an agent came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CanaryOutcome {
    /// It hid its secret, and looked for those of the others.
    Checked,
    /// It had something else to do, at the beginning or in between.
    Skipped,
    /// Its worker does not know what a canary is.
    Unsupported,
    /// Its worker did not answer a step in time. When that was the last one, or it has a task that
    /// waits behind it, its life was ended.
    NoAnswer,
    /// Its life ended meanwhile.
    Gone,
}

/// A secret that reached another agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[schema(as = CanaryLeak)]
pub struct Leak {
    /// Whose secret it was.
    pub from: AgentId,
    /// Who found it.
    pub to: AgentId,
    /// How.
    pub way: String,
    /// Where.
    #[serde(rename = "where")]
    pub place: String,
}

/// One agent in a run.
struct Bird {
    view: AgentView,
    worker: Option<Addr<WorkerAgent>>,
    secret: String,
    outcome: CanaryOutcome,
    planted: Planted,
    tried: Vec<String>,
    found: Vec<Find>,
}

/// What an agent answered to a step, if it did.
enum Reply {
    Said(CanaryAnswer),
    Late,
    Gone,
}

/// Runs it once, with these process agents.
pub(super) async fn run(
    agents: Vec<(AgentView, Option<Addr<WorkerAgent>>)>,
    auditor: &Auditor,
) -> CanaryReport {
    let run = Uuid::new_v4();
    let mut birds: Vec<_> =
        agents.into_iter().map(|(view, worker)| Bird::new(run, view, worker)).collect();

    let plant = birds.iter().map(|bird| Some(CanaryStep::Plant(bird.secret.clone()))).collect();
    let replies = each(run, &birds, plant, Semaphore::MAX_PERMITS).await;
    let asked: Vec<_> = birds.iter_mut().zip(replies).map(|(bird, it)| bird.planted(it)).collect();

    let look = (0..birds.len()).map(|which| look(&birds, which)).collect();
    let replies = each(run, &birds, look, LOOKS_AT_ONCE).await;
    birds.iter_mut().zip(replies).for_each(|(bird, reply)| bird.looked(reply));

    let clear = asked.into_iter().map(|asked| asked.then_some(CanaryStep::Clear)).collect();
    let replies = each(run, &birds, clear, Semaphore::MAX_PERMITS).await;
    birds.iter_mut().zip(replies).for_each(|(bird, reply)| bird.cleared(run, reply.as_ref()));

    let leaks = leaks(&birds);
    tell_breaches(&leaks, &birds, auditor);
    let agents = birds.into_iter().map(CanaryAgent::from).collect();
    CanaryReport { wall_us: clock::wall_us(), run, agents, leaks }
}

impl Bird {
    fn new(run: Uuid, view: AgentView, worker: Option<Addr<WorkerAgent>>) -> Self {
        let secret = format!("{CANARY_PREFIX}{}-{}", run.as_simple(), Uuid::new_v4().as_simple());
        let (planted, tried, found) = (Planted::default(), Vec::new(), Vec::new());
        Self { view, worker, secret, outcome: CanaryOutcome::Skipped, planted, tried, found }
    }

    /// Returns whether something of the secret may be in its worker.
    fn planted(&mut self, reply: Option<Reply>) -> bool {
        match reply {
            // It is checked when it has looked, too.
            Some(Reply::Said(CanaryAnswer::Planted(planted))) => {
                self.outcome = CanaryOutcome::Checked;
                self.planted = planted;
                true
            }
            reply => {
                self.missed(reply.as_ref());
                self.outcome == CanaryOutcome::NoAnswer
            }
        }
    }

    fn looked(&mut self, reply: Option<Reply>) {
        if self.outcome != CanaryOutcome::Checked {
            return;
        }
        match reply {
            Some(Reply::Said(CanaryAnswer::Found(found))) => {
                (self.tried, self.found) = (found.tried, found.found);
            }
            reply => self.missed(reply.as_ref()),
        }
    }

    /// One that does not even say that its secret is gone is not known to be able to work; one that
    /// still owes an earlier step may have been given a task meanwhile, which waits behind that.
    fn cleared(&mut self, run: Uuid, reply: Option<&Reply>) {
        let is_late = matches!(reply, Some(Reply::Late));
        let is_busy = matches!(reply, Some(Reply::Said(CanaryAnswer::Busy)));
        let owes_a_step = is_busy && self.outcome == CanaryOutcome::NoAnswer;
        if let Some(worker) = self.worker.as_ref().filter(|_| is_late || owes_a_step) {
            self.outcome = CanaryOutcome::NoAnswer;
            worker.do_send(GiveUpCanary { run });
        }
    }

    const fn missed(&mut self, reply: Option<&Reply>) {
        self.outcome = match reply {
            Some(Reply::Said(CanaryAnswer::Unsupported)) => CanaryOutcome::Unsupported,
            Some(Reply::Late) => CanaryOutcome::NoAnswer,
            Some(Reply::Gone) => CanaryOutcome::Gone,
            // A step is answered by what belongs to it, or not at all.
            Some(Reply::Said(_)) | None => CanaryOutcome::Skipped,
        };
    }
}

/// What the look of one needs to know of the others; nothing for one that has not planted.
fn look(birds: &[Bird], which: usize) -> Option<CanaryStep> {
    if birds[which].outcome != CanaryOutcome::Checked {
        return None;
    }
    let mut hints = Hints::default();
    for (_, other) in birds.iter().enumerate().filter(|(other, _)| *other != which) {
        let process = other.view.process.iter();
        hints.pids.extend(process.clone().map(|process| process.pid).filter(|pid| *pid != 0));
        hints.workdirs.extend(process.map(|process| process.workdir.clone()));
        hints.ports.extend(other.planted.port);
        hints.sockets.extend(other.planted.socket.clone());
    }
    Some(CanaryStep::Look(hints))
}

/// Has each agent do its step, so many of them `at_once`. The answers are in the order of the
/// agents; those have none that have no step, no worker, or whose turn did not come in time.
async fn each(
    run: Uuid,
    birds: &[Bird],
    steps: Vec<Option<CanaryStep>>,
    at_once: usize,
) -> Vec<Option<Reply>> {
    let turns = Arc::new(Semaphore::new(at_once));
    let turn_until = Instant::now() + TURN_WITHIN;
    let mut replies: Vec<_> = birds.iter().map(|_| None).collect();
    let mut orders = JoinSet::new();
    for (which, (bird, step)) in birds.iter().zip(steps).enumerate() {
        let (Some(worker), Some(step)) = (bird.worker.clone(), step) else { continue };
        let turns = Arc::clone(&turns);
        orders.spawn(async move {
            // Nobody closes it, so it is the time alone that can be wrong.
            let Ok(_turn) = timeout_at(turn_until, turns.acquire()).await else {
                return (which, None);
            };
            (which, Some(order(&worker, run, step).await))
        });
    }
    while let Some(ordered) = orders.join_next().await {
        if let Ok((which, reply)) = ordered {
            replies[which] = reply;
        }
    }
    replies
}

async fn order(worker: &Addr<WorkerAgent>, run: Uuid, step: CanaryStep) -> Reply {
    let (answer, answered) = oneshot::channel();
    worker.do_send(DoCanary { run, step, answer });
    match timeout(STEP_WITHIN, answered).await {
        Ok(Ok(answer)) => Reply::Said(answer),
        Ok(Err(_its_life_ended)) => Reply::Gone,
        Err(_elapsed) => Reply::Late,
    }
}

/// What was found, with the agents instead of their secrets. Whose secret is found has hidden it,
/// whatever it said.
fn leaks(birds: &[Bird]) -> BTreeSet<Leak> {
    let owners: BTreeMap<_, _> =
        birds.iter().map(|bird| (bird.secret.as_str(), bird.view.id)).collect();
    let finds =
        birds.iter().flat_map(|bird| bird.found.iter().map(move |find| (bird.view.id, find)));
    let leaks = finds.filter_map(|(to, find)| {
        let from = *owners.get(find.token.as_str()).filter(|from| **from != to)?;
        Some(Leak {
            from,
            to,
            way: without_secrets(&find.way),
            place: without_secrets(&find.place),
        })
    });
    leaks.take(MAX_LEAKS).collect()
}

/// A worker names places as it likes, and a file may be called after what is in it.
fn without_secrets(text: &str) -> String {
    match text.split_once(CANARY_PREFIX) {
        Some((before, _secret)) => format!("{before}[secret]"),
        None => text.to_owned(),
    }
}

/// A secret that got out is a breach, of the agent whose it was: one for each agent that found it.
fn tell_breaches(leaks: &BTreeSet<Leak>, birds: &[Bird], auditor: &Auditor) {
    let mut ways: BTreeMap<(AgentId, AgentId), BTreeSet<&str>> = BTreeMap::new();
    for leak in leaks {
        ways.entry((leak.from, leak.to)).or_default().insert(&leak.way);
    }
    for ((from, to), ways) in ways {
        let Some(bird) = birds.iter().find(|bird| bird.view.id == from) else { continue };
        let ways: Vec<_> = ways.into_iter().collect();
        let sentence = format!("a secret of it was found by {to} ({})", ways.join(", "));
        auditor.found(from, bird.view.incarnation, &sentence);
    }
}

impl From<Bird> for CanaryAgent {
    fn from(bird: Bird) -> Self {
        let named = |ways: Vec<String>| ways.iter().map(|way| without_secrets(way)).collect();
        Self {
            agent_id: bird.view.id,
            incarnation: bird.view.incarnation,
            outcome: bird.outcome,
            planted: named(bird.planted.ways),
            tried: named(bird.tried),
        }
    }
}
