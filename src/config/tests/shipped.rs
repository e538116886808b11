//! The shipped file and what `render` writes say the same as the program.

use std::path::{Path, absolute};

use serde_json::json;

use super::{Config, load, load_text, sources};
use crate::config::render;
use crate::config::render::sections;

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

#[test]
fn the_shipped_file_has_every_key_with_a_comment() {
    let mut config = Config::default();
    config.types[4].timeout = Some(config.worker.task_timeout);
    for (section, keys) in sections(&config) {
        let header = format!("[{section}]\n");
        let (_, body) = SHIPPED.split_once(&header).expect(&header);
        let body = body.split("\n[").next().unwrap_or_default();
        let lines: Vec<&str> = body.lines().collect();
        for (key, value) in keys {
            let line = format!("{key} = {value}");
            let place = lines.iter().position(|found| found.trim_start_matches("# ") == line);
            let place = place.unwrap_or_else(|| panic!("config/daedalus.toml: add {line}"));
            let is_explained = place > 0 && lines[place - 1].starts_with("# ");
            assert!(is_explained, "config/daedalus.toml: say above {section}.{key} what it is");
        }
    }
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
    "#;
    let shown = render(&load_text(text, &[]).unwrap());
    assert!(!shown.contains("sk-"), "{shown}");
    assert!(shown.contains("OPENAI_API_KEY = \"***\""), "{shown}");
    assert!(shown.contains("PLAIN = \"***\""), "{shown}");
}
