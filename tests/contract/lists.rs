//! Lists of tasks, live and ended ones alike, page by page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL, text};

const DEEP: &str = "[queue]\nmax_depth = 100000\n";
const IN_MEMORY: &str = "[store]\npath = \":memory:\"\n";

/// The same with a store on disk and without.
fn both(test: impl Fn(&str)) {
    test(&format!("{EXTERNAL}{DEEP}"));
    test(&format!("{EXTERNAL}{DEEP}{IN_MEMORY}"));
}

fn page(daemon: &Daemon, query: &str) -> (Vec<Value>, Option<String>) {
    let page = daemon.get(&format!("/tasks{query}")).ok();
    let next = page["next_cursor"].as_str().map(str::to_owned);
    assert_eq!(page.as_object().unwrap().len(), 2, "{page}");
    (page["tasks"].as_array().unwrap().clone(), next)
}

/// All pages of a query that begins with `?`, one after the other.
fn pages(daemon: &Daemon, query: &str) -> Vec<Value> {
    let (mut tasks, next) = page(daemon, query);
    tasks.extend(next.map(|cursor| rest(daemon, query, &cursor)).unwrap_or_default());
    tasks
}

/// All pages from this cursor on.
fn rest(daemon: &Daemon, query: &str, cursor: &str) -> Vec<Value> {
    let (mut tasks, mut next) = (Vec::new(), Some(cursor.to_owned()));
    while let Some(cursor) = next {
        let (more, after) = page(daemon, &format!("{query}&cursor={cursor}"));
        assert_ne!(after.as_ref(), Some(&cursor), "a cursor must lead on");
        tasks.extend(more);
        next = after;
    }
    tasks
}

fn ids(tasks: &[Value]) -> Vec<String> {
    tasks.iter().map(|task| text(&task["task_id"])).collect()
}

const fn kind(n: u64) -> &'static str {
    ["ingest", "research", "general"][(n % 3) as usize]
}

fn submit(daemon: &Daemon, n: u64) -> String {
    daemon.submit(&json!({ "payload": { "n": n }, "task_type": kind(n) }))
}

fn cancel(daemon: &Daemon, id: &str) {
    daemon.order(&format!("/tasks/{id}/cancel")).ok();
}

/// Submits so many on several connections; the ids are in no order.
fn submit_many(daemon: &Daemon, many: u64) -> Vec<String> {
    let (next, ids) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= many {
                        break;
                    }
                    let id = submit(daemon, n);
                    ids.lock().unwrap().push(id);
                }
            });
        }
    });
    ids.into_inner().unwrap()
}

#[test]
fn pages_neither_skip_nor_repeat_while_tasks_come_and_go() {
    both(|config| {
        let (daemon, _) = Daemon::with_agents(config, 1);
        let before = submit_many(&daemon, 2_500);
        // Some have ended before, some end meanwhile, some stay.
        let (ended, rest) = before.split_at(500);
        ended.iter().for_each(|id| cancel(&daemon, id));
        let (ending, staying) = rest.split_at(500);
        let is_done = AtomicBool::new(false);
        let (all, cancelled, pending) = thread::scope(|scope| {
            scope.spawn(|| {
                for id in ending {
                    if is_done.load(Ordering::Relaxed) {
                        break;
                    }
                    cancel(&daemon, id);
                    submit(&daemon, 1);
                }
            });
            let seen = [
                pages(&daemon, "?limit=100"),
                pages(&daemon, "?limit=100&status=cancelled"),
                pages(&daemon, "?limit=100&status=pending"),
            ];
            is_done.store(true, Ordering::Relaxed);
            let [all, cancelled, pending] = seen.map(|tasks| ids(&tasks));
            (all, cancelled, pending)
        });
        for (name, seen, expected) in [("all", &all, &before[..]), ("cancelled", &cancelled, ended)]
        {
            let set: BTreeSet<_> = seen.iter().collect();
            assert_eq!(set.len(), seen.len(), "{name}: no task is there twice");
            let missing = expected.iter().filter(|id| !set.contains(id)).count();
            assert_eq!(missing, 0, "{name}: no task is left out");
        }
        let set: BTreeSet<_> = pending.iter().collect();
        assert_eq!(set.len(), pending.len());
        // One of them may be with the agent.
        let missing = staying.iter().filter(|id| !set.contains(id)).count();
        assert!(missing <= 1, "{missing} are left out");
        let places: BTreeMap<_, _> = all.iter().enumerate().map(|(at, id)| (id, at)).collect();
        for seen in [&cancelled, &pending] {
            let places: Vec<_> = seen.iter().filter_map(|id| places.get(id)).collect();
            assert!(places.is_sorted(), "every list has the same order");
        }
    });
}

#[test]
fn the_newest_submission_comes_first_however_it_went_on() {
    both(|config| {
        let daemon = Daemon::start(config);
        let mut newest_first: Vec<_> = (0..60).map(|n| submit(&daemon, n)).collect();
        newest_first.iter().step_by(2).for_each(|id| cancel(&daemon, id));
        newest_first.reverse();
        for limit in [1, 7, 59, 60, 61, 1_000] {
            let tasks = pages(&daemon, &format!("?limit={limit}"));
            assert_eq!(ids(&tasks), newest_first, "limit {limit}");
        }
        let (first, next) = page(&daemon, "");
        assert_eq!((ids(&first), next), (newest_first, None), "100 when nobody says");
    });
}

#[test]
fn filters_go_together_and_with_pages() {
    both(|config| {
        let (daemon, _) = Daemon::with_agents(config, 1);
        let tasks: Vec<_> = (0..48).map(|n| submit(&daemon, n)).collect();
        // The agent takes them one after the other.
        let mut expected: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for (n, id) in tasks.iter().enumerate() {
            let status = match n {
                0..24 => ["completed", "failed"][n / 3 % 2],
                24 => "in_progress",
                _ => ["pending", "cancelled"][n / 3 % 2],
            };
            match status {
                "completed" => drop(daemon.order(&format!("/tasks/{id}/complete")).ok()),
                "failed" => drop(daemon.order(&format!("/tasks/{id}/complete?success=false")).ok()),
                "cancelled" => cancel(&daemon, id),
                _ => {}
            }
            let key = (status.to_owned(), kind(n as u64).to_owned());
            expected.entry(key).or_default().insert(0, id.clone());
        }
        for status in ["pending", "in_progress", "completed", "failed", "cancelled"] {
            let mut of_status = BTreeSet::new();
            for kind in ["ingest", "research", "general", "discovery"] {
                let query = format!("?limit=3&status={status}&task_type={kind}");
                let found = ids(&pages(&daemon, &query));
                let wanted = expected.remove(&(status.to_owned(), kind.to_owned()));
                assert_eq!(found, wanted.unwrap_or_default(), "{query}");
                of_status.extend(found);
            }
            let found = ids(&pages(&daemon, &format!("?limit=5&status={status}")));
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), of_status);
        }
        assert_eq!(expected.len(), 0, "{expected:?}");
    });
}

#[test]
fn one_task_among_many_is_found() {
    both(|config| {
        let daemon = Daemon::start(config);
        let first = submit(&daemon, 1);
        cancel(&daemon, &first);
        submit_many(&daemon, 2_500);
        assert_eq!(ids(&pages(&daemon, "?status=cancelled&limit=1")), [first.as_str()]);
        assert_eq!(pages(&daemon, "?status=failed&limit=1000").len(), 0);
        assert_eq!(pages(&daemon, "?limit=1000").len(), 2_501);
        let (tasks, _) = page(&daemon, "?limit=1000");
        assert!(tasks.len() <= 1_000);
    });
}

#[test]
fn a_cursor_is_good_at_both_ends() {
    both(|config| {
        let daemon = Daemon::start(config);
        assert_eq!(page(&daemon, ""), (Vec::new(), None));
        assert_eq!(page(&daemon, "?cursor=0"), (Vec::new(), None));
        let before: Vec<_> = (0..4).map(|n| submit(&daemon, n)).collect();
        let (tasks, next) = page(&daemon, "?limit=2");
        assert_eq!(ids(&tasks), [before[3].clone(), before[2].clone()]);
        let cursor = next.unwrap();
        submit(&daemon, 4);
        before.iter().for_each(|id| cancel(&daemon, id));
        let older = [before[1].clone(), before[0].clone()];
        for limit in [1, 2, 3, 1_000] {
            let rest = rest(&daemon, &format!("?limit={limit}"), &cursor);
            assert_eq!(ids(&rest), older, "limit {limit}");
        }
        assert_eq!(
            page(&daemon, "?cursor=0"),
            (Vec::new(), None),
            "before the first there is none"
        );
        assert_eq!(page(&daemon, "?cursor=9000000000000000").0.len(), 5, "all are before the last");
        assert_eq!(page(&daemon, "?cursor=18446744073709551615").0.len(), 5);
        for bad in ["18446744073709551616", "-1", "", "x", "1.5"] {
            daemon.get(&format!("/tasks?cursor={bad}")).refused(422, "validation_failed");
        }
    });
}

#[test]
fn a_task_that_has_ended_shows_all_that_a_live_one_does() {
    both(|config| {
        let (daemon, agents) = Daemon::with_agents(config, 1);
        let body = json!({
            "payload": { "a": [1, 2.50, "é"] }, "task_type": "research", "priority": 7,
            "timeout_s": 60, "preferred_agent_id": agents[0], "idempotency_key": "k",
        });
        let task = daemon.submit(&body);
        daemon.get(&format!("/agents/{}/assignment", agents[0])).ok();
        let live = daemon.task(&task);
        let live_row = page(&daemon, "").0.remove(0);
        daemon.post(&format!("/tasks/{task}/complete"), &json!({ "result": { "b": 1e5 } })).ok();
        let ended = daemon.task(&task);
        let ended_row = page(&daemon, "").0.remove(0);
        let names = |task: &Value| task.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&live), names(&ended));
        assert_eq!(names(&live_row), names(&ended_row));
        for name in ["payload", "task_type", "priority", "created_at", "started_at", "trace_id"] {
            assert_eq!(live[name], ended[name], "{name}");
        }
        for name in names(&ended_row) {
            assert_eq!(ended_row[&name], ended[&name], "{name}");
        }
        assert_eq!(ended["result"], json!({ "b": 1e5 }));
        assert_eq!(ended["attempts"][0]["decision"], live["attempts"][0]["decision"]);
        assert_eq!(ended["attempts"][0]["outcome"], "completed");
    });
}
