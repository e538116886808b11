//! A store with much history: a start, a submit and the memory do not feel it.

use std::time::Duration;

use daedalus::domain::{
    AgentId, Attempt, AttemptEnded, AttemptRecord, Change, Decision, Incarnation, Json, Now,
    Outcome, Priority, Rule, Seq, Task, TaskId, TaskSpec, TaskState, TaskStatus, TaskType, TraceId,
};
use daedalus::store::{SqliteStore, Store};
use daedalus::worker::proc;
use serde_json::json;
use serde_json::value::to_raw_value;
use uuid::Uuid;

use super::client::{Client, World};
use super::os::{now, say};
use super::site::Site;

const NO_AGENTS: &str = "[pool]\nautostart = false\n[queue]\nmax_depth = 1000000\n";

/// How many tasks are in the queue besides those that ended.
const PENDING: u64 = 10_000;

/// How many tasks have ended when `DAEDALUS_SOAK_HISTORY` says so: then this runs alone, as a
/// release build on a quiet machine, and what it takes is measured.
fn measured_history() -> Option<u64> {
    let told = std::env::var("DAEDALUS_SOAK_HISTORY").ok();
    told.map(|told| told.parse().expect("DAEDALUS_SOAK_HISTORY is a number"))
}

/// Noon of a day that retention keeps, and so much later.
fn at(begun_us: u64, later_us: u64) -> Now {
    Now { mono_us: later_us, wall_us: begun_us + later_us }
}

fn json_of(value: &serde_json::Value) -> Json {
    Json::new(to_raw_value(value).expect("it is JSON"))
}

fn task(number: u64, is_pending: bool, begun_us: u64) -> Task {
    let agent = AgentId::from_uuid(Uuid::from_u128(u128::from(number % 4) + 1));
    let created = at(begun_us, number * 1_000);
    let started = at(begun_us, number * 1_000 + 300);
    let ended = at(begun_us, number * 1_000 + 20_000);
    let attempt = AttemptRecord {
        attempt: Attempt::new(1),
        agent,
        incarnation: Incarnation::FIRST,
        decision: Decision {
            rule: Rule::Affinity,
            candidates: Vec::new(),
            candidates_total: 4,
            excluded: Vec::new(),
            relaxed: false,
            waited_ms: 0.2,
            preference: None,
        },
        assigned: created,
        started: Some(started),
        end: Some(AttemptEnded {
            at: ended,
            outcome: Outcome::Completed,
            counted: false,
            failure: None,
            usage: None,
        }),
        overlap_possible: false,
        stop: None,
        children: 0,
    };
    let waiting = TaskState::Pending(daedalus::domain::Wait {
        since_us: 0,
        counted: true,
        hold: daedalus::domain::Hold::Excluding { until_us: None },
    });
    let done = TaskState::Ended { status: TaskStatus::Completed, at: ended };
    Task {
        id: TaskId::from_uuid(Uuid::from_u128(u128::from(number) << 64 | 7)),
        seq: Seq::new(number),
        spec: TaskSpec {
            kind: TaskType::General,
            payload: json_of(&json!({"number": number, "text": "x".repeat(200)})),
            priority: Priority::default(),
            preferred: None,
            timeout_us: None,
            key: None,
            trace: TraceId::from_uuid(Uuid::from_u128(u128::from(number))),
        },
        created,
        state: if is_pending { waiting } else { done },
        attempt: Attempt::new(u32::from(!is_pending)),
        attempts: if is_pending { Vec::new() } else { vec![attempt] },
        failures: 0,
        failed_on: Vec::new(),
        interruptions: 0,
        parent: None,
        asked: created,
        first_started: (!is_pending).then_some(started),
        gated_us: 0,
        follow_ups: None,
        result: (!is_pending).then(|| json_of(&json!({"found": number}))),
        error: None,
    }
}

/// A store with so many tasks that ended an hour ago, and some that wait.
fn fill(site: &Site, ended: u64) {
    std::fs::create_dir_all(&site.state).expect("a folder");
    let mut store = SqliteStore::open(&site.state.join("daedalus.db")).expect("a new store");
    let hour_ago =
        std::time::UNIX_EPOCH.elapsed().expect("it is after 1970") - Duration::from_secs(3_600);
    let begun_us = u64::try_from(hour_ago.as_micros()).expect("it is before 500000");
    let mut numbers = 1..=ended + PENDING;
    loop {
        let change = |number| Change::Task {
            task: Box::new(task(number, number > ended, begun_us)),
            new: true,
        };
        let changes: Vec<_> = numbers.by_ref().take(2_000).map(change).collect();
        if changes.is_empty() {
            return;
        }
        store.commit(changes).expect("there is room");
    }
}

/// The numbers of the newest so many completed tasks, and how many pages it took.
fn completed_tasks(client: &Client<'_>, wanted: usize) -> (Vec<u64>, usize) {
    let mut numbers = Vec::new();
    let mut path = "/tasks?status=completed&limit=1000".to_owned();
    for pages in 1.. {
        let page = client.ok("GET", &path, None);
        for task in page["tasks"].as_array().expect("a list") {
            let id = task["task_id"].as_str().and_then(|id| Uuid::parse_str(id).ok());
            numbers.push((id.expect("a UUID").as_u128() >> 64) as u64);
        }
        if numbers.len() >= wanted {
            numbers.truncate(wanted);
            return (numbers, pages);
        }
        let cursor = page["next_cursor"].as_str().expect("there is more");
        path = format!("/tasks?status=completed&limit=1000&cursor={cursor}");
    }
    unreachable!("a page is the last one or leads to the next")
}

#[test]
fn a_long_history_is_not_felt() {
    let measured = measured_history();
    let ended = measured.unwrap_or(100_000);
    let mut site = Site::new(NO_AGENTS);
    let filling = now();
    fill(&site, ended);
    say(&format!("{ended} ended tasks were written in {:?}", filling.elapsed()));

    let world = World::new(site.line.clone());
    let client = world.client();
    let begun = now();
    site.start();
    let listening = begun.elapsed();
    let (_, answer) = client.call("POST", "/tasks", Some(&json!({"payload": {}})));
    let submitted = begun.elapsed();
    assert_eq!(answer.expect("an answer").0, 200);

    let timed = |path: &str| {
        let begun = now();
        let answer = client.ok("GET", path, None);
        (begun.elapsed(), answer)
    };
    let (metrics_in, metrics) = timed("/metrics");
    assert_eq!(metrics["tasks_pending"], PENDING + 1);
    let old = Uuid::from_u128(u128::from(ended / 2) << 64 | 7);
    let (old_in, task) = timed(&format!("/tasks/{old}"));
    assert_eq!(task["status"], "completed");
    assert_eq!(task["payload"]["number"], ended / 2);
    let (page_in, page) = timed("/tasks?limit=1000");
    assert_eq!(page["tasks"].as_array().map(Vec::len), Some(1_000));
    let (completed, pages) = completed_tasks(&client, 5_000);
    assert_eq!(completed, (ended - 4_999..=ended).rev().collect::<Vec<_>>());
    let rss_kib = proc::rss_bytes(site.pid()).expect("it lives") / 1_024;
    say(&format!(
        "{ended} ended, {PENDING} pending: listening after {listening:?}, first submit \
         acknowledged after {submitted:?}, /metrics {metrics_in:?}, an old task {old_in:?}, a page \
         of 1000 {page_in:?}, {pages} pages to 5000 completed, resident {rss_kib} KiB"
    ));
    // Beside other tests, what grows with the history is still seen in the memory, and a clock says
    // only that nothing hangs.
    let (start, read, memory_kib) =
        if measured.is_some() { (1_000, 200, 40 << 10) } else { (30_000, 10_000, 80 << 10) };
    assert!(submitted < Duration::from_millis(start), "{submitted:?}");
    for took in [metrics_in, old_in, page_in] {
        assert!(took < Duration::from_millis(read), "{took:?}");
    }
    assert!(rss_kib < memory_kib, "{rss_kib} KiB");
}
