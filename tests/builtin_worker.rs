//! The built-in worker, under its launcher.

#[expect(dead_code, reason = "shared with other tests")]
mod support;

use std::time::Duration;

use daedalus::domain::{Exit, Report};
use daedalus::worker::proc;
use daedalus::worker::protocol::{FromWorker, ToWorker};
use serde_json::json;
use support::{Pool, run};

#[test]
fn a_cancel_stops_sleep_and_spin_with_one_last_frame() {
    run(async {
        let pool = Pool::new();
        let mut agent = pool.worker().await;
        for action in ["sleep", "spin"] {
            let lease = agent.begin(&json!({"action": action, "seconds": 1000})).await;
            let (task_id, attempt) = lease;
            let cancel = ToWorker::Cancel { task_id, attempt, reason: "test" };
            agent.send(&cancel);
            assert_eq!(agent.report(lease).await, Report::Cancelled { usage: None });
            agent.send(&cancel);
            assert_eq!(agent.frame().await, FromWorker::CancelIgnored, "it is over");
        }
        let used = proc::tree_cpu_time(agent.launcher);
        agent.result(&json!({"action": "spin", "seconds": 0.1})).await;
        assert!(proc::tree_cpu_time(agent.launcher) > used);
        assert_eq!(agent.result(&json!({"action": "sleep", "seconds": 0.01})).await, json!({}));
    });
}

#[test]
fn a_payload_that_makes_no_sense_is_an_error_of_the_task() {
    run(async {
        let pool = Pool::new();
        let mut agent = pool.worker().await;
        for (payload, code, retryable, part) in [
            (json!({}), "bad_payload", false, "action must be one of: echo, sleep"),
            (json!({"action": "dance"}), "bad_payload", false, "action must be one of: echo"),
            (json!({"action": 5}), "bad_payload", false, "action must be one of: echo"),
            (json!({"action": "echo"}), "bad_payload", false, "missing field `value`"),
            (json!({"action": "sleep", "seconds": "x"}), "bad_payload", false, "expected f64"),
            (json!({"action": "sleep", "seconds": -1}), "bad_payload", false, "seconds"),
            (json!({"action": "crash", "signal": 99}), "bad_payload", false, "between 1 and 31"),
            (json!({"action": "fail"}), "asked_to_fail", false, ""),
            (json!({"action": "fail", "retryable": true}), "asked_to_fail", true, ""),
            (
                json!({"action": "echo", "value": "x".repeat(support::MAX_FRAME - 300)}),
                "result_too_large",
                false,
                "65536 bytes",
            ),
        ] {
            let Report::Failed { error, .. } = agent.work(&payload).await else {
                panic!("{payload} did not fail");
            };
            assert_eq!((&*error.code, error.retryable), (code, retryable), "{payload}");
            assert!(error.message.contains(part), "{}", error.message);
        }
    });
}

#[test]
fn a_broken_protocol_is_noticed() {
    run(async {
        let pool = Pool::new();
        for (action, part) in [
            ("garbage", "a frame is not a JSON object with a type"),
            ("huge", "a frame is longer than 65536 bytes"),
        ] {
            let mut agent = pool.worker().await;
            agent.begin(&json!({"action": action})).await;
            let error = agent.next().await.unwrap_err().to_string();
            assert!(error.starts_with(part), "{error}");
        }
        let mut agent = pool.worker().await;
        let lease = agent.begin(&json!({"action": "twice"})).await;
        agent.report(lease).await;
        agent.report(lease).await;
        let lease = agent.begin(&json!({"action": "wrong_task"})).await;
        let FromWorker::Ended { task_id, .. } = agent.frame().await else { panic!("no end") };
        assert_ne!(task_id, lease.0);
    });
}

#[test]
fn a_worker_ends_as_it_is_told() {
    run(async {
        let pool = Pool::new();
        for (payload, expected) in [
            (json!({"action": "crash"}), Exit::Signal(9)),
            (json!({"action": "crash", "signal": 11}), Exit::Signal(11)),
            (json!({"action": "crash", "signal": 6}), Exit::Signal(6)),
            (json!({"action": "exit", "code": 7}), Exit::Code(7)),
        ] {
            let mut agent = pool.worker().await;
            agent.begin(&payload).await;
            assert_eq!(agent.news.gone().await.0, expected, "{payload}");
        }
        let worker = env!("CARGO_BIN_EXE_daedalus");
        for (arguments, expected) in [
            (&["--exit-at-start", "65"][..], Exit::Code(65)),
            (&["--crash-at-start"], Exit::Signal(9)),
        ] {
            let mut agent = pool.process(&[&[worker, "worker"], arguments].concat()).await;
            assert_eq!(agent.news.gone().await.0, expected, "{arguments:?}");
        }
        let mut agent = pool.process(&[worker, "worker", "--silent"]).await;
        let moment = Duration::from_millis(200);
        assert!(tokio::time::timeout(moment, agent.reader.next()).await.is_err());
    });
}

#[test]
fn starts_and_ends_are_recorded_when_asked_for() {
    run(async {
        let pool = Pool::new();
        let mut spec = pool.spec(&[]);
        let place = spec.workdir.display().to_string();
        spec.env = vec![("DAEDALUS_RECORD".into(), place)];
        let mut agent = pool.launch(spec).started().await;
        agent.shake_hands().await;
        let lease = agent.begin(&json!({"action": "echo", "value": 1})).await;
        agent.report(lease).await;
        let runs = std::fs::read_to_string(agent.spec.workdir.join("runs")).unwrap();
        assert_eq!(runs, format!("{0} 1 start\n{0} 1 end\n", lease.0));
    });
}
