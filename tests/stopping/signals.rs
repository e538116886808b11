//! The signal of the ladder hits the run that it was meant for, and never the next one.

use serde_json::json;

use super::super::daemon::Daemon;
use super::cancels::{Dice, seed};
use super::work::{over, started};

const ROUNDS: usize = 60;
const GRACE_MS: u64 = 200;
/// How far around the signal the answers come, in milliseconds.
const AROUND_MS: u64 = 4;

#[test]
fn an_answer_at_the_moment_of_the_signal_costs_the_next_task_nothing() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stopping/worker.py");
    let grace_s = GRACE_MS as f64 / 1e3;
    let daemon = Daemon::start(&format!(
        "[pool]\nsize = 1\nrestarts_max = 0\n[worker]\ncommand = ['python3', '-u', {program:?}]\n\
         cancel_grace_s = {grace_s}\nheartbeat_s = 60\n"
    ));
    daemon.all_idle(1);
    let mut dice = Dice(seed());
    let mut signalled = 0;
    // Around the signal, however slow the machine is.
    let mut middle_ms = GRACE_MS / 2;
    for round in 0..ROUNDS {
        let after_ms = (middle_ms + dice.below(2 * AROUND_MS)).saturating_sub(AROUND_MS);
        let payload = json!({"work": "late", "after_s": after_ms as f64 / 1e3});
        let stopped = daemon.submit_whole(&json!({"payload": payload, "timeout_s": 600}));
        started(&daemon, &stopped);
        let next = daemon.submit(json!({"seconds": 0.02}));
        daemon.ok("POST", &format!("/tasks/{stopped}/cancel"), None);
        let next = daemon.ended(&next);
        assert_eq!(
            (&next["status"], &next["attempt_count"], &next["failures"]),
            (&json!("completed"), &json!(1), &json!(0)),
            "round {round}, which answered after {after_ms} ms: {next}"
        );
        let stop = over(&daemon, &stopped)["attempts"][0]["stop"].clone();
        let too_late = stop["signalled_at"].is_f64();
        signalled += usize::from(too_late);
        middle_ms = if too_late { middle_ms.max(2) - 2 } else { middle_ms + 2 };
    }
    println!("{signalled} of {ROUNDS} were signalled");
    assert!((5..ROUNDS - 5).contains(&signalled), "the answers were not around the signal");
    daemon.assert_no_orphans(1);
}
