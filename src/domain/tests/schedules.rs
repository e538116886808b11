//! Recurring jobs: when they run, what of them is skipped, and what operators do to them.

use super::jobs::{HOUR, Jobs, MINUTE, cron, every};
use super::world::{seconds, task};
use crate::domain::{Jitter, Overlap, Refusal, ScheduleSpec, TaskType, TraceId};

#[test]
fn a_job_runs_after_each_interval_the_first_time_after_one() {
    let mut jobs = Jobs::of(every(30.0));
    jobs.pass(29.0);
    assert_eq!(jobs.ran(), [0.0; 0]);
    jobs.pass(91.0);
    assert_eq!(jobs.ran(), [30.0, 60.0, 90.0, 120.0]);
    let view = jobs.view();
    assert_eq!((view.runs, view.skipped, view.last_skip), (4, 0, None));
    assert_eq!(view.last_task, Some(task("run4")));
    assert_eq!(view.last_run_us, Some(jobs.world.now.wall_us));
    assert_eq!(view.next_run_us, Some(jobs.world.now.wall_us + seconds(30.0)));
}

#[test]
fn its_task_is_as_configured_and_has_a_trace_of_its_own() {
    let mut jobs = Jobs::of(every(1.0));
    jobs.tasks_end = false;
    jobs.pass(1.0);
    let task = jobs.world.view("run1");
    assert_eq!(task.payload.as_str(), r#"{"a":1}"#);
    assert_eq!(task.summary.kind, TaskType::Heartbeat);
    assert_eq!(task.summary.priority.get(), 3);
    assert_eq!(task.summary.trace.as_str(), "run");
}

#[test]
fn a_pattern_runs_at_its_times_of_day() {
    let mut jobs = Jobs::of(cron("*/20 2,3 * * *"));
    assert_eq!(jobs.view().next_run_us, Some(jobs.world.now.wall_us + seconds(2.0 * HOUR)));
    jobs.pass(24.0 * HOUR);
    let minutes: Vec<_> = jobs.ran().into_iter().map(|s| s / MINUTE).collect();
    assert_eq!(minutes, [120.0, 140.0, 160.0, 180.0, 200.0, 220.0]);
}

#[test]
fn a_pattern_without_a_time_never_runs() {
    let mut jobs = Jobs::of(cron("0 0 30 2 *"));
    assert_eq!(jobs.view().next_run_us, None);
    jobs.pass(HOUR);
    assert_eq!(jobs.ran(), [0.0; 0]);
    assert!(jobs.order().is_ok());
}

#[test]
fn a_run_is_late_by_its_random_part_and_the_grid_stays() {
    for spec in [every(60.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(ScheduleSpec { jitter_us: seconds(10.0), ..spec });
        jobs.pass(30.0);
        let mut expected = vec![60.0]; // what was drawn at the start
        for (n, bits) in [(1_u16, u16::MAX), (2, u16::MAX / 2), (3, 0)] {
            jobs.jitter = Jitter::from_bits(bits); // for the run after this one
            jobs.pass(60.0);
            let late = 10.0 * f64::from(bits) / f64::from(u16::MAX);
            expected.push(f64::from(n + 1) * 60.0 + late);
        }
        jobs.pass(60.0);
        let ran = jobs.ran();
        let agree = |(ran, expected): (&f64, &f64)| (ran - expected).abs() < 0.001;
        assert!(ran.iter().zip(&expected).all(agree), "{ran:?} {expected:?}");
        assert_eq!(ran.len(), expected.len());
    }
}

#[test]
fn a_run_is_never_so_late_that_the_next_one_is_due() {
    let mut jobs = Jobs::of(ScheduleSpec { jitter_us: seconds(60.0), ..every(1.0) });
    jobs.jitter = Jitter::FULL;
    jobs.pass(1_000.5);
    assert!(jobs.ran().len() >= 999);
}

#[test]
fn a_job_whose_last_task_has_not_ended_is_skipped_or_queued() {
    for (overlap, runs, skipped) in [(Overlap::Skip, 1, 2), (Overlap::Queue, 3, 0)] {
        let mut jobs = Jobs::of(ScheduleSpec { overlap, ..every(1.0) });
        jobs.tasks_end = false;
        jobs.pass(3.0);
        assert_eq!((jobs.ran().len(), jobs.skipped.len()), (runs, skipped));
        let view = jobs.view();
        assert_eq!((view.runs, view.skipped), (runs as u64, skipped as u64));
    }
    let mut jobs = Jobs::of(every(1.0));
    jobs.tasks_end = false;
    jobs.pass(2.0);
    let skip = jobs.view().last_skip.unwrap();
    assert_eq!((&*skip.reason, skip.at_us), ("overlap", jobs.world.now.wall_us));
    jobs.restart_after(0.0);
    jobs.pass(1.0);
    assert_eq!(jobs.ran().len(), 1, "its task came back with the daemon");
    jobs.world.cancel("run1").unwrap();
    jobs.pass(1.0);
    assert_eq!(jobs.ran().len(), 1, "and has ended");
}

#[test]
fn a_run_that_finds_the_queue_full_is_skipped_and_counted_and_is_no_refused_submit() {
    let mut jobs = Jobs::with(every(1.0), |limits| limits.max_depth = 1);
    jobs.world.submit("t1", TaskType::General).unwrap();
    jobs.pass(2.0);
    assert_eq!((jobs.ran().len(), &jobs.skipped[..]), (0, &["queue_full"; 2][..]));
    assert_eq!(jobs.world.metrics().tasks_rejected, 0);
    jobs.world.cancel("t1").unwrap();
    jobs.pass(1.0);
    assert_eq!(jobs.ran(), [3.0], "the grid went on");
    let counts = jobs.world.metrics().schedules.remove(0);
    assert_eq!((counts.runs, counts.skipped["queue_full"]), (1, 2));
    jobs.world.scheduler.set_store_full(Some(64));
    jobs.pass(1.0);
    assert_eq!(jobs.skipped.pop(), Some("store_full"));
}

#[test]
fn nothing_is_due_while_the_daemon_stops() {
    for spec in [every(1.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(spec);
        jobs.world.drain();
        jobs.pass(5.0 * MINUTE);
        assert_eq!((jobs.ran().len(), jobs.skipped.len()), (0, 0));
        assert_eq!(jobs.order(), Err(Refusal::Draining));
        jobs.restart_after(0.0);
        assert_eq!(jobs.ran().len(), 1, "what was missed");
    }
}

#[test]
fn a_paused_job_is_not_due_until_it_is_resumed_and_makes_nothing_up() {
    for spec in [every(60.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(spec);
        jobs.pass(60.0);
        jobs.pause();
        jobs.pause();
        assert_eq!((jobs.view().paused, jobs.view().next_run_us), (true, None));
        jobs.pass(10.0 * MINUTE);
        jobs.restart_after(10.0 * MINUTE);
        jobs.pass(9.0 * MINUTE);
        assert_eq!(jobs.ran(), [60.0]);
        assert!(jobs.order().is_ok(), "by hand it runs");
        jobs.ran();
        jobs.resume();
        jobs.restart_after(0.0);
        assert_eq!(jobs.ran(), [0.0; 0]);
        jobs.pass(60.0);
        assert_eq!(jobs.ran(), [31.0 * MINUTE]);
        let now = jobs.view();
        jobs.resume();
        assert_eq!(jobs.view(), now, "it was not paused");
        assert!(jobs.world.effects.is_empty());
    }
}

#[test]
fn a_run_by_hand_is_a_submit_and_moves_nothing() {
    let mut jobs = Jobs::with(every(60.0), |limits| limits.max_depth = 2);
    jobs.tasks_end = false;
    let next = jobs.view().next_run_us;
    jobs.pass(30.0);
    jobs.order().unwrap();
    assert_eq!(jobs.order().unwrap().queue_position, Some(2), "whatever overlaps");
    assert!(matches!(jobs.order(), Err(Refusal::QueueFull { .. })));
    assert_eq!(jobs.world.metrics().tasks_rejected, 1);
    let view = jobs.view();
    assert_eq!((view.runs, view.skipped, view.next_run_us), (2, 0, next));
    assert_eq!(view.last_task, Some(task("run2")));
    jobs.pass(30.0);
    assert_eq!(jobs.skipped, ["overlap"], "it is the last task that counts");
}

#[test]
fn what_has_no_name_here_is_refused() {
    let mut jobs = Jobs::of(every(1.0));
    let trace = TraceId::parse("t").unwrap();
    let world = &mut jobs.world;
    let refused = Some(Refusal::ScheduleNotFound);
    assert_eq!(
        world.call(|s, now, fx| s.order_run("no", task("t"), trace, now, fx)).err(),
        refused
    );
    assert_eq!(world.call(|s, now, fx| s.pause_schedule("no", now, fx)).err(), refused);
    let jitter = Jitter::FULL;
    assert_eq!(world.call(|s, now, fx| s.resume_schedule("no", jitter, now, fx)).err(), refused);
}
