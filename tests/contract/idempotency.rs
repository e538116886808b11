//! The same submit again: one key is one task, whatever happens around it.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon, EXTERNAL, text};

const IN_MEMORY: &str = "[store]\npath = \":memory:\"\n";

/// The same with a store on disk and without.
fn both(test: impl Fn(&str)) {
    test(EXTERNAL);
    test(&format!("{EXTERNAL}{IN_MEMORY}"));
}

fn keyed(key: &str, n: i32) -> Value {
    json!({ "payload": { "n": n }, "idempotency_key": key })
}

/// So many at once, each with its number.
fn at_once(times: usize, call: impl Fn(usize) -> Answer + Sync) -> Vec<Answer> {
    let call = &call;
    thread::scope(|scope| {
        let calls: Vec<_> = (0..times).map(|n| scope.spawn(move || call(n))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    })
}

fn tasks(daemon: &Daemon) -> usize {
    daemon.get("/tasks?limit=1000").ok()["tasks"].as_array().unwrap().len()
}

#[test]
fn many_at_once_make_one_task() {
    both(|config| {
        let (daemon, _) = Daemon::with_agents(config, 2);
        for round in 0..5 {
            let body = keyed(&format!("key {round}"), round);
            let answers = at_once(64, |_| daemon.post("/tasks", &body));
            let ids: BTreeSet<_> =
                answers.into_iter().map(|answer| text(&answer.ok()["task_id"])).collect();
            assert_eq!(ids.len(), 1, "{ids:?}");
            assert_eq!(daemon.metrics()["tasks_total"], round + 1);
        }
        assert_eq!(tasks(&daemon), 5);
    });
}

#[test]
fn of_many_contents_at_once_one_gets_the_key() {
    both(|config| {
        let daemon = Daemon::start(config);
        let answers = at_once(32, |n| daemon.post("/tasks", &keyed("k", n as i32 % 4)));
        let (accepted, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == 200);
        let ids: BTreeSet<_> =
            accepted.into_iter().map(|answer| text(&answer.ok()["task_id"])).collect();
        let task = ids.first().unwrap();
        assert_eq!((ids.len(), refused.len()), (1, 24), "{ids:?}");
        for answer in refused {
            assert_eq!(answer.refused(409, "idempotency_conflict")["task_id"], task.as_str());
        }
        assert_eq!(tasks(&daemon), 1);
    });
}

#[test]
fn other_content_is_refused_and_changes_nothing() {
    let (daemon, agents) = Daemon::with_external(1);
    let plain = json!({ "payload": { "a": [1, "x"] }, "idempotency_key": "k" });
    let task = daemon.submit(&plain);
    let before = daemon.state();
    for (name, value) in [
        ("payload", json!({ "a": ["x", 1] })),
        ("payload", json!({ "a": [1, "x"], "b": null })),
        ("payload", json!({})),
        ("task_type", json!("ingest")),
        ("priority", json!(1)),
        ("timeout_s", json!(3600)),
        ("preferred_agent_id", json!(agents[0])),
        ("preferred_agent_id", json!("anna")),
    ] {
        let mut other = plain.clone();
        other[name] = value;
        let problem = daemon.post("/tasks", &other).refused(409, "idempotency_conflict");
        assert_eq!(problem["task_id"], task.as_str(), "{other}");
    }
    assert_eq!(daemon.state(), before);
    assert_eq!(daemon.submit(&plain), task);
}

#[test]
fn spelling_makes_no_difference() {
    let daemon = Daemon::start(EXTERNAL);
    let mut first = None;
    for same in [
        r#"{"idempotency_key":"k","payload":{"a":1,"b":{"c":[100,0.5],"d":"é/"}}}"#,
        " {\"payload\" : {\n\t\"b\":{\"d\":\"\\u00e9\\/\", \"c\":[1e2,5E-1]} ,\"a\":1.0},
            \"idempotency_key\":\"\\u006b\"}\r\n",
        r#"{"idempotency_key":"k","payload":{"a":2,"a":1,"b":{"c":[100.0,0.50],"d":"é/"}},
            "task_type":"general","priority":0}"#,
        r#"{"idempotency_key":"k","payload":{"a":1,"b":{"c":[100,0.5],"d":"é/"}},"priority":0.0,
            "task_type":null,"preferred_agent_id":null,"timeout_s":null}"#,
    ] {
        let task = text(&daemon.post_text("/tasks", same).ok()["task_id"]);
        assert_eq!(&task, first.get_or_insert_with(|| task.clone()), "{same}");
    }
    assert_eq!(tasks(&daemon), 1);
    let other = r#"{"idempotency_key":"k","payload":{"a":1,"b":{"c":[0.5,100],"d":"é/"}}}"#;
    daemon.post_text("/tasks", other).refused(409, "idempotency_conflict");
}

#[test]
fn numbers_that_are_not_the_same_are_not_taken_for_it() {
    let daemon = Daemon::start(EXTERNAL);
    let submit = |n: &str| {
        let body = format!(r#"{{"payload": {{"n": {n}}}, "idempotency_key": "k"}}"#);
        daemon.post_text("/tasks", &body)
    };
    submit("9007199254740993").ok();
    submit("9007199254740993.0").ok();
    for other in ["9007199254740992", "9007199254740994", "-9007199254740993", "9.007199254740993"]
    {
        submit(other).refused(409, "idempotency_conflict");
    }
}

#[test]
fn a_preferred_agent_counts_by_what_it_means() {
    let (daemon, agents) = Daemon::with_external(1);
    let submit = |agent: &str, key: &str| {
        let body = json!({ "payload": {}, "preferred_agent_id": agent, "idempotency_key": key });
        daemon.post("/tasks", &body)
    };
    let task = submit(&agents[0], "k").ok()["task_id"].clone();
    assert_eq!(submit(&agents[0].to_uppercase(), "k").ok()["task_id"], task);
    submit("00000000-0000-4000-8000-000000000000", "k").refused(409, "idempotency_conflict");
    submit("no id", "k").refused(409, "idempotency_conflict");
    let task = submit("no id", "l").ok()["task_id"].clone();
    assert_eq!(submit("no id", "l").ok()["task_id"], task);
    submit("No id", "l").refused(409, "idempotency_conflict");
}

#[test]
fn a_repeated_submit_tells_how_its_task_is_now() {
    both(|config| {
        let (daemon, agents) = Daemon::with_agents(config, 1);
        let runs = daemon.post("/tasks", &keyed("runs", 1)).ok();
        assert_eq!(runs["status"], "in_progress");
        let waits = daemon.post("/tasks", &keyed("waits", 1)).ok();
        let last = daemon.post("/tasks", &keyed("last", 1)).ok();
        assert_eq!(daemon.post("/tasks", &keyed("runs", 1)).ok(), runs);
        assert_eq!(daemon.post("/tasks", &keyed("waits", 1)).ok(), waits);
        assert_eq!(last["queue_position"], 2);
        let complete = format!("/tasks/{}/complete", text(&runs["task_id"]));
        daemon.post(&complete, &json!({ "result": 1 })).ok();
        let moved = daemon.post("/tasks", &keyed("waits", 1)).ok();
        assert_eq!(moved["task_id"], waits["task_id"]);
        assert_eq!(moved["status"], "in_progress");
        assert_eq!(moved["assigned_agent_id"], agents[0].as_str());
        assert_eq!(moved["queue_position"], Value::Null);
        assert_eq!(daemon.post("/tasks", &keyed("last", 1)).ok()["queue_position"], 1);
    });
}

#[test]
fn a_key_is_known_when_its_task_has_ended() {
    both(|config| {
        let (daemon, _) = Daemon::with_agents(config, 1);
        let mut ended = Vec::new();
        for (key, status) in
            [("a", "completed"), ("b", "failed"), ("c", "cancelled"), ("d", "completed")]
        {
            let task = daemon.submit(&keyed(key, 1));
            match status {
                "completed" => daemon.order(&format!("/tasks/{task}/complete")),
                "failed" => daemon.order(&format!("/tasks/{task}/complete?success=false")),
                _ => daemon.order(&format!("/tasks/{task}/cancel")),
            }
            .ok();
            if status == "cancelled" {
                let late = daemon.order(&format!("/tasks/{task}/complete"));
                late.refused(409, "already_finished");
            }
            ended.push((key, task, status));
        }
        for _ in 0..3 {
            for (key, task, status) in &ended {
                let again = daemon.post("/tasks", &keyed(key, 1)).ok();
                assert_eq!((&again["task_id"], &again["status"]), (&json!(task), &json!(status)));
                let other = daemon.post("/tasks", &keyed(key, 2));
                assert_eq!(other.refused(409, "idempotency_conflict")["task_id"], task.as_str());
            }
        }
        for (_, task, _) in &ended {
            let answers = at_once(16, |n| daemon.post("/tasks", &keyed(ended[n % 4].0, 1)));
            assert!(answers.iter().any(|answer| answer.body["task_id"] == task.as_str()));
            assert!(answers.iter().all(|answer| answer.status == 200));
        }
        assert_eq!(tasks(&daemon), 4);
    });
}

#[test]
fn a_full_queue_is_no_reason_to_refuse_what_is_known() {
    both(|config| {
        let daemon = Daemon::start(&format!("{config}[queue]\nmax_depth = 2\n"));
        let ended = daemon.submit(&keyed("ended", 1));
        daemon.order(&format!("/tasks/{ended}/cancel")).ok();
        let waits = daemon.submit(&keyed("waits", 1));
        daemon.submit(&json!({ "payload": {} }));
        let before = daemon.state();
        daemon.post("/tasks", &keyed("new", 1)).refused(429, "queue_full");
        assert_eq!(daemon.submit(&keyed("waits", 1)), waits);
        assert_eq!(daemon.submit(&keyed("ended", 1)), ended);
        daemon.post("/tasks", &keyed("waits", 2)).refused(409, "idempotency_conflict");
        daemon.post("/tasks", &keyed("ended", 2)).refused(409, "idempotency_conflict");
        assert_eq!(daemon.state(), before);
        assert_eq!(daemon.metrics()["tasks_rejected"], 1, "a repetition is no rejected task");
    });
}

#[test]
fn a_refused_submit_leaves_its_key_free() {
    both(|config| {
        let daemon = Daemon::start(&format!("{config}[queue]\nmax_depth = 1\n"));
        let first = daemon.submit(&json!({ "payload": {} }));
        daemon.post("/tasks", &keyed("k", 1)).refused(429, "queue_full");
        let bad = json!({ "payload": {}, "priority": 101, "idempotency_key": "k" });
        daemon.post("/tasks", &bad).refused(422, "validation_failed");
        daemon.order(&format!("/tasks/{first}/cancel")).ok();
        let task = daemon.submit(&keyed("k", 2));
        assert_eq!(daemon.submit(&keyed("k", 2)), task);
    });
}

#[test]
fn keys_differ_by_every_character_and_no_key_is_no_key() {
    let daemon = Daemon::start(EXTERNAL);
    let longest = "é".repeat(200);
    let almost = format!("{}e", "é".repeat(199));
    let keys = ["k", "K", " k", "k ", "é", "e\u{301}", "\"", "\\", "%00", &longest, &almost];
    let mut ids = BTreeSet::new();
    for key in keys {
        let task = daemon.submit(&keyed(key, 1));
        assert_eq!(daemon.submit(&keyed(key, 1)), task, "{key}");
        assert!(ids.insert(task), "{key}");
    }
    for body in [json!({ "payload": {} }), json!({ "payload": {}, "idempotency_key": null })] {
        for _ in 0..2 {
            assert!(ids.insert(daemon.submit(&body)), "{body}");
        }
    }
}

#[test]
fn repeated_submits_do_not_show_in_pages() {
    both(|config| {
        let daemon = Daemon::start(config);
        let ids: Vec<_> = (0..20).map(|n| daemon.submit(&keyed(&n.to_string(), n))).collect();
        for id in ids.iter().step_by(3) {
            daemon.order(&format!("/tasks/{id}/cancel")).ok();
        }
        let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
        loop {
            let page = daemon.get(&format!("/tasks{query}")).ok();
            seen.extend(page["tasks"].as_array().unwrap().iter().map(|t| text(&t["task_id"])));
            for (n, id) in ids.iter().enumerate() {
                assert_eq!(&daemon.submit(&keyed(&n.to_string(), n as i32)), id);
            }
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            query = format!("?limit=3&cursor={cursor}");
        }
        assert!(seen.iter().eq(ids.iter().rev()), "{seen:?}");
    });
}
