//! Checks how far the agents are kept apart: when one starts, when somebody asks, and now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, WrapFuture};
use slog::{Logger, warn};
use tokio::sync::{Notify, OwnedMutexGuard};
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

/// How long a listing of agents waits for a check. It says what is known then: whatever keeps the
/// kernel from answering for one process must not keep anybody from seeing the others.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long agents that start one after the other are waited for, to be checked at once.
const GATHER: Duration = Duration::from_millis(100);

/// The one place that decides whether agents are kept apart.
#[derive(Debug)]
pub(crate) struct Auditor {
    router: Addr<Router>,
    call_timeout: Duration,
    clock: Clock,
    /// The names of the variables that a worker is given.
    given: BTreeSet<String>,
    log: Logger,
    /// Held during a check, so that there is one at a time.
    turn: Turn,
    last: Mutex<Last>,
}

/// Whoever holds it may look.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// The last check.
#[derive(Debug, Default)]
struct Last {
    /// When, and which lives it was about.
    of: Option<(u64, Vec<Life>)>,
    breaches: Breaches,
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
        let given = given.into_iter().map(|(name, _)| name).collect();
        let (turn, last) = (Turn::default(), Mutex::default());
        Self { router, call_timeout, clock, given, log, turn, last }
    }

    /// Measures now.
    ///
    /// # Errors
    /// See [`CallError`]; `NoAnswer` also when the kernel does not answer for some process.
    pub(crate) async fn report(self: &Arc<Self>) -> Result<IsolationReport, CallError> {
        let within = self.call_timeout;
        let checked = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            let views = ask(&self.router, within, ListAgents).await?;
            self.check(views, turn).await
        };
        let checked = tokio::time::timeout(within, checked).await;
        checked.unwrap_or(Err(CallError::NoAnswer(within)))
    }

    /// The issues of these agents, measured now or a moment ago; what was known before when that
    /// takes long.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(crate) async fn issues(
        self: &Arc<Self>,
        views: &[AgentView],
    ) -> Result<BTreeMap<AgentId, Vec<Issue>>, CallError> {
        let checked = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            if !self.last().is_fresh(self.clock.mono_us(), views) {
                self.check(views.to_vec(), turn).await?;
            }
            Ok::<(), CallError>(())
        };
        let within = PATIENCE.min(self.call_timeout);
        if let Ok(checked) = tokio::time::timeout(within, checked).await {
            checked?;
        }
        Ok(self.last().breaches.of(views))
    }

    /// What was found so far.
    pub(crate) fn metrics(&self) -> IsolationMetrics {
        let breaches = &self.last().breaches;
        IsolationMetrics {
            breaches: breaches.now.len() as u64,
            breaches_found: breaches.found,
            checks: breaches.checks,
        }
    }

    /// It goes on, and counts, when nobody waits for it any more.
    async fn check(
        self: &Arc<Self>,
        views: Vec<AgentView>,
        turn: OwnedMutexGuard<()>,
    ) -> Result<IsolationReport, CallError> {
        let auditor = Arc::clone(self);
        let check = move || {
            let report = look(&views, &auditor.given);
            auditor.note(&report, &views);
            report
        };
        in_turn(turn, check).await
    }

    /// Counts the breaches, and logs those that were not there at the last check.
    fn note(&self, report: &IsolationReport, views: &[AgentView]) {
        let now = report.agents.iter().flat_map(|agent| {
            let life = (agent.agent_id, agent.incarnation);
            agent.issues.iter().map(move |issue| (life.0, life.1, issue.clone()))
        });
        let new = {
            let mut last = self.last();
            last.of = Some((self.clock.mono_us(), lives(views)));
            last.breaches.take(now.collect())
        };
        for (agent, incarnation, issue) in new {
            self.tell(agent, incarnation, &issue.sentence);
        }
    }

    /// Counts and logs a breach that somebody found in another way than by a look.
    pub(crate) fn found(&self, agent: AgentId, incarnation: Incarnation, sentence: &str) {
        self.last().breaches.found += 1;
        self.tell(agent, incarnation, sentence);
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, agent: AgentId, incarnation: Incarnation, sentence: &str) {
        warn!(self.log, "isolation_breach";
            "issue" => sentence, "incarnation" => incarnation.get(), "agent_id" => %agent);
    }
}

/// Runs `work` on a thread that may block. The turn ends with it and not with whoever waits for it.
async fn in_turn<T: Send + 'static>(
    turn: OwnedMutexGuard<()>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CallError> {
    blocking(move || {
        let _until_it_is_done = turn;
        work()
    })
    .await
}

impl Last {
    fn is_fresh(&self, now_us: u64, views: &[AgentView]) -> bool {
        self.of.as_ref().is_some_and(|(at_us, of)| {
            now_us.saturating_sub(*at_us) < FRESH_US && *of == lives(views)
        })
    }
}

impl Breaches {
    /// What was found of these lives.
    fn of(&self, views: &[AgentView]) -> BTreeMap<AgentId, Vec<Issue>> {
        let mut issues: BTreeMap<AgentId, Vec<Issue>> = BTreeMap::new();
        for (agent, incarnation, issue) in &self.now {
            if views.iter().any(|view| (view.id, view.incarnation) == (*agent, *incarnation)) {
                issues.entry(*agent).or_default().push(issue.clone());
            }
        }
        issues
    }

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
                // It fails when the daemon ends, is too busy to say who is there, or the kernel does
                // not answer for some process.
                let _next_time = auditor.report().await;
            }
        };
        ctx.spawn(checks.into_actor(self));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::actors::tests::agent;

    impl Auditor {
        /// Looks for as long as it is held.
        pub(in crate::actors) async fn look_for_long(&self) -> OwnedMutexGuard<()> {
            Arc::clone(&self.turn).lock_owned().await
        }

        /// A breach that the last look found.
        pub(in crate::actors) fn know(&self, agent: AgentId, incarnation: Incarnation, what: &str) {
            let issue = Issue { what: what.to_owned(), sentence: what.to_owned() };
            self.last().breaches.now.insert((agent, incarnation, issue));
        }
    }

    #[tokio::test]
    async fn a_look_keeps_its_turn_when_nobody_waits_for_it_any_more() {
        let turn = Turn::default();
        let (begun, has_begun) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let work = move || {
            begun.send(()).expect("somebody waits for it");
            ends.recv().expect("it is told");
        };
        let waiting = tokio::spawn(in_turn(Arc::clone(&turn).lock_owned().await, work));
        tokio::task::spawn_blocking(move || has_begun.recv()).await.unwrap().unwrap();
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert!(turn.try_lock().is_err(), "there would be two looks");
        end.send(()).expect("it still runs");
        let patience = Duration::from_secs(20);
        let next = tokio::time::timeout(patience, turn.lock()).await;
        assert!(next.is_ok(), "it has ended");
    }

    #[test]
    fn what_is_known_is_known_of_one_life() {
        let mut view = agent(1);
        let issue = Issue { what: "x".to_owned(), sentence: "x".to_owned() };
        let mut breaches = Breaches::default();
        breaches.take([(view.id, view.incarnation, issue.clone())].into());
        assert_eq!(breaches.of(&[agent(2), view.clone()]), [(view.id, vec![issue])].into());
        view.incarnation = view.incarnation.next();
        assert_eq!(breaches.of(&[view]), BTreeMap::new());
    }

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
