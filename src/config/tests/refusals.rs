//! Refusals say where, which key and what is allowed.

use super::{load_text, refusal};

#[test]
fn a_value_out_of_its_range_is_named_with_its_line() {
    let text = "# a comment\n\n[pool]\nmax_size = 0\n";
    assert_eq!(
        refusal(text, &[]),
        "test.toml:4: pool.max_size must be between 1 and 1024, found 0"
    );
    assert_eq!(
        refusal("pool.size = 17", &[]),
        "test.toml:1: pool.size must be between 0 and 16, found 17"
    );
    assert_eq!(
        refusal("[worker]\nheartbeat_s = nan", &[]),
        "test.toml:2: worker.heartbeat_s must be between 0.01 and 3600 (seconds), found nan"
    );
    assert_eq!(
        refusal("", &[("DAEDALUS_QUEUE__MAX_ATTEMPTS", "101")]),
        "DAEDALUS_QUEUE__MAX_ATTEMPTS: queue.max_attempts must be between 1 and 100, found 101"
    );
}

#[test]
fn both_ends_of_a_range_are_allowed() {
    for (text, past) in [
        ("pool.max_size = 1024", "pool.max_size = 1025"),
        ("queue.max_depth = 1", "queue.max_depth = 0"),
        ("queue.max_depth = 10_000_000", "queue.max_depth = 10_000_001"),
        ("queue.max_attempts = 100", "queue.max_attempts = 101"),
        ("queue.affinity_window = 1000", "queue.affinity_window = 1001"),
        ("worker.heartbeat_s = 0.01", "worker.heartbeat_s = 0.009"),
        ("worker.memory_limit_mb = 0", "worker.memory_limit_mb = -1"),
        ("worker.memory_limit_mb = 16_777_216", "worker.memory_limit_mb = 16_777_217"),
        ("pool.drain_s = 0", "pool.drain_s = -1"),
        ("types.ingest.timeout_s = 2_592_000", "types.ingest.timeout_s = 2_592_001"),
        ("store.retention = \"60s\"", "store.retention = \"59s\""),
        ("store.retention = \"3650d\"", "store.retention = \"87601h\""),
        ("store.min_free_mb = 0", "store.min_free_mb = -1"),
        ("store.min_free_mb = 1_048_576", "store.min_free_mb = 1_048_577"),
    ] {
        load_text(text, &[]).unwrap();
        refusal(past, &[]);
    }
}

#[test]
fn a_value_of_another_type_is_refused() {
    for (text, expected) in [
        ("pool.size = 1.5", "pool.size must be a whole number between 0 and 16, found 1.5"),
        ("pool.autostart = 1", "pool.autostart must be true or false, found 1"),
        (
            "worker.stuck_s = \"1m\"",
            "worker.stuck_s must be between 0.01 and 86400 (seconds), found \"1m\"",
        ),
        (
            "worker.command = \"python3\"",
            "worker.command must be a list of strings such as [\"python3\", \"-m\", \"worker\"]",
        ),
        (
            "worker.command = [\"\"]",
            "worker.command must begin with the name of a program, found an empty text",
        ),
        ("worker.agent = 1", "worker.agent must be a table such as { name = \"value\" }"),
        ("worker.agent = { x = inf }", "worker.agent.x must be a finite number"),
        (
            "log.level = \"loud\"",
            "log.level must be one of \"debug\", \"info\", \"warning\", \"error\", \"critical\", \
             found \"loud\"",
        ),
        (
            "store.retention = 7",
            "store.retention must be a time such as \"90s\", \"15m\", \"12h\" or \"7d\" between 1m \
             and 3650d, found 7",
        ),
    ] {
        assert_eq!(refusal(text, &[]), format!("test.toml:1: {expected}"));
    }
}

#[test]
fn a_base_path_has_a_slash_before_and_none_behind() {
    for good in ["", "/a", "/a/b-c.d_e~1"] {
        load_text(&format!("http.base_path = {good:?}"), &[]).unwrap();
    }
    for bad in ["/", "a", "/a/", "//a", "/a//b", "/a b", "/{a}", "/a?b"] {
        let refusal = refusal(&format!("http.base_path = {bad:?}"), &[]);
        assert!(refusal.contains("http.base_path must be empty, or begin with"), "{refusal}");
    }
}

#[test]
fn the_store_gets_a_file_that_nothing_else_uses() {
    for good in [":memory:", "x.db", "a/b.db", "./x.db", "/var/lib/x.db", "agents.db", "a:b"] {
        load_text(&format!("store.path = {good:?}"), &[]).unwrap();
    }
    let env = [("DAEDALUS_STATE_DIR", "/srv/state")];
    for bad in [
        "",
        "lock",
        "./lock",
        "agents",
        "agents/x.db",
        "/srv/state/agents/x.db",
        "/srv/state",
        "/srv",
        "a/../agents/x.db",
        "a/",
        ":memory",
        "a\0b",
        "daedalus.db.lock",
        "/srv/daedalus.db.new",
        "daedalus.db-wal",
        "daedalus.db-shm",
    ] {
        let bad = toml::Value::from(bad);
        let refusal = refusal(&format!("store.path = {bad}"), &env);
        assert_eq!(
            refusal,
            format!(
                "test.toml:1: store.path must be \":memory:\" or a file, relative to the state \
                 directory, that is neither \"lock\" nor in \"agents\" there, without \"..\", \
                 whose name does not end in \".lock\", \".new\", \"-wal\" or \"-shm\", found {bad}"
            )
        );
    }
}

#[test]
fn values_must_fit_together() {
    assert_eq!(
        refusal("[queue]\nbackoff_first_s = 61\n", &[]),
        "test.toml:2: queue.backoff_max_s must be at least queue.backoff_first_s (61), found 60"
    );
    assert_eq!(
        refusal("[worker]\nheartbeat_s = 2\nstuck_s = 1.5\n", &[]),
        "test.toml:3: worker.stuck_s must be at least worker.heartbeat_s (2), found 1.5"
    );
}

#[test]
fn a_secret_is_not_repeated_when_it_is_refused() {
    let refusal = refusal("worker.env = { API_KEY = 123456 }", &[]);
    assert_eq!(refusal, "test.toml:1: worker.env.API_KEY must be a string");
    let refusal = super::refusal("worker.pass_env = [\"A\", \"API_KEY=sk-1\"]", &[]);
    assert_eq!(
        refusal,
        "test.toml:1: worker.pass_env must be a list of names of variables; entry 2 is none"
    );
}

#[test]
fn unknown_keys_are_named_with_what_stands_there_instead() {
    for (text, expected) in [
        ("[log]\nlevels = 1", "test.toml:2: unknown key log.levels; [log] has level, format"),
        (
            "[types.writing]\ntimeout_s = 1",
            "test.toml:2: unknown key types.writing.timeout_s; the task types are discovery, \
             migration, heartbeat, ingest, research, general",
        ),
        ("pool = 3", "test.toml:1: unknown key pool; pool is a section, [pool]"),
        ("[[log]]\nlevel = \"info\"", "test.toml:1: unknown key log; log is a section, [log]"),
    ] {
        assert_eq!(refusal(text, &[]), expected);
    }
    for text in ["[gates]", "[[gates]]\nname = \"x\"", "\"pool.size\" = 3", "state_dir = \"x\""] {
        let refusal = refusal(text, &[]);
        assert!(refusal.starts_with("test.toml:1: unknown key "), "{refusal}");
        let sections = "the sections are http, pool, queue, worker, store, log, \
                        types.<task type> and the lists [[gate]], [[follow_up]], [[schedule]]";
        assert!(refusal.ends_with(sections), "{refusal}");
    }
    load_text("[pool]\n[types]\n[types.research]\n", &[]).unwrap();
}

#[test]
fn the_first_unknown_line_is_named() {
    let refusal = refusal("[pool]\nzzz = 1\n[http]\naaa = 1\n", &[]);
    assert!(refusal.starts_with("test.toml:2: unknown key pool.zzz"), "{refusal}");
}

#[test]
fn what_is_no_toml_is_named_with_its_line() {
    let broken = refusal("[pool]\nsize = 3\nsize = 4\n", &[]);
    assert!(broken.starts_with("test.toml:3: not valid TOML: duplicate key"), "{broken}");
    let broken = refusal("[pool]\nsize =\n", &[]);
    assert!(broken.starts_with("test.toml:2: not valid TOML: "), "{broken}");
    let broken = refusal("[pool]\nsize = 99999999999999999999\n", &[]);
    assert!(broken.starts_with("test.toml:2: "), "{broken}");
}

#[test]
fn a_limit_of_a_phase_is_a_time() {
    let expected = "worker.phase_limit_s.model must be between 0 and 2592000 (seconds)";
    for value in ["-1", "2592001", "nan", "\"1m\"", "true", "{}"] {
        let text = format!("worker.phase_limit_s = {{ model = {value} }}");
        assert_eq!(refusal(&text, &[]), format!("test.toml:1: {expected}"), "{value}");
    }
    load_text("worker.phase_limit_s = { model = 2592000, agent = 0 }", &[]).unwrap();
    let nameless = refusal("worker.phase_limit_s = { \"\" = 1 }", &[]);
    assert_eq!(nameless, "test.toml:1: worker.phase_limit_s. must have a name of 1 to 128 bytes");
    let text = "worker.phase_limit_s = 5";
    let expected = "test.toml:1: worker.phase_limit_s must be a table such as { name = \"value\" }";
    assert_eq!(refusal(text, &[]), expected);
}
