//! What cannot be seen from outside: the order of what two actors do within a moment.

mod follow_ups;

use std::fmt;
use std::sync::Mutex;

use actix::Handler;
use slog::{Discard, Drain, KV, Key, Logger, OwnedKVList, Record, Serializer, o};

use super::*;
use crate::actors::clock::wall_us;
use crate::actors::fatal::Fatal;
use crate::actors::messages::{AgentAdded, Committed, Resumed};
use crate::domain::{AgentKind, Gates, Limits, TaskTypes};
use crate::store::{MemoryStore, Retention};
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
    let retention = Retention::new(u64::MAX, wall_us, Arc::new(Gauges::new(0)));
    let ledger = Ledger::here(Box::new(MemoryStore::new()), retention);
    router(scheduler, effects, pulse, ledger, Logger::root(Discard, o!()))
}

fn router(
    scheduler: Scheduler,
    effects: Vec<Effect>,
    pulse: &Arc<Pulse>,
    ledger: Ledger,
    log: Logger,
) -> Router {
    let fatal = Fatal::new();
    let clock = Clock::start();
    let spawner = Spawner::start(SpawnerOptions {
        sandbox: None,
        launcher: "/no/launcher".into(),
        store_id: "none".to_owned(),
        log: log.clone(),
        on_panic: Box::new(|| {}),
    });
    let means = Means {
        ledger,
        gauges: Arc::new(Gauges::new(0)),
        history: HistoryReader::start(Vec::new(), &fatal, log.clone()),
        clock,
        pulse: Arc::clone(pulse),
        spawner: spawner.expect("the spawner starts"),
        events: EventLog::new(log, clock),
        ready: Arc::default(),
        follow_ups: Vec::new(),
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

/// Keeps the times of the lines.
#[derive(Clone, Debug, Default)]
struct Times(Arc<Mutex<Vec<i64>>>);

impl Drain for Times {
    type Ok = ();
    type Err = slog::Error;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), slog::Error> {
        record.kv().serialize(record, &mut self.clone())
    }
}

impl Serializer for Times {
    fn emit_arguments(&mut self, _: Key, _: &fmt::Arguments<'_>) -> slog::Result {
        Ok(())
    }

    fn emit_i64(&mut self, key: Key, value: i64) -> slog::Result {
        if key == "ts" {
            self.0.lock().expect("nobody panics with it").push(value);
        }
        Ok(())
    }

    fn emit_serde(&mut self, _: Key, _: &dyn slog::SerdeValue) -> slog::Result {
        Ok(())
    }
}

#[test]
fn an_event_that_waits_for_the_disk_is_told_with_the_time_at_which_it_happened() {
    actix::System::new().block_on(async {
        let times = Times::default();
        let log = Logger::root(times.clone().fuse(), o!());
        Router::create(|ctx| {
            let scheduler = Scheduler::new(Limits::default(), Gates::default());
            let pulse = Arc::new(Pulse::new(LEASE_US));
            // The disk hangs.
            let (ledger, _nobody_writes) = Ledger::to_thread(Arc::new(Gauges::new(0)));
            let mut router = router(scheduler, Vec::new(), &pulse, ledger, log);
            let id = AgentId::from_uuid(Uuid::new_v4());
            let (kind, types) = (AgentKind::External { lease_us: None }, TaskTypes::ALL);
            let before = wall_us();
            router.handle(AgentAdded { id, kind, types, ids: fresh_ids(), target: 1 }, ctx);
            let after = wall_us();
            assert!(times.0.lock().unwrap().is_empty(), "nothing is told before it is on disk");
            while wall_us() <= after {}
            router.handle(Committed(1), ctx);
            let times = times.0.lock().unwrap();
            let happened = |ts: &i64| (before..=after).contains(&ts.unsigned_abs());
            assert!(!times.is_empty() && times.iter().all(happened), "{times:?}, {after}");
            router
        });
    });
}
