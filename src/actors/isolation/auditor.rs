//! Checks how far the agents are kept apart: when one starts, when somebody asks, and now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, WrapFuture};
use slog::{Logger, warn};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{IsolationReport, Issue, look};
use crate::actors::clock::Clock;
use crate::actors::fatal::PanicGuard;
use crate::actors::handle::{CallError, ask, blocking};
use crate::actors::messages::ListAgents;
use crate::actors::router::Router;
use crate::domain::{AgentId, AgentView, Incarnation, IsolationMetrics};
use crate::worker::environment;

/// How old a check may be to answer for the agents of a listing, which may be asked for often.
const FRESH_US: u64 = 1_000_000;

/// How long agents that start one after the other are waited for, to be checked at once.
const GATHER: Duration = Duration::from_millis(100);

/// The one place that decides whether agents are kept apart.
#[derive(Debug)]
pub(crate) struct Auditor {
    router: Addr<Router>,
    call_timeout: Duration,
    clock: Clock,
    /// The names of the variables that a worker is given.
    given: Arc<BTreeSet<String>>,
    log: Logger,
    /// Held during a check, so that there is one at a time.
    last: tokio::sync::Mutex<Option<Last>>,
    breaches: Mutex<Breaches>,
}

/// The last check.
#[derive(Debug)]
struct Last {
    at_us: u64,
    lives: Vec<Life>,
    issues: BTreeMap<AgentId, Vec<Issue>>,
}

/// What a check is about: an agent, its life and its process.
type Life = (AgentId, Incarnation, Option<u32>);

/// The breaches, as of the last check.
#[derive(Debug, Default)]
struct Breaches {
    now: BTreeSet<(AgentId, Incarnation, Issue)>,
    found: u64,
    checks: u64,
}

impl Auditor {
    /// One that has checked nothing. `env` is what the configuration gives to workers.
    pub(crate) fn new(
        router: Addr<Router>,
        call_timeout: Duration,
        clock: Clock,
        env: &[(String, String)],
        log: Logger,
    ) -> Self {
        let nobody = AgentId::from_uuid(Uuid::nil());
        let given = environment::build("", nobody, Path::new(""), env);
        let given = Arc::new(given.into_iter().map(|(name, _)| name).collect());
        let (last, breaches) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { router, call_timeout, clock, given, log, last, breaches }
    }

    /// Measures now.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(crate) async fn report(&self) -> Result<IsolationReport, CallError> {
        let mut last = self.last.lock().await;
        let views = ask(&self.router, self.call_timeout, ListAgents).await?;
        self.check(views, &mut last).await
    }

    /// The issues of these agents, measured now or a moment ago.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(crate) async fn issues(
        &self,
        views: &[AgentView],
    ) -> Result<BTreeMap<AgentId, Vec<Issue>>, CallError> {
        let mut last = self.last.lock().await;
        if let Some(last) = &*last
            && self.clock.mono_us().saturating_sub(last.at_us) < FRESH_US
            && last.lives == lives(views)
        {
            return Ok(last.issues.clone());
        }
        self.check(views.to_vec(), &mut last).await?;
        Ok(last.as_ref().map(|last| last.issues.clone()).unwrap_or_default())
    }

    /// What was found so far.
    pub(crate) fn metrics(&self) -> IsolationMetrics {
        let breaches = self.breaches.lock().unwrap_or_else(PoisonError::into_inner);
        IsolationMetrics {
            breaches: breaches.now.len() as u64,
            breaches_found: breaches.found,
            checks: breaches.checks,
        }
    }

    async fn check(
        &self,
        views: Vec<AgentView>,
        last: &mut Option<Last>,
    ) -> Result<IsolationReport, CallError> {
        let (lives, given) = (lives(&views), Arc::clone(&self.given));
        let report = blocking(move || look(&views, &given)).await?;
        self.note(&report);
        let issues = report.agents.iter().map(|agent| (agent.agent_id, agent.issues.clone()));
        *last = Some(Last { at_us: self.clock.mono_us(), lives, issues: issues.collect() });
        Ok(report)
    }

    /// Counts the breaches, and logs those that were not there at the last check.
    fn note(&self, report: &IsolationReport) {
        let now = report.agents.iter().flat_map(|agent| {
            let life = (agent.agent_id, agent.incarnation);
            agent.issues.iter().map(move |issue| (life.0, life.1, issue.clone()))
        });
        let new = {
            let mut breaches = self.breaches.lock().unwrap_or_else(PoisonError::into_inner);
            breaches.take(now.collect())
        };
        for (agent, incarnation, issue) in new {
            self.tell(agent, incarnation, &issue.sentence);
        }
    }

    /// Counts and logs a breach that somebody found in another way than by a look.
    pub(crate) fn found(&self, agent: AgentId, incarnation: Incarnation, sentence: &str) {
        self.breaches.lock().unwrap_or_else(PoisonError::into_inner).found += 1;
        self.tell(agent, incarnation, sentence);
    }

    fn tell(&self, agent: AgentId, incarnation: Incarnation, sentence: &str) {
        warn!(self.log, "isolation_breach";
            "issue" => sentence, "incarnation" => incarnation.get(), "agent_id" => %agent);
    }
}

impl Breaches {
    /// Takes what a check found. Returns what is new of it; a share with one more is not.
    fn take(
        &mut self,
        now: BTreeSet<(AgentId, Incarnation, Issue)>,
    ) -> Vec<(AgentId, Incarnation, Issue)> {
        let is_known = |new: &(AgentId, Incarnation, Issue)| {
            self.now.iter().any(|(agent, incarnation, issue)| {
                (*agent, *incarnation, &issue.what) == (new.0, new.1, &new.2.what)
            })
        };
        let new: Vec<_> = now.iter().filter(|breach| !is_known(breach)).cloned().collect();
        self.found += new.len() as u64;
        self.checks += 1;
        self.now = now;
        new
    }
}

fn lives(views: &[AgentView]) -> Vec<Life> {
    let pid = |view: &AgentView| view.process.as_ref().map(|process| process.pid);
    views.iter().map(|view| (view.id, view.incarnation, pid(view))).collect()
}

/// Makes the checks that nobody asks for.
#[derive(Debug)]
pub(crate) struct IsolationAuditor {
    auditor: Arc<Auditor>,
    /// Some agent is ready.
    ready: Arc<Notify>,
    /// How often when nothing happens; `None`: not at all.
    every: Option<Duration>,
    _crash_only: PanicGuard,
}

impl IsolationAuditor {
    pub(crate) const fn new(
        auditor: Arc<Auditor>,
        ready: Arc<Notify>,
        every: Option<Duration>,
        crash_only: PanicGuard,
    ) -> Self {
        Self { auditor, ready, every, _crash_only: crash_only }
    }
}

impl Actor for IsolationAuditor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (auditor, ready) = (Arc::clone(&self.auditor), Arc::clone(&self.ready));
        let every = self.every;
        let checks = async move {
            loop {
                let started = ready.notified();
                let is_start = match every {
                    Some(every) => tokio::time::timeout(every, started).await.is_ok(),
                    None => {
                        started.await;
                        true
                    }
                };
                if is_start {
                    tokio::time::sleep(GATHER).await;
                }
                // It fails when the daemon ends, or is too busy to say who is there.
                let _next_time = auditor.report().await;
            }
        };
        ctx.spawn(checks.into_actor(self));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breach_is_new_once_until_it_went_away() {
        let agent = AgentId::from_uuid(Uuid::nil());
        let breach = |what: &str, with: &str| {
            let issue = Issue { what: what.to_owned(), sentence: format!("{what} {with}") };
            (agent, Incarnation::FIRST, issue)
        };
        let mut breaches = Breaches::default();
        let (one, more) = (breach("file", "with b"), breach("file", "with b, c"));
        assert_eq!(breaches.take([one.clone()].into()), std::slice::from_ref(&one));
        assert_eq!(breaches.take([one.clone()].into()), []);
        assert_eq!(breaches.take([more].into()), [], "it is the same with one more");
        let other = breach("socket", "with b");
        assert_eq!(breaches.take([one.clone(), other.clone()].into()), [other]);
        assert_eq!(breaches.take([].into()), []);
        let again = breaches.take([one.clone()].into());
        assert_eq!(again, std::slice::from_ref(&one), "it came back");
        assert_eq!((breaches.found, breaches.checks, breaches.now.len()), (3, 6, 1));
        let next_life = (one.0, Incarnation::FIRST.next(), one.2);
        let again = breaches.take([next_life.clone()].into());
        assert_eq!(again, [next_life]);
    }
}
