//! What clients and agents do all day, until the world closes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, World};
use super::history::Run;
use super::os::{Chance, PATIENCE, let_pass, now, pause, until};

/// How tasks are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// The longest work, in milliseconds.
    pub(crate) work_ms: u64,
    /// Whether some are called off.
    pub(crate) cancels: bool,
    /// Whether some fail, at first or for good.
    pub(crate) fails: bool,
}

/// A payload that nobody else has, with what JSON has to offer.
pub(crate) fn payload(token: &str, manner: Manner, chance: &mut Chance) -> Value {
    let work_ms = chance.below(manner.work_ms + 1);
    let fate = match chance.below(12) {
        0 if manner.fails => "fails at first",
        1 if manner.fails => "fails",
        _ => "done",
    };
    // Now and then more than fits into a page of the store.
    let most = if chance.one_in(64) { 3_000 } else { 60 };
    let times = chance.below(most);
    let long = "\u{e9}\u{1f600}\"\\\n ".repeat(times as usize);
    json!({
        "token": token, "work_ms": work_ms, "fate": fate, "text": long, "odd": [chance.next(), -1.5e-7, null],
        "z": {"b": [], "a": {"": true}},
    })
}

/// Submits tasks, one after the other; some are submitted again, some called off.
pub(crate) fn submit(world: &World, name: &str, manner: Manner, mut chance: Chance) {
    let client = world.client();
    let mut with_key: Vec<(String, Value)> = Vec::new();
    for number in 0.. {
        if world.is_closing() {
            return;
        }
        let token = format!("{name}-{number}");
        let payload = payload(&token, manner, &mut chance);
        let has_key = !chance.one_in(4);
        let Some(task) = client.submit(&token, has_key, &payload) else { continue };
        if has_key {
            with_key.push((token, payload));
        }
        if !with_key.is_empty() && chance.one_in(6) {
            // The last one, or one that may have ended long ago.
            let back = if chance.one_in(2) { 1 } else { 1 + chance.below(with_key.len() as u64) };
            let (token, payload) = &with_key[with_key.len() - back as usize];
            client.submit(token, true, payload);
        }
        if manner.cancels && chance.one_in(12) {
            client.cancel(&task);
        }
    }
}

/// Reads tasks, lists and agents.
pub(crate) fn read(world: &World, mut chance: Chance) {
    let client = world.client();
    while !world.is_closing() {
        match chance.below(16) {
            0 => {
                client.agents();
            }
            1 => {
                client.walk(None, 50, 2);
            }
            2 => {
                client.walk(Some("completed"), 50, 2);
            }
            3 if chance.one_in(16) => {
                client.walk(None, 1000, usize::MAX);
            }
            _ => {
                // A young one, mostly.
                let ids = world.ids();
                let back = if chance.one_in(4) { ids.len() } else { ids.len().min(20) };
                let task = (back > 0)
                    .then(|| ids[ids.len() - 1 - chance.below(back as u64) as usize].clone());
                drop(ids);
                match task {
                    Some(task) => drop(client.read(&task, chance.below(2))),
                    None => pause(),
                }
            }
        }
    }
}

/// Is one external agent: fetches, works, completes; also what is left when the world closes.
pub(crate) fn be_agent(world: &World, agent: &str, number: u64) {
    let client = world.client();
    let mut closing = None;
    loop {
        let Some(work) = client.fetch(agent) else {
            // Nothing within the wait, no answer, or a refusal of an agent that was failed.
            if world.is_closing() {
                if nothing_to_do(&client) || world.is_over() {
                    return;
                }
                let since = *closing.get_or_insert_with(now);
                assert!(since.elapsed() < PATIENCE, "others do not end their tasks");
            }
            pause();
            continue;
        };
        let mut run = Run {
            task: work["task_id"].as_str().expect("an id").to_owned(),
            token: work["payload"]["token"].as_str().expect("a token").to_owned(),
            attempt: work["attempt"].as_u64().expect("a number"),
            agent: agent.to_owned(),
            incarnation: work["incarnation"].as_u64().expect("a number"),
            pid: number,
            start: world.moment(),
            end: None,
            alive: Vec::new(),
            alone: false,
        };
        let_pass(Duration::from_millis(work["payload"]["work_ms"].as_u64().expect("a number")));
        run.end = Some(world.moment());
        world.history().runs.push(run.clone());
        if let Some((409, refused)) = client.complete(&run, &work["payload"]["fate"]) {
            let code = refused["code"].as_str().expect("a code");
            assert!(
                ["already_finished", "stale_attempt", "not_running"].contains(&code),
                "{refused}"
            );
        }
    }
}

fn nothing_to_do(client: &Client<'_>) -> bool {
    let (_, answer) = client.call("GET", "/metrics", None);
    answer.is_some_and(|(_, metrics)| {
        metrics["tasks_pending"] == 0 && metrics["tasks_in_progress"] == 0
    })
}

/// Waits until every task has ended, and reads them all.
pub(crate) fn drain(world: &World) {
    let client = world.client();
    until("every task has ended", || nothing_to_do(&client).then_some(()));
    let moment = world.moment();
    world.history().drained = moment;
    read_all(world);
}

/// Reads every task that anybody heard of, and every list.
pub(crate) fn read_all(world: &World) {
    let client = world.client();
    client.agents();
    client.walk(None, 997, usize::MAX).expect("a list");
    for status in ["completed", "cancelled", "failed", "pending", "in_progress"] {
        client.walk(Some(status), 1000, usize::MAX).expect("a list");
    }
    let tasks: Vec<String> = world.history().tasks().into_iter().map(str::to_owned).collect();
    for task in tasks {
        client.read(&task, 0);
    }
}

/// What process agents wrote down in their files.
pub(crate) fn runs_in(folder: &Path) -> Vec<Run> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a worker wrote it");
        let mut of_task: BTreeMap<(u64, u64), Run> = BTreeMap::new();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("a worker wrote it in one go");
            let number = |name: &str| line[name].as_u64().expect("a number");
            let text = |name: &str| line[name].as_str().expect("a text").to_owned();
            let key = (number("attempt"), number("pid"));
            if line["what"] == "end" {
                of_task.get_mut(&key).expect("it started").end = Some(number("at"));
                continue;
            }
            let alive = line["alive"].as_array().expect("a list").iter().filter_map(Value::as_u64);
            let run = Run {
                task: text("task"),
                token: text("token"),
                attempt: number("attempt"),
                agent: text("agent"),
                incarnation: number("incarnation"),
                pid: number("pid"),
                start: number("at"),
                end: None,
                alive: alive.collect(),
                alone: true,
            };
            assert!(of_task.insert(key, run).is_none(), "an attempt ran twice: {line}");
        }
        runs.extend(of_task.into_values());
    }
    runs
}
