//! Recurring jobs of the real daemon. What a clock that is turned does to them is in
//! `src/domain/tests/schedules.rs`: nobody turns the clock of this machine.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL, text, wait_until};

/// A job called `job`, with these keys more.
fn with(keys: &str) -> String {
    format!("{EXTERNAL}[[schedule]]\nname = \"job\"\ntask_type = \"ingest\"\n{keys}\n")
}

fn job(daemon: &Daemon) -> Value {
    daemon.get("/schedules").ok()[0].clone()
}

/// The job when it has run so often.
fn after_runs(daemon: &Daemon, runs: u64) -> Value {
    wait_until(&format!("{runs} runs"), || {
        Some(job(daemon)).filter(|job| job["runs"].as_u64().unwrap() >= runs)
    })
}

fn after_skips(daemon: &Daemon, skips: u64) -> Value {
    wait_until(&format!("{skips} skips"), || {
        Some(job(daemon)).filter(|job| job["skipped"].as_u64().unwrap() >= skips)
    })
}

#[test]
fn the_jobs_of_the_shipped_file_are_done_by_the_built_in_worker() {
    let shipped = include_str!("../../config/daedalus.toml");
    let examples = shipped.lines().skip_while(|line| *line != "# [[schedule]]");
    let is_key = |line: &&str| line.starts_with("[[") || line.contains(" = ");
    let keys: Vec<_> = examples.filter_map(|line| line.strip_prefix("# ")).filter(is_key).collect();
    let daemon = Daemon::start(&format!("[pool]\nsize = 1\n{}", keys.join("\n")));
    for name in ["heartbeat", "ingest"] {
        let task = daemon.order(&format!("/schedules/{name}/run")).ok()["task_id"].clone();
        let task = wait_until("the task ends", || {
            Some(daemon.task(&text(&task))).filter(|task| task["completed_at"].is_number())
        });
        assert_eq!(task["status"], "completed", "{task}");
    }
}

fn pass(seconds: f64) {
    thread::sleep(Duration::from_secs_f64(seconds));
}

#[test]
fn jobs_are_shown_as_they_are_configured() {
    let config = format!(
        "{EXTERNAL}[[schedule]]\nname = \"a\"\nevery = \"12h\"\ntask_type = \"ingest\"\n\
         payload = {{ source = \"x\" }}\npriority = -5\noverlap = \"queue\"\njitter_s = 60\n\
         [[schedule]]\nname = \"b\"\ncron = \"30 2 * * *\"\ntask_type = \"heartbeat\"\n"
    );
    let daemon = Daemon::start(&config);
    let jobs = daemon.get("/schedules").ok();
    let due = |job: &Value| job["next_run_at"].as_f64().unwrap();
    let (first, second) = (due(&jobs[0]), due(&jobs[1]));
    assert!((second / 60.0 % 1440.0 - 150.0).abs() < 1e-6, "half past two: {second}");
    let expected = json!([
        {
            "name": "a", "task_type": "ingest", "payload": { "source": "x" }, "priority": -5,
            "every_s": 43_200.0, "cron": null, "jitter_s": 60.0, "overlap": "queue", "paused": false,
            "next_run_at": first, "last_run_at": null, "last_task_id": null, "runs": 0,
            "skipped": 0, "last_skip": null,
        },
        {
            "name": "b", "task_type": "heartbeat", "payload": {}, "priority": 0, "every_s": null,
            "cron": "30 2 * * *", "jitter_s": 0.0, "overlap": "skip", "paused": false,
            "next_run_at": second, "last_run_at": null, "last_task_id": null, "runs": 0,
            "skipped": 0, "last_skip": null,
        },
    ]);
    assert_eq!(jobs, expected);
    assert_eq!(Daemon::start(EXTERNAL).get("/schedules").ok(), json!([]));
}

#[test]
fn a_job_runs_again_and_again_on_its_grid_and_each_run_is_a_task_with_a_trace_of_its_own() {
    let daemon = Daemon::start(&with("every = \"1s\"\npayload = { n = 1 }\noverlap = \"queue\""));
    let shown = after_runs(&daemon, 3);
    let tasks = daemon.get("/tasks").ok()["tasks"].as_array().unwrap().clone();
    assert!(tasks.len() >= 3, "{tasks:?}");
    // The newest first; a busy machine is late at one time and not at the next.
    let ids: Vec<_> = tasks.iter().map(|task| text(&task["task_id"])).collect();
    assert!(ids.contains(&text(&shown["last_task_id"])));
    let task = daemon.task(&ids[0]);
    assert_eq!((&task["task_type"], &task["payload"]), (&json!("ingest"), &json!({ "n": 1 })));
    let mut traces: Vec<_> = tasks.iter().map(|task| text(&task["trace_id"])).collect();
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), tasks.len(), "of its own");
    let line = daemon.log_line("a run", |line| line["msg"] == "schedule_ran");
    assert_eq!((&line["schedule"], &line["level"]), (&json!("job"), &json!("info")));
    let task = daemon.task(&text(&line["task_id"]));
    assert_eq!(task["trace_id"], line["trace_id"]);
    let due = |job: &Value| job["next_run_at"].as_f64().unwrap();
    let later = after_runs(&daemon, shown["runs"].as_u64().unwrap() + 2);
    let apart = due(&later) - due(&shown);
    assert!((apart - apart.round()).abs() < 0.01, "the grid stays: {apart}");
}

#[test]
fn a_pattern_runs_at_its_times() {
    let daemon = Daemon::start(&with("cron = \"* * * * * *\"\noverlap = \"queue\""));
    let due = after_runs(&daemon, 2)["next_run_at"].as_f64().unwrap();
    assert!(due.fract() == 0.0, "at a whole second: {due}");
}

/// The most runs of a job of every second, with one made up, while the daemon lived for `lived`.
fn at_most(lived: Duration) -> u64 {
    lived.as_secs() + 2
}

#[test]
fn a_daemon_that_is_killed_goes_on_without_a_burst() {
    let mut daemon = Daemon::start(&with("every = \"1s\"\noverlap = \"queue\""));
    let begun = Instant::now();
    let before = after_runs(&daemon, 1)["runs"].as_u64().unwrap();
    daemon.kill();
    let mut lived = begun.elapsed();
    pass(4.5);
    let begun = Instant::now();
    daemon.start_again();
    let runs = after_runs(&daemon, before + 1)["runs"].as_u64().unwrap();
    lived += begun.elapsed();
    assert!(runs - before <= at_most(lived), "{runs} runs, {before} before: a burst");
    daemon.order("/schedules/job/pause").ok();
    let tasks = daemon.get("/tasks?limit=1000").ok()["tasks"].as_array().unwrap().len();
    assert_eq!(job(&daemon)["runs"], tasks, "a run and its task are one commit");
}

#[test]
fn a_daemon_that_stood_still_makes_one_run() {
    let watched = "[worker]\nheartbeat_s = 0.5\n";
    let config = with("every = \"1s\"\noverlap = \"queue\"").replace("[worker]\n", watched);
    let daemon = Daemon::start(&config);
    let begun = Instant::now();
    let before = after_runs(&daemon, 1)["runs"].as_u64().unwrap();
    daemon.signal(Signal::SIGSTOP);
    wait_until("it stands still", || daemon.is_stopped().then_some(()));
    let mut lived = begun.elapsed();
    pass(5.0);
    let begun = Instant::now();
    daemon.signal(Signal::SIGCONT);
    daemon.log_line("the standstill", |line| line["msg"] == "daemon_stood_still");
    let runs = after_runs(&daemon, before + 1)["runs"].as_u64().unwrap();
    lived += begun.elapsed();
    assert!(runs - before <= at_most(lived), "{runs} runs, {before} before: a burst");
}

#[test]
fn a_paused_job_stays_paused_over_a_restart_and_makes_nothing_up() {
    let mut daemon = Daemon::start(&with("every = \"1s\"\noverlap = \"queue\""));
    after_runs(&daemon, 1);
    let paused = daemon.order("/schedules/job/pause").ok();
    assert_eq!((&paused["paused"], &paused["next_run_at"]), (&json!(true), &Value::Null));
    let runs = paused["runs"].clone();
    daemon.start_again();
    pass(2.5);
    assert_eq!(job(&daemon), daemon.order("/schedules/job/pause").ok(), "it is paused already");
    assert_eq!(job(&daemon)["runs"], runs);
    let ran = daemon.order("/schedules/job/run").ok();
    assert_eq!(ran["status"], "pending", "by hand it runs");
    let resumed = daemon.order("/schedules/job/resume").ok();
    assert_eq!(resumed["runs"], runs.as_u64().unwrap() + 1, "nothing is made up");
    after_runs(&daemon, runs.as_u64().unwrap() + 2);
    daemon.log_line("it was resumed", |line| line["msg"] == "schedule_resumed");
}

#[test]
fn a_run_that_finds_the_queue_full_is_skipped_logged_and_counted() {
    let config = with("every = \"1s\"\noverlap = \"queue\"");
    let daemon = Daemon::start(&format!("[queue]\nmax_depth = 1\n{config}"));
    let waits = text(&after_runs(&daemon, 1)["last_task_id"]);
    let skipped = after_skips(&daemon, 2);
    assert_eq!(skipped["last_skip"]["reason"], "queue_full");
    assert_eq!(skipped["runs"], 1);
    let line = daemon.log_line("a skip", |line| line["msg"] == "schedule_skipped");
    let said = (&line["level"], &line["schedule"], &line["reason"]);
    assert_eq!(said, (&json!("warning"), &json!("job"), &json!("queue_full")));
    let metrics = daemon.metrics();
    assert!(metrics["schedules"][0]["skipped"]["queue_full"].as_u64() >= Some(2), "{metrics}");
    assert_eq!(metrics["tasks_rejected"], 0, "nobody submitted it");
    daemon.order("/schedules/job/run").refused(429, "queue_full");
    daemon.order(&format!("/tasks/{waits}/cancel")).ok();
    after_runs(&daemon, 2);
}

#[test]
fn a_run_whose_last_task_has_not_ended_is_skipped() {
    let daemon = Daemon::start(&with("every = \"1s\""));
    let first = text(&after_runs(&daemon, 1)["last_task_id"]);
    let skipped = after_skips(&daemon, 1);
    assert_eq!((&skipped["last_skip"]["reason"], &skipped["runs"]), (&json!("overlap"), &json!(1)));
    let line = daemon.log_line("a skip", |line| line["msg"] == "schedule_skipped");
    assert_eq!(line["level"], "info");
    daemon.order(&format!("/tasks/{first}/cancel")).ok();
    after_runs(&daemon, 2);
}

#[test]
fn a_run_by_hand_is_answered_like_a_submit_and_moves_nothing() {
    let daemon = Daemon::start(&with("every = \"1h\""));
    let before = job(&daemon);
    let trace = [("x-trace-id", "by-hand")];
    let ran = daemon.call("POST", "/schedules/job/run", &trace, None).ok();
    let id = text(&ran["task_id"]);
    assert_eq!(
        ran,
        json!({ "task_id": id, "status": "pending", "assigned_agent_id": null, "queue_position": 1 })
    );
    assert_eq!(daemon.task(&id)["trace_id"], "by-hand");
    let again = daemon.order("/schedules/job/run").ok();
    assert_eq!(again["queue_position"], 2, "whatever its last task does");
    let after = job(&daemon);
    assert_eq!((&after["runs"], &after["last_task_id"]), (&json!(2), &again["task_id"]));
    let moved = after["next_run_at"].as_f64().unwrap() - before["next_run_at"].as_f64().unwrap();
    assert!(moved.abs() < 0.01, "{moved}");
}

#[test]
fn what_is_no_job_and_what_no_order_takes_is_refused() {
    let daemon = Daemon::start(&with("every = \"1h\""));
    for order in ["run", "pause", "resume"] {
        daemon.order(&format!("/schedules/none/{order}")).refused(404, "schedule_not_found");
        let path = format!("/schedules/job/{order}");
        daemon.order(&format!("{path}?now=1")).refused(422, "validation_failed");
        daemon.post(&path, &json!({ "payload": {} })).refused(422, "validation_failed");
        daemon.get(&path).refused(405, "method_not_allowed");
    }
    daemon.get("/schedules?name=job").refused(422, "validation_failed");
    daemon.order("/schedules").refused(405, "method_not_allowed");
    assert_eq!(job(&daemon)["runs"], 0);
}

#[test]
fn what_prometheus_gets_counts_through_restarts() {
    let mut daemon = Daemon::start(&with("every = \"1s\""));
    after_skips(&daemon, 1);
    daemon.order("/schedules/job/pause").ok();
    daemon.start_again();
    let text = daemon.call("GET", "/metrics", &[("accept", "text/plain")], None).text;
    let job = job(&daemon);
    for line in [
        format!("daedalus_schedule_runs_total{{schedule=\"job\"}} {}", job["runs"]),
        format!("daedalus_schedule_skipped_total{{schedule=\"job\"}} {}", job["skipped"]),
    ] {
        assert!(text.contains(&line), "no {line} in {text}");
    }
}
