//! What cannot be seen from outside: the order of what two actors do within a moment.

use actix::Handler;
use slog::{Discard, Logger, o};

use super::*;
use crate::actors::fatal::Fatal;
use crate::actors::messages::Resumed;
use crate::domain::{AgentKind, Gates, Limits, TaskTypes};
use crate::store::MemoryStore;
use crate::worker::spawner::{Spawner, SpawnerOptions};

const LEASE_US: u64 = 3_600_000_000;

/// With one agent, whose lease ended long ago.
fn overdue(pulse: &Arc<Pulse>) -> Router {
    let (mut scheduler, mut effects) =
        (Scheduler::new(Limits::default(), Gates::default()), vec![]);
    let (agent, then) = (AgentId::from_uuid(Uuid::new_v4()), Now { mono_us: 0, wall_us: 0 });
    let kind = AgentKind::External { lease_us: Some(LEASE_US) };
    scheduler.add_agent(agent, kind, TaskTypes::ALL, fresh_ids(), then, &mut effects);
    scheduler.heartbeat(agent, None, fresh_ids(), then, &mut effects).expect("it is there");
    let (log, fatal) = (Logger::root(Discard, o!()), Fatal::new());
    let clock = Clock::start();
    let spawner = Spawner::start(SpawnerOptions {
        launcher: "/no/launcher".into(),
        store_id: "none".to_owned(),
        log: log.clone(),
        on_panic: Box::new(|| {}),
    });
    let means = Means {
        ledger: Ledger::here(Box::new(MemoryStore::new())),
        gauges: Arc::new(Gauges::new(0)),
        history: HistoryReader::start(Vec::new(), &fatal, log.clone()),
        clock,
        pulse: Arc::clone(pulse),
        spawner: spawner.expect("the spawner starts"),
        events: EventLog::new(log, clock),
        crash_only: fatal.guard("router"),
    };
    Router::new(scheduler, effects, means)
}

fn with_overdue(test: impl FnOnce(&mut Router, &Pulse, &mut Context<Router>)) {
    actix::System::new().block_on(async {
        let pulse = Arc::new(Pulse::new(LEASE_US));
        Router::create(|ctx| {
            let mut router = overdue(&pulse);
            test(&mut router, &pulse, ctx);
            router
        });
    });
}

#[test]
fn a_timer_that_fires_before_a_standstill_was_read_takes_no_deadline_at_its_word() {
    with_overdue(|router, pulse, ctx| {
        // The watcher has said it, counted it, and is well again; the Router is yet to read it.
        pulse.count_standstill();
        router.timer_fired(ctx);
        assert_eq!(router.scheduler.next_timeout(), Some(LEASE_US), "nobody was judged");
        let read_us = router.clock.mono_us();
        router.handle(Resumed { late_us: LEASE_US }, ctx);
        router.timer_fired(ctx);
        let lease_us = router.scheduler.next_timeout().expect("the lease goes on");
        assert!(lease_us >= read_us + LEASE_US, "in its full length");
    });
}

#[test]
fn a_timer_that_fires_without_a_standstill_does_what_is_due() {
    with_overdue(|router, _pulse, ctx| {
        router.timer_fired(ctx);
        assert_eq!(router.scheduler.next_timeout(), None, "the lease has ended");
    });
}
