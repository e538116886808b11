//! Recurring jobs keep their times through ends of the daemon, standstills and turned clocks.

use proptest::collection::vec;
use proptest::prelude::*;

use super::jobs::{HOUR, Jobs, MINUTE, cron, every};
use super::world::seconds;
use crate::domain::{Jitter, SECOND_US, ScheduleSpec};

#[test]
fn what_was_missed_while_the_daemon_was_down_is_one_run_and_the_grid_goes_on() {
    for spec in [every(60.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(spec);
        jobs.pass(60.0);
        jobs.restart_after(20.0);
        jobs.pass(39.0);
        assert_eq!(jobs.ran(), [60.0], "nothing was missed");
        jobs.pass(1.0);
        assert_eq!(jobs.ran(), [120.0]);
        jobs.restart_after(HOUR + 5.0);
        assert_eq!(jobs.ran(), [120.0 + HOUR + 5.0], "at once");
        jobs.restart_after(0.0);
        assert_eq!(jobs.ran(), [0.0; 0], "that was it");
        jobs.pass(60.0);
        assert_eq!(jobs.ran(), [180.0 + HOUR]);
    }
}

#[test]
fn what_was_missed_is_one_run_also_when_the_next_time_came_while_it_was_late() {
    for when in [every(60.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(ScheduleSpec { jitter_us: seconds(59.0), ..when });
        jobs.world.crash_for(125.0, false);
        jobs.jitter = Jitter::FULL;
        jobs.load_only();
        jobs.jitter = Jitter::from_bits(0);
        jobs.run_due();
        jobs.pass(20.0);
        assert_eq!(jobs.ran(), [125.0], "the time of 120 went with that of 60");
    }
}

#[test]
fn a_daemon_that_never_lives_for_an_interval_runs_its_jobs_all_the_same() {
    let mut jobs = Jobs::of(every(HOUR));
    for _ in 0..12 {
        jobs.pass(10.0 * MINUTE);
        jobs.restart_after(MINUTE);
    }
    assert_eq!(jobs.ran().len(), 2, "in two hours and twelve minutes");
}

#[test]
fn a_stored_time_that_lies_ahead_is_not_believed() {
    for spec in [every(60.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(spec);
        jobs.pass(60.0 * MINUTE);
        jobs.ran();
        jobs.restart_after(-30.0 * MINUTE);
        jobs.pass(60.0);
        assert_eq!(jobs.ran(), [31.0 * MINUTE]);
        jobs.restart_after(0.0);
        jobs.pass(60.0);
        assert_eq!(jobs.ran(), [32.0 * MINUTE], "and was forgotten");
    }
}

#[test]
fn another_interval_or_pattern_begins_anew() {
    let other = [every(10.0), cron("* * * * *")];
    for (spec, first) in other.into_iter().zip([10.0, 60.0]) {
        let mut jobs = Jobs::of(every(HOUR));
        jobs.pass(HOUR);
        jobs.ran();
        jobs.specs = vec![spec];
        jobs.restart_after(30.0 * MINUTE);
        jobs.pass(60.0);
        assert_eq!(jobs.ran()[0], 90.0 * MINUTE + first, "no burst");
        assert!(jobs.view().runs > 1, "what it did is not forgotten");
    }
}

#[test]
fn a_job_that_is_gone_leaves_a_note_that_nobody_reads() {
    let mut jobs = Jobs::of(every(1.0));
    jobs.pass(1.0);
    jobs.specs.clear();
    jobs.restart_after(MINUTE);
    jobs.pass(MINUTE);
    assert_eq!(jobs.ran().len(), 1);
    assert!(jobs.world.scheduler.schedule_views(jobs.world.now).is_empty());
}

#[test]
fn a_note_that_cannot_be_read_is_as_none() {
    let mut jobs = Jobs::of(every(10.0));
    jobs.pass(10.0);
    jobs.world.disk.notes.insert("schedule:job".into(), "{\"runs\":\"many\"}".into());
    jobs.restart_after(5.0);
    jobs.pass(10.0);
    assert_eq!(jobs.ran(), [10.0, 25.0]);
}

#[test]
fn after_a_standstill_one_run_makes_up_for_all() {
    for spec in [every(60.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(spec);
        jobs.stand_still(600.0 + 5.0);
        assert_eq!(jobs.ran(), [605.0]);
        jobs.pass(60.0);
        assert_eq!(jobs.ran(), [660.0]);
    }
}

#[test]
fn a_clock_that_is_turned_does_not_move_an_interval() {
    let mut jobs = Jobs::of(every(60.0));
    for turn in [HOUR, -2.0 * HOUR, 3.0, -3.0] {
        let before = jobs.world.now.mono_us;
        jobs.turn_clock(turn);
        jobs.pass(59.0);
        assert_eq!(jobs.ran().len(), 0, "{turn}");
        jobs.pass(1.0);
        assert_eq!(jobs.ran().len(), 1, "{turn}");
        assert_eq!(jobs.world.now.mono_us - before, seconds(60.0));
    }
}

#[test]
fn a_clock_that_is_turned_forward_over_several_times_means_one_run_within_a_minute() {
    let mut jobs = Jobs::of(cron("0 * * * *"));
    jobs.pass(10.0 * MINUTE);
    jobs.turn_clock(5.0 * HOUR);
    jobs.pass(MINUTE);
    assert_eq!(jobs.ran().len(), 1);
    jobs.pass(49.0 * MINUTE);
    assert_eq!(jobs.ran(), [6.0 * HOUR], "then it goes on");
}

#[test]
fn a_clock_that_is_turned_back_means_that_the_pattern_applies_to_the_new_time() {
    let mut jobs = Jobs::of(cron("0 * * * *"));
    jobs.pass(5.5 * HOUR);
    assert_eq!(jobs.ran().len(), 5);
    jobs.turn_clock(-3.0 * HOUR);
    jobs.pass(HOUR);
    assert_eq!(jobs.ran(), [3.0 * HOUR], "not after three hours");
    assert_eq!(jobs.view().next_run_us.map(|us| us / SECOND_US % 86_400), Some(4 * 3_600));
    // It is noticed within a minute, and what lies in that minute is not missed.
    jobs.turn_clock(-30.1 * MINUTE);
    jobs.pass(MINUTE);
    assert_eq!(jobs.ran().len(), 1);
    jobs.pass(58.0 * MINUTE);
    assert_eq!(jobs.ran().len(), 0);
}

#[test]
fn a_clock_that_is_kept_in_step_runs_nothing_twice() {
    let mut jobs = Jobs::of(cron("* * * * *"));
    jobs.pass(60.0);
    for _ in 0..10 {
        jobs.turn_clock(-0.5);
        jobs.pass(60.0);
    }
    let ran = jobs.ran();
    let minutes: Vec<_> = ran.iter().map(|s| (s / 60.0).floor() as u32).collect();
    assert_eq!(minutes, (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_crash_before_the_commit_of_a_run_makes_it_again_and_one_after_it_does_not() {
    for (lost_after, runs) in [(1, 1), (2, 1)] {
        let mut jobs = Jobs::of(every(60.0));
        jobs.world.lost_after = Some(lost_after);
        jobs.tasks_end = false;
        jobs.pass(60.0);
        jobs.restart_after(1.0);
        let tasks = jobs.world.disk.all().count();
        assert_eq!((tasks, jobs.view().runs), (runs, runs as u64), "{lost_after}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u32),
    Restart(i32),
    Turn(i32),
    StandStill(u32),
    Pause,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..400_u32).prop_map(Step::Pass),
        1 => (-2_000..4_000_i32).prop_map(Step::Restart),
        1 => (-4_000..4_000_i32).prop_map(Step::Turn),
        1 => (1..2_000_u32).prop_map(Step::StandStill),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// While time passes there are as many runs as the grid has times, never more; whatever happens
    /// to the daemon or its clock adds one at most.
    #[test]
    fn whatever_happens_there_is_no_burst_and_no_silence(
        steps in vec(step(), 1..40),
        is_cron in any::<bool>(),
        bits in any::<u16>(),
        jitter_s in 0..30_u32,
    ) {
        let spec = if is_cron { cron("* * * * *") } else { every(60.0) };
        let mut jobs = Jobs::of(ScheduleSpec { jitter_us: seconds(f64::from(jitter_s)), ..spec });
        jobs.world.unchecked = true;
        jobs.jitter = Jitter::from_bits(bits);
        let (mut passed_s, mut shocks, mut paused, mut turned_back) = (0.0, 0, false, false);
        let mut quiet_s = 0.0; // since the last run, or since it was resumed
        for step in steps {
            let before = jobs.ran.len();
            let mut here_s = 0.0;
            match step {
                Step::Pass(s) => {
                    jobs.pass(f64::from(s));
                    here_s = f64::from(s);
                }
                Step::Restart(s) => {
                    jobs.restart_after(f64::from(s));
                    shocks += 1;
                    // What lies ahead is not believed, and the grid begins anew.
                    if s < 0 || std::mem::take(&mut turned_back) {
                        quiet_s = 0.0;
                    }
                }
                Step::Turn(s) => {
                    jobs.turn_clock(f64::from(s));
                    shocks += 1;
                    turned_back |= s < 0;
                }
                Step::StandStill(s) => {
                    jobs.stand_still(f64::from(s));
                    shocks += 1;
                }
                Step::Pause => {
                    jobs.pause();
                    paused = true;
                }
                Step::Resume => {
                    jobs.resume();
                    // A grid that begins anew may be up to an interval ahead of the old one.
                    shocks += u32::from(paused);
                    paused = false;
                    quiet_s = 0.0;
                }
            }
            if paused {
                prop_assert_eq!(jobs.ran.len(), before, "it is paused");
                continue;
            }
            passed_s += here_s;
            quiet_s = if jobs.ran.len() > before { 0.0 } else { quiet_s + here_s };
            let late_s = f64::from(jitter_s);
            // A step back by a second or less leaves the pattern where it is.
            prop_assert!(quiet_s <= 60.0 + late_s + 1.0, "silent for {} s", quiet_s);
            // A change of the clock is noticed within a minute, and another restart may follow.
            let most = (passed_s / 60.0) as usize + 1 + 2 * shocks as usize;
            prop_assert!(jobs.ran.len() <= most, "{} runs, at most {most}", jobs.ran.len());
        }
    }
}
