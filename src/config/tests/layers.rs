//! What wins over what, and where relative paths lead.

use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use serde_json::json;
use slog::Level;

use super::{Folder, load, load_text, refusal, sources};
use crate::config::{Sources, WorkerKind};
use crate::domain::TaskType;

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let folder = Folder::with("[pool]\nsize = 2\nmax_size = 8\n[http]\nbind = \"127.0.0.1:1\"\n");
    let env = [("DAEDALUS_POOL__SIZE", "3"), ("DAEDALUS_HTTP__BIND", "127.0.0.1:2")];
    let mut sources = sources(&folder.file(), &env);
    let config = load(&sources).unwrap();
    assert_eq!((config.pool.size, config.pool.max_size), (3, 8));
    assert_eq!(config.http.bind.port(), 2);

    sources.bind = Some("[::1]:3".to_owned());
    assert_eq!(load(&sources).unwrap().http.bind.to_string(), "[::1]:3");

    sources.bind = Some("localhost".to_owned());
    let refusal = load(&sources).unwrap_err().to_string();
    assert!(refusal.starts_with("--bind: http.bind must be an IP address and a port"), "{refusal}");
}

#[test]
fn variables_are_toml_values_or_plain_words() {
    let env = [
        ("DAEDALUS_WORKER__COMMAND", r#"["python3", "-m", "worker"]"#),
        ("DAEDALUS_WORKER__KIND", "external"),
        ("DAEDALUS_WORKER__HEARTBEAT_S", "0.2"),
        ("DAEDALUS_WORKER__CANCEL_GRACE_S", "2"),
        ("DAEDALUS_WORKER__ENV__PORT", "8080"),
        ("DAEDALUS_WORKER__ENV", r#"{ A = "1", PORT = "1" }"#),
        ("DAEDALUS_WORKER__AGENT__MAX_STEPS", "7"),
        ("DAEDALUS_POOL__AUTOSTART", "false"),
        ("DAEDALUS_LOG__LEVEL", "\"debug\""),
        ("DAEDALUS_TYPES__RESEARCH__TIMEOUT_S", "0.5"),
    ];
    let config = load_text("[worker]\nagent = { model = \"m\" }\n", &env).unwrap();
    assert_eq!(config.worker.command, ["python3", "-m", "worker"]);
    assert_eq!(config.worker.kind, WorkerKind::External);
    assert_eq!(config.worker.heartbeat, Duration::from_millis(200));
    assert_eq!(config.worker.cancel_grace, Duration::from_secs(2));
    assert_eq!(config.worker.env["A"], "1");
    assert_eq!(config.worker.env["PORT"], "8080");
    assert_eq!(config.worker.agent, json!({ "model": "m", "max_steps": 7 }));
    assert!(!config.pool.autostart);
    assert_eq!(config.log.level, Level::Debug);
    let research = config.types[TaskType::Research.index()];
    assert_eq!(research.timeout, Some(Duration::from_millis(500)));
}

#[test]
fn variables_without_a_section_are_no_keys() {
    let env = [
        ("DAEDALUS_STORE_ID", "x"),
        ("DAEDALUS_WORKER", "x"),
        ("DAEDALUS_AGENT_ID", "x"),
        ("DAEDALUS_BIN", "x"),
        ("PATH__X", "x"),
    ];
    load_text("", &env).unwrap();
}

#[test]
fn a_smaller_max_size_alone_makes_the_pool_smaller() {
    assert_eq!(load_text("[pool]\nmax_size = 2\n", &[]).unwrap().pool.size, 2);
}

#[test]
fn the_state_directory_comes_from_the_flag_then_our_variable_then_the_service_manager() {
    let of = |env: &[(&str, &str)], flag: Option<&str>| {
        let folder = Folder::with("");
        let state_dir = flag.map(PathBuf::from);
        load(&Sources { state_dir, ..sources(&folder.file(), env) }).unwrap().state_dir
    };
    let managed = ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b");
    let ours = ("DAEDALUS_STATE_DIR", "/srv/ours");
    assert_eq!(of(&[], None), absolute(".daedalus").unwrap());
    assert_eq!(of(&[managed], None), Path::new("/var/lib/a"));
    assert_eq!(of(&[managed, ours], None), Path::new("/srv/ours"));
    assert_eq!(of(&[managed, ours], Some("x")), absolute("x").unwrap());
    assert_eq!(of(&[managed, ("DAEDALUS_STATE_DIR", "")], None), Path::new("/var/lib/a"));
}

#[test]
fn the_store_is_found_from_the_state_directory() {
    let of = |path: &str| {
        let env = [("DAEDALUS_STATE_DIR", "state"), ("DAEDALUS_STORE__PATH", path)];
        load_text("[store]\npath = \"other.db\"\n", &env).unwrap().store_path()
    };
    assert_eq!(of("a/tasks.db"), Some(absolute("state/a/tasks.db").unwrap()));
    assert_eq!(of("/srv/tasks.db"), Some(PathBuf::from("/srv/tasks.db")));
    assert_eq!(of(":memory:"), None);
    let default = load_text("", &[("DAEDALUS_STATE_DIR", "/srv")]).unwrap();
    assert_eq!(default.store_path(), Some(PathBuf::from("/srv/daedalus.db")));
}

#[test]
fn a_retention_has_a_unit_of_time() {
    let env = [("DAEDALUS_STORE__RETENTION", "36h"), ("DAEDALUS_STORE__MIN_FREE_MB", "1")];
    let store = load_text("", &env).unwrap().store;
    assert_eq!(store.retention, Duration::from_secs(36 * 3600));
    assert_eq!((store.min_free_mb, store.min_free_bytes()), (1, 1 << 20));
}

#[test]
fn a_relative_program_is_found_from_the_file_that_names_it() {
    let folder = Folder::with("[worker]\ncommand = [\"./bin/worker\", \"./kept\"]\n");
    let command = load(&sources(&folder.file(), &[])).unwrap().worker.command;
    let program = folder.0.join("bin/worker");
    assert_eq!(command, [program.to_str().unwrap(), "./kept"]);

    let env = [("DAEDALUS_WORKER__COMMAND", r#"["bin/worker"]"#)];
    let command = load(&sources(&folder.file(), &env)).unwrap().worker.command;
    assert_eq!(command, [absolute("bin/worker").unwrap().to_str().unwrap()]);

    let env = [("DAEDALUS_WORKER__COMMAND", r#"["python3"]"#)];
    assert_eq!(load(&sources(&folder.file(), &env)).unwrap().worker.command, ["python3"]);
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let error = load(&sources(Path::new("no/such.toml"), &[])).unwrap_err();
    assert_eq!(error.to_string(), "failed to read the configuration no/such.toml");
}

#[test]
fn an_unknown_variable_is_named() {
    let refusal = refusal("", &[("DAEDALUS_POOL__SISE", "3")]);
    assert_eq!(
        refusal,
        "DAEDALUS_POOL__SISE: unknown key pool.sise; [pool] has max_size, size, autostart, \
         restarts_max, restart_window_s, drain_s"
    );
}

#[test]
fn limits_of_phases_have_names_of_the_users_own() {
    let text = "[worker.phase_limit_s]\nmodel = 600\ntool = 60\n\"tool:fetch\" = 2.5";
    let env = [
        ("DAEDALUS_WORKER__PHASE_LIMIT_S__TOOL", "90"),
        ("DAEDALUS_WORKER__PHASE_LIMIT_S__SCAN", "0"),
    ];
    let limits = load_text(text, &env).unwrap().worker.phase_limits;
    let limits: Vec<_> = limits.iter().map(|(name, limit)| (&**name, limit.as_millis())).collect();
    let expected = [("model", 600_000), ("scan", 0), ("tool", 90_000), ("tool:fetch", 2_500)];
    assert_eq!(limits, expected);

    let env = [("DAEDALUS_WORKER__PHASE_LIMIT_S", r#"{ "tool:fetch" = 3 }"#)];
    let limits = load_text(text, &env).unwrap().worker.phase_limits;
    assert_eq!(limits.keys().collect::<Vec<_>>(), ["tool:fetch"]);
}
