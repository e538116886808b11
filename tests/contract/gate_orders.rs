//! Gates by order, what waits behind them, and who sees it.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL, text, wait_until};
use crate::dependency::{Dependency, Manner};

/// A gate that nobody opens or closes but by order.
const GATE: &str = "[[gate]]\nname = \"discovery\"\ntask_types = [\"discovery\", \"migration\"]\n";

fn submit(daemon: &Daemon, task_type: &str, payload: &Value) -> String {
    daemon.submit(&json!({ "payload": payload, "task_type": task_type }))
}

fn gate(daemon: &Daemon) -> Value {
    daemon.get("/gates").ok()[0].clone()
}

fn becomes(daemon: &Daemon, task: &str, status: &str) -> Value {
    wait_until(&format!("the task becomes {status}"), || {
        Some(daemon.task(task)).filter(|task| task["status"] == status)
    })
}

#[test]
fn without_a_gate_there_is_none() {
    let daemon = Daemon::start(EXTERNAL);
    assert_eq!(daemon.get("/gates").ok(), json!([]));
    assert_eq!(daemon.metrics()["gates"], json!([]));
    for order in ["close", "open", "auto"] {
        let path = format!("/gates/discovery/{order}");
        daemon.order(&path).refused(404, "gate_not_found");
    }
}

#[test]
fn a_gate_is_closed_opened_and_left_to_itself_by_order() {
    let (daemon, _) = Daemon::with_agents(&format!("{EXTERNAL}{GATE}"), 1);
    let at_first = gate(&daemon);
    let since = at_first["since_at"].as_f64().unwrap();
    let expected = json!({
        "name": "discovery", "task_types": ["discovery", "migration"], "state": "open",
        "mode": "auto", "since_at": since, "last_error": null, "held_until_at": null,
        "tasks_waiting": 0, "backlog": 0, "max_depth": 100, "closures": 0, "health_url": null,
        "interval_s": null,
    });
    assert_eq!(at_first, expected);
    assert!(since > 1.6e9);

    let closed = daemon.order("/gates/discovery/close").ok();
    assert_eq!((&closed["state"], &closed["mode"]), (&json!("closed"), &json!("closed")));
    assert!(closed["since_at"].as_f64().unwrap() >= since);
    assert_eq!(daemon.order("/gates/discovery/close").ok(), closed, "the same again is no change");
    let waits = submit(&daemon, "migration", &json!({}));
    assert_eq!(daemon.task(&waits)["pending_reason"], "gate_closed:discovery");
    assert_eq!(gate(&daemon)["tasks_waiting"], 1);
    assert_eq!(gate(&daemon)["backlog"], 1);

    let opened = daemon.post("/gates/discovery/open", &json!({})).ok();
    assert_eq!((&opened["state"], &opened["mode"]), (&json!("open"), &json!("open")));
    assert_eq!(daemon.task(&waits)["status"], "in_progress", "at once");
    daemon.order("/gates/discovery/close").ok();
    let left = daemon.order("/gates/discovery/auto").ok();
    assert_eq!((&left["state"], &left["mode"]), (&json!("open"), &json!("auto")), "nobody asks");
    assert_eq!(left["closures"], 2);
    let lines = daemon.log_so_far();
    let told = |event: &str| lines.iter().filter(|line| line["msg"] == event).count();
    assert_eq!((told("gate_closed"), told("gate_opened")), (2, 2), "each change once");
    for path in ["/gates/nothing/close", "/gates/Discovery/close", "/gates/discovery%2F/close"] {
        daemon.order(path).refused(404, "gate_not_found");
    }
}

#[test]
fn an_order_outlives_the_daemon_and_is_stronger_than_the_dependency() {
    let dependency = Dependency::start(Manner::Up);
    let asks = format!("health_url = \"{}\"\ninterval_s = 0.05\n", dependency.url());
    let (mut daemon, _) = Daemon::with_agents(&format!("{EXTERNAL}{GATE}{asks}"), 1);
    daemon.order("/gates/discovery/close").ok();
    let waits = submit(&daemon, "discovery", &json!({}));
    daemon.start_again();
    dependency.is_asked_again(3);
    let closed = gate(&daemon);
    assert_eq!((&closed["state"], &closed["mode"]), (&json!("closed"), &json!("closed")));
    assert_eq!(closed["health_url"], dependency.url());
    assert_eq!(closed["interval_s"], 0.05);
    assert_eq!(daemon.task(&waits)["pending_reason"], "gate_closed:discovery");
    daemon.order("/gates/discovery/auto").ok();
    becomes(&daemon, &waits, "in_progress");

    // The other way round: open, although the dependency is down.
    daemon.order("/gates/discovery/open").ok();
    dependency.becomes(Manner::Away);
    wait_until("the failure is seen", || {
        (gate(&daemon)["last_error"] == "connection refused").then_some(())
    });
    assert_eq!(gate(&daemon)["state"], "open");
    daemon.order("/gates/discovery/auto").ok();
    assert_eq!(gate(&daemon)["state"], "closed");
}

#[test]
fn a_full_backlog_refuses_its_own_tasks_and_nobody_elses() {
    let daemon = Daemon::start(&format!("[pool]\nsize = 2\n{GATE}"));
    wait_until("both agents are idle", || (daemon.metrics()["agents"]["idle"] == 2).then_some(()));
    daemon.order("/gates/discovery/close").ok();
    let sleeps = json!({ "action": "sleep", "seconds": 0.5 });
    let echoes = json!({ "action": "echo", "value": 1 });
    let gated: Vec<_> = (0..100).map(|_| submit(&daemon, "discovery", &sleeps)).collect();
    let beats = |count: usize| {
        for _ in 0..count {
            becomes(&daemon, &submit(&daemon, "heartbeat", &echoes), "completed");
        }
    };
    let one_more = json!({ "payload": sleeps, "task_type": "migration" });
    for _ in 0..3 {
        let refused = daemon.post("/tasks", &one_more).refused(429, "gate_backlog_full");
        assert_eq!((&refused["gate"], &refused["max_depth"]), (&json!("discovery"), &json!(100)));
        beats(3);
    }
    let full = gate(&daemon);
    assert_eq!((&full["tasks_waiting"], &full["backlog"]), (&json!(100), &json!(100)));

    daemon.order("/gates/discovery/open").ok();
    beats(5);
    let waits = gate(&daemon)["tasks_waiting"].as_u64().unwrap();
    assert!(waits > 0, "a heartbeat does not wait until the backlog is gone");
    becomes(&daemon, &gated[0], "completed");
    // There is room again as they are placed.
    wait_until("there is room", || (daemon.post("/tasks", &one_more).status == 200).then_some(()));
}

#[test]
fn a_task_that_says_that_its_dependency_is_down_closes_the_gate_for_a_while() {
    let dependency = Dependency::start(Manner::Up);
    let asks = format!("health_url = \"{}\"\ninterval_s = 3\n", dependency.url());
    let (daemon, _) = Daemon::with_agents(&format!("{EXTERNAL}{GATE}{asks}"), 2);
    wait_until("the gate is open", || (gate(&daemon)["state"] == "open").then_some(()));
    let task = submit(&daemon, "discovery", &json!({}));
    becomes(&daemon, &task, "in_progress");
    let error = json!({ "code": "dependency_unavailable", "message": "the scan got no answer" });
    daemon.post(&format!("/tasks/{task}/complete?success=false"), &json!({ "error": error })).ok();

    let held = gate(&daemon);
    assert_eq!(held["state"], "closed");
    assert!(text(&held["last_error"]).contains("the scan got no answer"), "{held}");
    let waits = daemon.task(&task);
    assert_eq!(waits["pending_reason"], "gate_closed:discovery");
    assert_eq!((&waits["failures"], &waits["failed_agent_ids"]), (&json!(0), &json!([])));
    let first = &waits["attempts"][0];
    assert_eq!(first["outcome"], "interrupted");
    assert_eq!(first["failure"]["cause"], "dependency_unavailable");
    // The dependency answers that it is well meanwhile, which opens nothing.
    let again = becomes(&daemon, &task, "in_progress");
    assert_eq!(again["attempt_count"], 2);
    let moment = |of: &Value| of.as_f64().unwrap();
    let ended_at = moment(&first["ended_at"]);
    let held_s = moment(&held["held_until_at"]) - ended_at;
    assert!((2.9..3.1).contains(&held_s), "held for {held_s} s");
    let waited_s = moment(&again["attempts"][1]["assigned_at"]) - ended_at;
    assert!(waited_s >= 2.9, "it ran again after {waited_s} s");
    assert_eq!(gate(&daemon)["held_until_at"], Value::Null);
}

#[test]
fn a_task_does_not_wait_longer_for_a_gate_than_it_may() {
    let daemon = Daemon::start(&format!("{EXTERNAL}{GATE}max_wait_s = 0.3\n"));
    daemon.order("/gates/discovery/close").ok();
    let (gated, other) =
        (submit(&daemon, "discovery", &json!({})), submit(&daemon, "heartbeat", &json!({})));
    let failed = becomes(&daemon, &gated, "failed");
    assert_eq!(failed["error"]["code"], "gate_closed", "{failed}");
    assert!(text(&failed["error"]["message"]).contains("discovery"), "{failed}");
    assert_eq!(failed["attempts"], json!([]));
    let waited_s =
        failed["completed_at"].as_f64().unwrap() - failed["created_at"].as_f64().unwrap();
    assert!(waited_s >= 0.29, "it failed after {waited_s} s");
    assert_eq!(daemon.task(&other)["status"], "pending", "it waits for an agent");
}

#[test]
fn a_retry_of_all_looks_past_those_whose_gate_has_no_room() {
    let config = format!("{EXTERNAL}[queue]\nmax_depth = 1\n{GATE}");
    let (daemon, _) = Daemon::with_agents(&config, 1);
    let failed = |task_type| {
        let task = submit(&daemon, task_type, &json!({}));
        becomes(&daemon, &task, "in_progress");
        let error = json!({ "message": "no", "retryable": false });
        let path = format!("/tasks/{task}/complete?success=false");
        daemon.post(&path, &json!({ "error": error })).ok();
        task
    };
    let (older, newer) = ([(); 3].map(|()| failed("discovery")), failed("general"));
    daemon.order("/gates/discovery/close").ok();
    submit(&daemon, "discovery", &json!({}));
    let retried = daemon.order("/tasks/retry?status=failed").ok();
    assert_eq!(retried, json!({ "retried": 1, "remaining": 3 }));
    assert_eq!(daemon.task(&newer)["status"], "in_progress");
    assert!(older.iter().all(|task| daemon.task(task)["status"] == "failed"));
    daemon.order("/tasks/retry?status=failed").refused(429, "gate_backlog_full");
}

#[test]
fn everybody_can_see_what_waits_and_why() {
    let dependency = Dependency::start(Manner::Status(500));
    let asks = format!("health_url = \"{}\"\nstart_grace_s = 0\n", dependency.url());
    let asks = format!("{asks}interval_s = 0.05\n");
    let by_hand = "[[gate]]\nname = \"mail\"\ntask_types = [\"ingest\"]\n";
    let (daemon, _) = Daemon::with_agents(&format!("{EXTERNAL}{GATE}{asks}{by_hand}"), 1);
    wait_until("the gate is closed", || (gate(&daemon)["state"] == "closed").then_some(()));
    for task_type in ["discovery", "migration", "discovery"] {
        submit(&daemon, task_type, &json!({}));
    }
    let ready = daemon.get("/readyz").ok();
    assert_eq!(ready["status"], "degraded");
    let reasons = ready["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 1, "{ready}");
    let reason = text(&reasons[0]);
    assert!(reason.starts_with("gate discovery is closed since 2"), "{reason}");
    assert!(reason.ends_with("Z: HTTP 500; 3 tasks wait for it"), "{reason}");

    let of_discovery =
        json!({ "name": "discovery", "state": "closed", "tasks_waiting": 3, "closures": 1 });
    let of_mail = json!({ "name": "mail", "state": "open", "tasks_waiting": 0, "closures": 0 });
    assert_eq!(daemon.metrics()["gates"], json!([of_discovery, of_mail]));
    let scraped = daemon.call("GET", "/metrics", &[("accept", "text/plain")], None).text;
    for line in [
        "daedalus_gate_open{gate=\"discovery\"} 0",
        "daedalus_gate_open{gate=\"mail\"} 1",
        "daedalus_gate_tasks_waiting{gate=\"discovery\"} 3",
        "daedalus_gate_tasks_waiting{gate=\"mail\"} 0",
        "daedalus_gate_closures_total{gate=\"discovery\"} 1",
        "daedalus_gate_closures_total{gate=\"mail\"} 0",
    ] {
        let is_there = scraped.lines().any(|found| found.trim_end_matches(".0") == line);
        assert!(is_there, "no {line} in {scraped}");
    }

    dependency.becomes(Manner::Up);
    let line = daemon.log_line("the gate is open", |line| line["msg"] == "gate_opened");
    assert_eq!((&line["gate"], &line["tasks_waiting"]), (&json!("discovery"), &json!(3)));
    assert_eq!(daemon.get("/readyz").ok(), json!({ "status": "ready", "reasons": [] }));
}

/// CPU time of the daemon so far, in hundredths of a second.
fn cpu_ticks(daemon: &Daemon) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let (_, after_the_name) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = after_the_name.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn tasks_that_wait_for_a_gate_cost_no_cpu() {
    let (daemon, _) = Daemon::with_agents(&format!("{EXTERNAL}{GATE}"), 2);
    daemon.order("/gates/discovery/close").ok();
    let span = || {
        let before = cpu_ticks(&daemon);
        // Not a wait: this is the time in which it is counted.
        thread::sleep(Duration::from_secs(3));
        cpu_ticks(&daemon) - before
    };
    let least = || (0..3).map(|_| span()).min().unwrap_or_default();
    let without = least();
    for _ in 0..100 {
        submit(&daemon, "discovery", &json!({}));
    }
    assert_eq!(gate(&daemon)["tasks_waiting"], 100);
    // What was submitted is written and logged meanwhile, which is not waiting.
    wait_until("the daemon is at rest", || {
        let before = cpu_ticks(&daemon);
        thread::sleep(Duration::from_millis(200));
        (cpu_ticks(&daemon) - before <= 1).then_some(())
    });
    // A look at each of them now and then would show in each span.
    let with = least();
    assert!(with <= without + 6, "{with} hundredths of a second instead of {without}");
}
