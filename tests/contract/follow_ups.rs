//! Completions that become work, by `[[follow_up]]`.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{Daemon, text, wait_until};

const DISCOVERY: &str = "[[follow_up]]\nname = \"migrate\"\n";
const EXTERNAL: &str = "[pool]\nautostart = false\n[worker]\nkind = \"external\"\n";

/// An item as a discovery service answers it.
fn item(id: impl Into<Value>, score: f64) -> Value {
    json!({
        "component_id": id.into(),
        "name": "a component",
        "file_path": "src/a.py",
        "composite_score": score,
        "migration_recommended": true,
        "enhancement_opportunities": ["async"],
        "risk_factors": [],
    })
}

fn numbers(created: u64, skipped: u64, invalid: u64) -> Value {
    json!({ "created": created, "skipped": skipped, "invalid": invalid })
}

/// A daemon with external agents and this rule.
fn external(agents: usize, more: &str) -> (Daemon, Vec<String>) {
    Daemon::with_agents(&format!("{EXTERNAL}{more}\n{DISCOVERY}"), agents)
}

fn discover(daemon: &Daemon, items: &[Value]) -> Value {
    let id = daemon.submit(&json!({ "payload": {}, "task_type": "discovery", "priority": 50 }));
    complete(daemon, &id, &json!({ "components": items }));
    daemon.task(&id)
}

fn complete(daemon: &Daemon, id: &str, result: &Value) {
    let done = daemon.post(&format!("/tasks/{id}/complete"), &json!({ "result": result })).ok();
    assert_eq!(done["status"], "completed");
}

/// The tasks that came of this one, the first that was made first.
fn made_of(daemon: &Daemon, id: &Value) -> Vec<Value> {
    let list = daemon.get("/tasks?task_type=migration&limit=1000").ok();
    let tasks = list["tasks"].as_array().unwrap().iter().rev();
    tasks
        .filter(|task| task["parent_task_id"] == *id)
        .map(|task| daemon.task(&text(&task["task_id"])))
        .collect()
}

#[test]
fn what_a_discovery_recommends_becomes_migrations() {
    let (daemon, _) = external(1, "");
    let mut not_this = item("no", 9.0);
    not_this["migration_recommended"] = json!(false);
    let items = [
        item("low", 0.25),
        item("high", 0.75),
        not_this,
        item(7, 0.5),
        json!("nothing"),
        item("", 1.0),
    ];
    let discovery = discover(&daemon, &items);
    assert_eq!(discovery["follow_ups"], numbers(3, 0, 2));
    let made = made_of(&daemon, &discovery["task_id"]);
    let payloads: Vec<_> = made.iter().map(|task| task["payload"].clone()).collect();
    assert_eq!(payloads, [items[1].clone(), items[3].clone(), items[0].clone()]);
    assert_eq!(made[0]["status"], "in_progress", "it was placed in the same turn");
    for task in &made {
        assert_eq!(task["task_type"], "migration");
        assert_eq!(task["priority"], 50);
        assert_eq!(task["trace_id"], discovery["trace_id"]);
        assert_eq!(task["follow_ups"], Value::Null);
    }
    let line = daemon.log_line("the line", |line| line["msg"] == "follow_ups_created");
    assert_eq!((&line["level"], &line["rule"]), (&json!("warning"), &json!("migrate")));
    assert_eq!(
        json!({ "created": line["created"], "skipped": line["skipped"], "invalid": line["invalid"] }),
        numbers(3, 0, 2)
    );
    assert_eq!(line["task_id"], discovery["task_id"]);
    let submitted = |line: &&Value| {
        line["msg"] == "task_submitted" && line["parent_task_id"] == discovery["task_id"]
    };
    assert_eq!(daemon.log_lines().iter().filter(submitted).count(), 3);
    let metrics = daemon.metrics();
    assert_eq!(metrics["follow_ups_created"], 3);
    assert_eq!(metrics["follow_ups_invalid"], 2);
    let list = daemon.get("/tasks").ok();
    assert!(list["tasks"][0].get("follow_ups").is_none(), "lists are short");
}

#[test]
fn a_task_that_no_rule_looks_at_says_so() {
    let (daemon, _) = external(1, "");
    let id = daemon.submit(&json!({ "payload": {} }));
    complete(&daemon, &id, &json!({ "components": [item("a", 1.0)] }));
    assert_eq!(daemon.task(&id)["follow_ups"], Value::Null);
    let failed = daemon.submit(&json!({ "payload": {}, "task_type": "discovery" }));
    daemon.post(&format!("/tasks/{failed}/complete?success=false"), &json!({})).ok();
    assert_eq!(daemon.task(&failed)["follow_ups"], Value::Null);
    assert_eq!(daemon.metrics()["tasks_total"], 2);
}

#[test]
fn bad_results_complete_the_discovery_all_the_same() {
    let (daemon, _) = external(1, "");
    for result in [json!(null), json!([]), json!({ "components": {} }), json!("components")] {
        let id = daemon.submit(&json!({ "payload": {}, "task_type": "discovery" }));
        complete(&daemon, &id, &result);
        assert_eq!(daemon.task(&id)["follow_ups"], numbers(0, 0, 1), "{result}");
    }
    let id = daemon.submit(&json!({ "payload": {}, "task_type": "discovery" }));
    daemon.order(&format!("/tasks/{id}/complete")).ok();
    assert_eq!(daemon.task(&id)["follow_ups"], numbers(0, 0, 1), "no result at all");
    assert_eq!(discover(&daemon, &[])["follow_ups"], numbers(0, 0, 0));
}

#[test]
fn two_hundred_items_find_room_beside_a_full_queue() {
    let rule_of_all = format!("{EXTERNAL}[queue]\nmax_depth = 2\n{DISCOVERY}top = 200\n");
    let (daemon, _) = Daemon::with_agents(&rule_of_all, 1);
    let id = daemon.submit(&json!({ "payload": {}, "task_type": "discovery" }));
    for _ in 0..2 {
        daemon.submit(&json!({ "payload": {} }));
    }
    daemon.post("/tasks", &json!({ "payload": {} })).refused(429, "queue_full");
    let items: Vec<_> = (0..250).map(|number| item(number, f64::from(number))).collect();
    complete(&daemon, &id, &json!({ "components": items }));
    assert_eq!(daemon.task(&id)["follow_ups"], numbers(200, 0, 0));
    let made = made_of(&daemon, &json!(id));
    let ids: BTreeSet<_> =
        made.iter().map(|task| task["payload"]["component_id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (50..250).collect());
    // One of the two was placed, so there is room for one.
    daemon.submit(&json!({ "payload": {} }));
    daemon.post("/tasks", &json!({ "payload": {} })).refused(429, "queue_full");
}

#[test]
fn a_known_key_is_skipped_unless_its_task_failed_or_was_cancelled() {
    let (mut daemon, _) = external(1, "");
    let names = ["done", "failed", "cancelled", "running", "waiting"];
    let items: Vec<_> = (0_i8..).zip(names).map(|(at, id)| item(id, f64::from(-at))).collect();
    let first = discover(&daemon, &items);
    let id = |at: usize| text(&made_of(&daemon, &first["task_id"])[at]["task_id"]);
    let [done, failed, cancelled, running] = [id(0), id(1), id(2), id(3)];
    complete(&daemon, &done, &json!({}));
    daemon.post(&format!("/tasks/{failed}/complete?success=false"), &json!({})).ok();
    daemon.order(&format!("/tasks/{cancelled}/cancel")).ok();
    // Its external agent says that it has stopped.
    daemon
        .post(&format!("/tasks/{cancelled}/complete"), &json!({}))
        .refused(409, "already_finished");
    assert_eq!(daemon.task(&running)["status"], "in_progress");

    daemon.start_again();
    daemon.post("/agents", &json!({ "kind": "external", "task_types": ["discovery"] })).ok();
    let second = discover(&daemon, &items);
    assert_eq!(second["follow_ups"], numbers(2, 3, 0));
    let made = made_of(&daemon, &second["task_id"]);
    let again: Vec<_> = made.iter().map(|task| text(&task["payload"]["component_id"])).collect();
    assert_eq!(again, ["failed", "cancelled"]);
    assert_eq!(discover(&daemon, &items)["follow_ups"], numbers(0, 5, 0));

    // The one that lost its key can still be tried again.
    daemon.order(&format!("/tasks/{failed}/retry")).ok();
    assert_eq!(daemon.task(&failed)["status"], "pending");
    assert_eq!(discover(&daemon, &items)["follow_ups"], numbers(0, 5, 0));
    let metrics = daemon.metrics();
    assert_eq!(
        (&metrics["follow_ups_created"], &metrics["follow_ups_skipped"]),
        (&json!(2), &json!(13))
    );
}

#[test]
fn a_key_that_a_client_used_is_known_whatever_its_content() {
    let (daemon, _) = external(1, "");
    let mine = json!({ "payload": {}, "idempotency_key": "follow_up:migrate:a" });
    let id = daemon.submit(&mine);
    complete(&daemon, &id, &json!({}));
    let discovery = discover(&daemon, &[item("a", 1.0), item("b", 1.0)]);
    assert_eq!(discovery["follow_ups"], numbers(1, 1, 0));
    // The other way round it is as with every key.
    let theirs = json!({ "payload": {}, "idempotency_key": "follow_up:migrate:b" });
    daemon.post("/tasks", &theirs).refused(409, "idempotency_conflict");
    let made = &made_of(&daemon, &discovery["task_id"])[0];
    let same = json!({
        "payload": made["payload"], "task_type": "migration", "priority": 50,
        "idempotency_key": "follow_up:migrate:b",
    });
    assert_eq!(daemon.submit(&same), text(&made["task_id"]));
}

#[test]
fn a_repeated_complete_makes_no_second_set() {
    let (daemon, _) = external(1, "");
    let id = daemon.submit(&json!({ "payload": {}, "task_type": "discovery" }));
    let result = json!({ "result": { "components": [item("a", 1.0)] } });
    let path = format!("/tasks/{id}/complete?attempt=1");
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..8).map(|_| scope.spawn(|| daemon.post(&path, &result).status)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 1);
    assert_eq!(statuses.iter().filter(|&&status| status == 409).count(), 7);
    assert_eq!(daemon.task(&id)["follow_ups"], numbers(1, 0, 0));
    assert_eq!(made_of(&daemon, &json!(id)).len(), 1);
}

#[test]
fn a_follow_up_makes_no_follow_ups() {
    let config = format!("{EXTERNAL}{DISCOVERY}task_type = \"discovery\"\n");
    let (daemon, _) = Daemon::with_agents(&config, 1);
    let first = discover(&daemon, &[item("a", 1.0)]);
    assert_eq!(first["follow_ups"], numbers(1, 0, 0));
    let running = daemon.get("/tasks?status=in_progress").ok();
    let made = text(&running["tasks"][0]["task_id"]);
    complete(&daemon, &made, &json!({ "components": [item("b", 1.0)] }));
    assert_eq!(daemon.task(&made)["follow_ups"], Value::Null);
    assert_eq!(daemon.metrics()["tasks_total"], 2);
}

#[test]
fn several_rules_look_at_one_result() {
    let more = "[[follow_up]]\nname = \"study\"\ntask_type = \"research\"\nfilter = {}\ntop = 1\n";
    let (daemon, _) = external(1, more);
    let mut not_this = item("b", 2.0);
    not_this["migration_recommended"] = json!(false);
    let discovery = discover(&daemon, &[item("a", 1.0), not_this]);
    assert_eq!(discovery["follow_ups"], numbers(2, 0, 0));
    let study = daemon.get("/tasks?task_type=research").ok();
    let study = daemon.task(&text(&study["tasks"][0]["task_id"]));
    assert_eq!(study["payload"]["component_id"], "b");
}

/// A built-in worker answers what it is told to, in a member of its result.
#[test]
fn a_process_agent_discovers_and_migrates() {
    for action in ["echo", "twice"] {
        let items = if action == "echo" { "/value/components" } else { "/components" };
        let rule = "[pool]\nsize = 2\n[[follow_up]]\nname = \"migrate\"\n";
        let (daemon, _) = Daemon::with_agents(&format!("{rule}items = \"{items}\"\n"), 2);
        let mut work = item("a", 1.0);
        work["action"] = json!("echo");
        work["value"] = json!(1);
        let payload = json!({ "action": action, "value": { "components": [work, 1] } });
        let id = daemon.submit(&json!({ "payload": payload, "task_type": "discovery" }));
        let discovery = daemon.get(&format!("/tasks/{id}?wait_s=30")).ok();
        assert_eq!(discovery["status"], "completed");
        if action == "twice" {
            assert_eq!(discovery["follow_ups"], numbers(0, 0, 1), "once, and no list");
            continue;
        }
        assert_eq!(discovery["follow_ups"], numbers(1, 0, 1));
        let made = text(&made_of(&daemon, &json!(id))[0]["task_id"]);
        let made = daemon.get(&format!("/tasks/{made}?wait_s=30")).ok();
        assert_eq!((&made["status"], &made["result"]["value"]), (&json!("completed"), &json!(1)));
    }
}

#[test]
fn a_large_result_is_looked_at_and_holds_up_nobody() {
    let (daemon, _) = external(2, "");
    let id = daemon.submit(&json!({ "payload": {}, "task_type": "discovery" }));
    let filler = "x".repeat(1_000);
    let items: Vec<_> = (0..800)
        .map(|number| {
            let mut item = item(number, f64::from(number));
            item["name"] = json!(filler);
            item
        })
        .collect();
    complete(&daemon, &id, &json!({ "components": items }));
    assert_eq!(daemon.task(&id)["follow_ups"], numbers(20, 0, 0));
    let best = &made_of(&daemon, &json!(id))[0]["payload"];
    assert_eq!((&best["component_id"], &best["name"]), (&json!(799), &json!(filler)));
}

/// Whenever the daemon is killed, a completed discovery has its follow-ups, and an open one none.
#[test]
fn a_daemon_that_is_killed_leaves_all_follow_ups_or_none() {
    let (mut daemon, _) = external(1, "");
    let mut all = BTreeSet::new();
    for round in 0..12_u64 {
        let id = daemon.submit(&json!({ "payload": {}, "task_type": "discovery", "priority": 50 }));
        let items = [item(format!("{round}a"), 2.0), item(format!("{round}b"), 1.0)];
        let body = json!({ "result": { "components": items } }).to_string();
        let mut call = daemon.raw(&format!(
            "POST /tasks/{id}/complete HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        // Before the call is read, while its result is looked at, or after it was answered.
        std::thread::sleep(Duration::from_micros(400 * round));
        daemon.start_again();
        let mut answer = String::new();
        let _reset = call.read_to_string(&mut answer);
        let was_told = answer.starts_with("HTTP/1.1 200");
        let discovery = daemon.task(&id);
        let completed = discovery["status"] == "completed";
        assert!(completed || !was_told, "{discovery}");
        assert_eq!(made_of(&daemon, &json!(id)).len(), if completed { 2 } else { 0 });
        if !completed {
            complete(&daemon, &id, &json!({ "components": items }));
        }
        assert_eq!(daemon.task(&id)["follow_ups"], numbers(2, 0, 0));
        for task in made_of(&daemon, &json!(id)) {
            assert!(all.insert(text(&task["payload"]["component_id"])));
            let id = text(&task["task_id"]);
            wait_until("the agent has it", || {
                (daemon.task(&id)["status"] == "in_progress").then_some(())
            });
            complete(&daemon, &id, &json!({}));
        }
    }
    assert_eq!(all.len(), 24);
}
