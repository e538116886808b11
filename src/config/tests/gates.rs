//! `[[gate]]`, and what it shares with the other lists.

use std::time::Duration;

use super::{load_text, refusal};
use crate::config::GateConfig;
use crate::domain::TaskType;

const TYPES: &str = r#""discovery", "migration", "heartbeat", "ingest", "research", "general""#;

/// The refusal of a good gate with more keys, from line 4 on.
fn refusal_of(keys: &str) -> String {
    refusal(&format!("[[gate]]\nname = \"a\"\ntask_types = [\"ingest\"]\n{keys}\n"), &[])
}

#[test]
fn gates_stand_in_their_order_with_what_was_said_of_each() {
    let text = r#"
        [[gate]]
        name = "discovery"
        task_types = ["discovery", "migration"]
        health_url = "http://127.0.0.1:8000/health?deep=1"
        interval_s = 0.5
        timeout_s = 0.25
        failures_to_close = 3
        start_grace_s = 0
        max_wait_s = 60
        [pool]
        size = 1
        [[gate]]
        name = "by_hand-2"
        task_types = ["ingest"]
    "#;
    let config = load_text(text, &[]).unwrap();
    assert_eq!(config.pool.size, 1);
    let second = GateConfig {
        name: "by_hand-2".to_owned(),
        task_types: [TaskType::Ingest].into_iter().collect(),
        health_url: None,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        failures_to_close: 2,
        start_grace: Duration::from_secs(5),
        max_wait: None,
    };
    let first = GateConfig {
        name: "discovery".to_owned(),
        task_types: [TaskType::Discovery, TaskType::Migration].into_iter().collect(),
        health_url: Some("http://127.0.0.1:8000/health?deep=1".to_owned()),
        interval: Duration::from_millis(500),
        timeout: Duration::from_millis(250),
        failures_to_close: 3,
        start_grace: Duration::ZERO,
        max_wait: Some(Duration::from_secs(60)),
    };
    assert_eq!(config.gates, [first, second]);
}

#[test]
fn a_list_can_stand_on_one_line() {
    let text = "gate = [{ name = \"a\", task_types = [\"ingest\"] }]\n";
    assert_eq!(load_text(text, &[]).unwrap().gates[0].name, "a");
    assert_eq!(load_text("gate = []\n", &[]).unwrap().gates, []);
    let broken = text.replace("ingest", "writing");
    assert!(refusal(&broken, &[]).starts_with("test.toml:1: gate[0].task_types must be a list"));
}

#[test]
fn a_key_that_an_entry_must_have_is_missed_where_the_entry_begins() {
    assert_eq!(
        refusal("[pool]\n[[gate]]\ntask_types = [\"ingest\"]\n", &[]),
        "test.toml:2: gate[0].name is missing; it must be 1 to 64 characters of a-z, 0-9, \"_\" and \
         \"-\""
    );
    assert_eq!(
        refusal("[[gate]]\n", &[]),
        "test.toml:1: gate[0].name is missing; it must be 1 to 64 characters of a-z, 0-9, \"_\" and \
         \"-\""
    );
    assert_eq!(
        refusal("[[gate]]\nname = \"a\"\n", &[]),
        format!(
            "test.toml:1: gate[0].task_types is missing; it must be a list of one or more of {TYPES}"
        )
    );
}

#[test]
fn a_name_is_short_and_plain_and_no_other_entry_has_it() {
    let gate = |name: &str| format!("[[gate]]\nname = {name:?}\ntask_types = [\"ingest\"]\n");
    load_text(&gate(&"x".repeat(64)), &[]).unwrap();
    for bad in ["", "A", "a b", "a.b", "é", &"x".repeat(65)] {
        assert_eq!(
            refusal(&gate(bad), &[]),
            format!(
                "test.toml:2: gate[0].name must be 1 to 64 characters of a-z, 0-9, \"_\" and \
                 \"-\", found {bad:?}"
            )
        );
    }
    assert_eq!(
        refusal(&["b", "a", "b"].map(gate).concat(), &[]),
        "test.toml:8: gate[2].name must be its own, but gate[0] is called \"b\", too"
    );
}

#[test]
fn there_are_so_many_gates_and_no_more() {
    let gates = |count: usize| {
        let gate = |i| format!("[[gate]]\nname = \"g{i}\"\ntask_types = [\"ingest\"]\n");
        (0..count).map(gate).collect::<String>()
    };
    let config = load_text(&gates(16), &[]).unwrap();
    assert_eq!(config.gates[15].name, "g15");
    assert_eq!(
        refusal(&gates(17), &[]),
        "test.toml:49: gate[16] is one too many; there can be 16 at most"
    );
}

#[test]
fn the_types_of_a_gate_are_one_or_more_that_exist() {
    let of = |types: &str| refusal(&format!("[[gate]]\nname = \"a\"\ntask_types = {types}\n"), &[]);
    let all = format!("test.toml:3: gate[0].task_types must be a list of one or more of {TYPES}");
    assert_eq!(of("[]"), format!("{all}, found none"));
    assert_eq!(of("[\"ingest\", \"writing\"]"), format!("{all}; entry 2 is none"));
    assert_eq!(of("\"ingest\""), all);
}

#[test]
fn numbers_of_a_gate_have_their_ranges() {
    for (good, past) in [
        ("interval_s = 0.05", "interval_s = 0.04"),
        ("interval_s = 3600", "interval_s = 3601"),
        ("timeout_s = 0.01", "timeout_s = 0.009"),
        ("timeout_s = 60", "timeout_s = 61"),
        ("failures_to_close = 1", "failures_to_close = 0"),
        ("failures_to_close = 100", "failures_to_close = 101"),
        ("start_grace_s = 0", "start_grace_s = -1"),
        ("start_grace_s = 3600", "start_grace_s = 3600.5"),
        ("max_wait_s = 0.1", "max_wait_s = 0"),
        ("max_wait_s = 2_592_000", "max_wait_s = 2_592_001"),
    ] {
        load_text(&format!("[[gate]]\nname = \"a\"\ntask_types = [\"ingest\"]\n{good}\n"), &[])
            .unwrap();
        refusal_of(past);
    }
    assert_eq!(
        refusal_of("interval_s = 0"),
        "test.toml:4: gate[0].interval_s must be between 0.05 and 3600 (seconds), found 0"
    );
}

#[test]
fn a_health_url_is_one_that_can_be_asked() {
    let url = "an address such as \"http://127.0.0.1:8000/health\"";
    for good in ["http://a", "http://a.example:80/x/y?z=1", "http://[::1]:8000/", "HTTP://a/"] {
        let text =
            format!("[[gate]]\nname = \"a\"\ntask_types = [\"ingest\"]\nhealth_url = {good:?}");
        load_text(&text, &[]).unwrap();
    }
    for bad in [
        "",
        "/health",
        "a:8000",
        "ftp://a/",
        "http://",
        "http://:80/",
        "http://a:0/",
        "http://a:x/",
        "http://a:99999/",
        "http://a:/",
        "http://a/#b",
        "http://a b/",
    ] {
        let refusal = refusal_of(&format!("health_url = {bad:?}"));
        assert_eq!(refusal, format!("test.toml:4: gate[0].health_url must be {url}"), "{bad}");
    }
    assert_eq!(
        refusal_of("health_url = \"https://a/health\""),
        format!(
            "test.toml:4: gate[0].health_url must be {url}; TLS is not spoken here, so \"https\" \
             cannot be asked"
        )
    );
    assert_eq!(
        refusal_of("health_url = \"http://me:sk-1@a/health\""),
        format!(
            "test.toml:4: gate[0].health_url must be {url}, without a name and password before the \
             host"
        )
    );
    assert_eq!(
        refusal_of("health_url = 8000"),
        format!("test.toml:4: gate[0].health_url must be {url}, found 8000")
    );
}

#[test]
fn a_list_is_told_from_a_section() {
    assert_eq!(
        refusal_of("url = \"x\""),
        "test.toml:4: unknown key gate[0].url; [[gate]] has name, task_types, health_url, \
         interval_s, timeout_s, failures_to_close, start_grace_s, max_wait_s"
    );
    for (text, line, key) in [
        ("[gate]\nname = \"a\"\n", 2, "gate.name"),
        ("[gate]\n", 1, "gate"),
        ("gate = 1\n", 1, "gate"),
        ("gate = [{ name = \"a\" }, 1]\n", 1, "gate"),
        ("[gate.a]\nhealth_url = \"x\"\n", 2, "gate.a.health_url"),
    ] {
        assert_eq!(
            refusal(text, &[]),
            format!("test.toml:{line}: unknown key {key}; every gate begins with [[gate]]")
        );
    }
    let refusal =
        refusal("[[gate]]\nname = \"a\"\ntask_types = [\"ingest\"]\n[gate.http]\nx = 1", &[]);
    assert!(
        refusal.starts_with("test.toml:4: unknown key gate[0].http; [[gate]] has"),
        "{refusal}"
    );
}

#[test]
fn the_environment_does_not_reach_into_lists() {
    for (name, key) in [
        ("DAEDALUS_GATE__X", "gate.x"),
        ("DAEDALUS_GATE__0__NAME", "gate.0.name"),
        ("DAEDALUS_GATE__", "gate.\"\""),
    ] {
        assert_eq!(
            refusal("", &[(name, "x")]),
            format!("{name}: unknown key {key}; [[gate]] can be set in the file only")
        );
    }
    let text = "[[gate]]\nname = \"a\"\ntask_types = [\"ingest\"]\n";
    let refusal = refusal(text, &[("DAEDALUS_GATE[0]__NAME", "b")]);
    assert!(
        refusal.starts_with("DAEDALUS_GATE[0]__NAME: unknown key \"gate[0]\".name; "),
        "{refusal}"
    );
}
