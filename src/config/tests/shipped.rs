//! The shipped file and what `render` writes say the same as the program.

use std::collections::BTreeSet;
use std::path::{Path, absolute};

use serde_json::json;

use super::{Config, load, load_text, sources};
use crate::config::render::sections;
use crate::config::{GateConfig, render};
use crate::domain::{ScheduleSpec, When};

const SHIPPED: &str = include_str!("../../../config/daedalus.toml");

fn defaults() -> Config {
    Config { state_dir: absolute(".daedalus").unwrap(), ..Config::default() }
}

#[test]
fn the_shipped_file_holds_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/daedalus.toml");
    assert_eq!(load(&sources(&file, &[])).unwrap(), defaults());
    assert_eq!(load_text("", &[]).unwrap(), defaults());
}

/// A line of the file when its examples are taken, without the "# " before their keys and headers.
fn taken(line: &str) -> &str {
    let Some(plain) = line.strip_prefix("# ") else { return line };
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let is_key = plain.split_once(" = ").is_some_and(|(key, _)| is_name(key));
    if is_key || plain.starts_with('[') { plain } else { line }
}

/// The file with all its examples.
fn examples() -> Config {
    let text: Vec<_> = SHIPPED.lines().map(taken).collect();
    load_text(&text.join("\n"), &[]).unwrap()
}

#[test]
fn the_shipped_file_has_every_key_with_a_comment() {
    let mut explained = BTreeSet::new();
    let (mut header, mut above) = ("", "");
    for line in SHIPPED.lines().map(taken) {
        if line.starts_with('[') {
            header = line;
        } else if above.starts_with("# ") {
            explained.insert((header, line));
        }
        above = line;
    }
    let mut keys_seen = BTreeSet::new();
    for (header, keys) in sections(&examples()) {
        for (key, value) in keys {
            // Further entries of a list need not explain it again.
            if keys_seen.insert((header.clone(), key)) {
                let line = format!("{key} = {value}");
                let is_explained = explained.contains(&(header.as_str(), line.as_str()));
                assert!(
                    is_explained,
                    "config/daedalus.toml: add {line} to {header} with a comment"
                );
            }
        }
    }
    assert!(keys_seen.len() > 40, "{keys_seen:?}");
}

#[test]
fn the_examples_of_the_shipped_file_have_every_key_of_a_list_with_its_default() {
    let text = r#"
        [[gate]]
        name = "discovery"
        task_types = ["discovery", "migration"]
        [[follow_up]]
        name = "migrate"
        [[schedule]]
        name = "heartbeat"
        every = "30s"
        task_type = "heartbeat"
    "#;
    let least = load_text(text, &[]).unwrap();
    let Config { gates, follow_ups, schedules, .. } = examples();
    assert!(gates[0].health_url.is_some() && gates[0].max_wait.is_some());
    let gate = GateConfig { health_url: None, max_wait: None, ..gates[0].clone() };
    assert_eq!(least.gates, [gate]);
    assert_eq!(least.follow_ups, follow_ups);
    let heartbeat =
        ScheduleSpec { payload: least.schedules[0].payload.clone(), ..schedules[0].clone() };
    assert_eq!((&least.schedules[0], heartbeat.payload.as_str()), (&heartbeat, "{}"));
    assert!(matches!(schedules[1].when, When::Cron(_)), "{schedules:?}");
}

#[test]
fn what_is_rendered_loads_again() {
    let text = r#"
        [http]
        bind = "[::1]:0"
        base_path = "/pool/v1"
        [pool]
        size = 0
        [store]
        path = "/srv/tasks.db"
        retention = "36h"
        min_free_mb = 0
        [worker]
        kind = "external"
        command = ["/bin/true", "a \"b\"\n"]
        heartbeat_s = 0.2
        phase_limit_s = { model = 600, tool = 0.5, "tool:a b" = 0 }
        [worker.agent]
        model = "x"
        temperature = 0.5
        max_tokens = 1000
        "a key" = "hidden"
        tools = ["a", { name = "b" }]
        since = 2026-01-02T03:04:05Z
        [types.ingest]
        timeout_s = 1.5
        [log]
        level = "warning"
        format = "text"
        [[gate]]
        name = "a"
        task_types = ["ingest", "research"]
        health_url = "http://a/"
        interval_s = 0.5
        max_wait_s = 3
        [[gate]]
        name = "b"
        task_types = ["ingest"]
        [[follow_up]]
        name = "a"
        [[follow_up]]
        name = "b"
        of = "ingest"
        task_type = "ingest"
        items = ""
        id = "a \"b\""
        top = 200
        [follow_up.filter]
        api_key = "seen"
        deep = { score = 1.0, list = [1, "x", { "a.b" = false }] }
        [[follow_up]]
        name = "c"
        filter = {}
        [[schedule]]
        name = "a"
        every = "90s"
        task_type = "heartbeat"
        jitter_s = 0.25
        [schedule.payload]
        number = 1.0
        list = [{ "a.b" = true, when = 03:15:00 }]
        [[schedule]]
        name = "b"
        cron = "@hourly"
        task_type = "ingest"
        overlap = "queue"
        priority = -7
    "#;
    let config = load_text(text, &[]).unwrap();
    let mut again = load_text(&render(&config), &[]).unwrap();
    assert_eq!(again.worker.agent["a key"], "***");
    assert_eq!(again.worker.agent["max_tokens"], 1000);
    assert_eq!(again.worker.agent["since"], "2026-01-02T03:04:05Z");
    again.worker.agent["a key"] = json!("hidden");
    assert_eq!(again, config);
}

#[test]
fn secrets_are_not_rendered() {
    let text = r#"
        [worker]
        env = { OPENAI_API_KEY = "sk-1", PLAIN = "sk-2" }
        [worker.agent]
        api_key = "sk-3"
        nested = { Auth_Token = ["sk-4"], list = [{ password = { value = "sk-5" } }] }
        [[schedule]]
        name = "a"
        every = "1s"
        task_type = "ingest"
        payload = { source = { url = "http://a", access_token = "sk-6" }, max_tokens = 5 }
    "#;
    let shown = render(&load_text(text, &[]).unwrap());
    assert!(!shown.contains("sk-"), "{shown}");
    assert!(shown.contains("OPENAI_API_KEY = \"***\""), "{shown}");
    assert!(shown.contains("PLAIN = \"***\""), "{shown}");
    assert!(shown.contains("access_token = \"***\", url = \"http://a\""), "{shown}");
    assert!(shown.contains("max_tokens = 5"), "{shown}");
}
