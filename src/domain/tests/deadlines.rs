//! What always holds of deadlines and their timers.

use std::collections::BTreeSet;

use super::world::World;
use crate::domain::agent::Run;
use crate::domain::scheduler::{Inside, Scheduler};
use crate::domain::task::{Hold, TaskState};
use crate::domain::time::Now;
use crate::domain::timers::Timer;

/// Every deadline has its timer, and no other timer is left.
pub(super) fn check(world: &World, inside: Inside<'_>) {
    let timers: BTreeSet<_> = inside.timers.all().collect();
    let mut expected: BTreeSet<_> = world.scheduler.schedule_timers().collect();
    for task in inside.tasks.values() {
        let TaskState::Pending(wait) = task.state else { continue };
        match wait.hold {
            Hold::Backoff { until_us } => expected.insert((until_us, Timer::Backoff(task.seq))),
            Hold::Excluding { until_us: Some(at_us) } => {
                expected.insert((at_us, Timer::Relax(task.seq)))
            }
            Hold::Excluding { until_us: None } | Hold::Relaxed => false,
        };
    }
    for agent in inside.agents.values() {
        if let Some(run) = &agent.run {
            let passed = |at_us: u64| run.ending.is_some() && at_us <= world.now.mono_us;
            let Run { deadline_us, grace_us, .. } = *run;
            let timeout = (deadline_us, Timer::RunTimeout(agent.id));
            // A start may end a run whose time is over just then.
            if !passed(deadline_us) || timers.contains(&timeout) {
                expected.insert(timeout);
            }
            expected.extend(grace_us.map(|at_us| (at_us, Timer::Grace(agent.id))));
        }
        let due_us = agent.due_us.filter(|&at_us| at_us > world.now.mono_us);
        expected.extend(due_us.map(|at_us| (at_us, Timer::Start(agent.id))));
        expected.extend(agent.lease.until_us.map(|at_us| (at_us, Timer::Lease(agent.id))));
        let leave_us = agent.leaving.and_then(|leaving| leaving.until_us);
        expected.extend(leave_us.map(|at_us| (at_us, Timer::Leave(agent.id))));
    }
    for (index, gate) in inside.gates.iter().enumerate() {
        expected.extend(gate.held_until_us.map(|at_us| (at_us, Timer::GateHold(index))));
        expected.extend(gate.quiet_until_us.map(|at_us| (at_us, Timer::GateQuiet(index))));
        expected.extend(gate.look_us.map(|at_us| (at_us, Timer::GateWait(index))));
        let looks = !gate.is_open && gate.spec.max_wait_us.is_some();
        assert_eq!(gate.look_us.is_some(), looks, "who looks for what waits for an open gate?");
    }
    assert_eq!(timers, expected, "the timers are not the deadlines");
    assert_eq!(inside.timers.next(), timers.first().map(|&(at_us, _)| at_us));
}

/// After `handle_timeout`, nothing that it should have done is left. What others do because of it may
/// be due at once again, when there is no grace.
pub(super) fn nothing_due_is_left(scheduler: &Scheduler, now: Now) {
    let next = scheduler.next_timeout();
    assert!(next.is_none_or(|at_us| at_us > now.mono_us), "something due was left undone");
}
