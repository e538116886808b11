//! The isolation report, measured from real agents.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL, text, wait_until};

/// Agents that are a small program in Python, which first does what this script says and then takes
/// no task. `PLACE` is where the state of the daemon is.
fn with_workers(script: &str, agents: usize) -> (Daemon, Vec<String>) {
    with_workers_and("", script, agents)
}

/// The same, with these keys of `[worker]`.
fn with_workers_and(keys: &str, script: &str, agents: usize) -> (Daemon, Vec<String>) {
    let program = format!(
        "import json, os, sys, time\n\
         place = os.path.abspath(os.path.join(os.getcwd(), '..', '..'))\n\
         say = lambda **frame: print(json.dumps(frame), flush=True)\n\
         say(type='hello', proto=[1, 1], pid=os.getpid())\n\
         sys.stdin.readline()\n\
         {script}\n\
         say(type='ready')\n\
         while sys.stdin.readline():\n    pass\n"
    );
    let program = Value::from(program);
    let config = format!(
        "[pool]\nautostart = false\n\
         [worker]\ncommand = [\"python3\", \"-c\", {program}]\nheartbeat_s = 600\nstuck_s = 6000\n{keys}\n\
         [worker.sandbox]\nenabled = false\n"
    );
    Daemon::with_agents(&config, agents)
}

fn breaches(daemon: &Daemon) -> Vec<Value> {
    let lines = daemon.log_so_far();
    lines.into_iter().filter(|line| line["msg"] == "isolation_breach").collect()
}

fn issues(detail: &Value) -> Vec<String> {
    detail["issues"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_report_shows_what_each_agent_has_and_finds_nothing_wrong() {
    let (daemon, _) = Daemon::with_agents("[pool]\nautostart = false\n", 3);
    let report = daemon.get("/isolation-report").ok();
    assert_eq!(report["breaches_detected"], 0, "{report:#}");
    let missing = report["not_enforced"].as_array().unwrap();
    assert!(missing.iter().any(|missing| missing["guard"] == "udp"), "{missing:?}");
    let mut seen = BTreeSet::new();
    for detail in report["details"].as_array().unwrap() {
        let measured = &detail["measured"];
        assert_eq!(issues(detail), [] as [&str; 0]);
        assert_eq!((&detail["isolated"], &detail["incarnation"]), (&json!(true), &json!(1)));
        for number in ["session", "group", "uid", "gid"] {
            assert!(measured[number].is_u64(), "{number}: {measured:#}");
        }
        for own in ["pid", "launcher_pid", "group", "workdir"] {
            assert!(seen.insert(format!("{own} {}", measured[own])), "{own}: {measured:#}");
        }
        assert!(measured["confinement"]["landlock_abi"].is_u64(), "{measured:#}");
        assert!(measured["namespaces"]["net"].is_u64(), "{measured:#}");
        assert!(measured["limits"]["open_files"]["soft"].is_u64(), "{measured:#}");
        assert_eq!(measured["unread"], json!([]));
        assert_eq!(measured["shared_memory"], json!([]));
        // As root without an id of its own a worker may need this one to reach its folders.
        let capabilities = measured["capabilities"].as_array().unwrap();
        assert!(capabilities.iter().all(|name| name == "DAC_OVERRIDE"), "{capabilities:?}");
        let names = measured["environment"].as_array().unwrap();
        assert!(names.contains(&json!("DAEDALUS_AGENT_ID")), "{names:?}");
        // It is there once only, and has its three streams.
        assert_eq!(measured["processes"].as_array().unwrap().len(), 1, "{measured:#}");
        let files = measured["open_files"].as_array().unwrap();
        assert!(files.iter().any(|file| file["fd"] == 0 && file["writable"] == false), "{files:?}");
        assert!(files.iter().any(|file| file["fd"] == 1 && file["writable"] == true), "{files:?}");
    }
    assert_eq!(breaches(&daemon), [] as [Value; 0]);
}

#[test]
fn a_file_that_two_agents_write_to_is_found_everywhere_and_told_once() {
    let script = "kept = open(os.path.join(place, 'shared'), 'a')";
    let (daemon, agents) = with_workers(script, 2);
    // Nobody asks: the check at the start of an agent finds it.
    wait_until("the breaches are found", || {
        (daemon.metrics()["isolation"]["breaches"] == 2).then_some(())
    });
    let shared = daemon.state_dir().canonicalize().unwrap().join("shared");
    let sentence =
        |other: &str| format!("writable file {} is shared with {other}", shared.display());
    let report = daemon.get("/isolation-report").ok();
    assert_eq!(report["breaches_detected"], 2, "{report:#}");
    for (number, other) in [(0, 1), (1, 0)] {
        let sentence = sentence(&agents[other]);
        let detail = &report["details"][number];
        assert_eq!((issues(detail), &detail["isolated"]), (vec![sentence.clone()], &json!(false)));
        let agent = daemon.get(&format!("/agents/{}", agents[number])).ok();
        let expected = json!({ "shared_state_detected": true, "notes": [sentence] });
        assert_eq!(agent["isolation"], expected);
    }
    let told = breaches(&daemon);
    let by_agent: BTreeSet<_> = told
        .iter()
        .map(|line| (text(&line["agent_id"]), text(&line["issue"]), line["incarnation"].as_u64()))
        .collect();
    let expected = [(0, 1), (1, 0)]
        .map(|(number, other)| (agents[number].clone(), sentence(&agents[other]), Some(1)));
    assert_eq!((told.len(), by_agent), (2, expected.into()));

    // It goes away with one of them.
    daemon.delete(&format!("/agents/{}", agents[1])).ok();
    assert_eq!(daemon.get("/isolation-report").ok()["breaches_detected"], 0);
    let metrics = daemon.call("GET", "/metrics", &[("accept", "text/plain")], None).text;
    for line in ["daedalus_isolation_breaches 0", "daedalus_isolation_breaches_found_total 2"] {
        assert!(metrics.lines().any(|series| series.trim_end_matches(".0") == line), "{metrics}");
    }
}

#[test]
fn memory_that_two_agents_write_to_is_found_also_in_a_child() {
    let script = "import mmap\n\
                  name = '/dev/shm/daedalus-' + str(os.stat(place).st_ino)\n\
                  file = open(name, 'w+b')\n\
                  file.truncate(4096)\n\
                  memory = mmap.mmap(file.fileno(), 4096)\n\
                  file.close()\n\
                  if os.fork() == 0:\n    time.sleep(1000)\n\
                  memory.close()";
    let (daemon, agents) = with_workers(script, 2);
    let report = daemon.get("/isolation-report").ok();
    let memory = std::os::unix::fs::MetadataExt::ino(&daemon.state_dir().metadata().unwrap());
    let memory = format!("/dev/shm/daedalus-{memory}");
    std::fs::remove_file(&memory).unwrap();
    for (number, other) in [(0, 1), (1, 0)] {
        let sentence = format!("writable memory {memory} is shared with {}", agents[other]);
        assert_eq!(issues(&report["details"][number]), [sentence], "{report:#}");
        assert_eq!(report["details"][number]["measured"]["shared_memory"], json!([memory]));
    }
}

#[test]
fn checks_are_made_without_being_asked_for() {
    let often = format!("{EXTERNAL}isolation_check_s = 0.02\n");
    let daemon = Daemon::start(&often);
    let checks = || daemon.metrics()["isolation"]["checks"].as_u64().unwrap();
    let before = checks();
    wait_until("some more checks", || (checks() > before + 3).then_some(()));
}

#[test]
fn a_breach_that_comes_later_is_found_without_being_asked_for() {
    let script = "import threading\n\
                  def later():\n    global kept\n    \
                  while not os.path.exists(os.path.join(place, 'go')): time.sleep(0.01)\n    \
                  kept = open(os.path.join(place, 'shared'), 'a')\n\
                  threading.Thread(target=later, daemon=True).start()";
    let (daemon, _) = with_workers_and("isolation_check_s = 0.05", script, 2);
    let isolation = || daemon.metrics()["isolation"].clone();
    wait_until("a check of both", || (isolation()["checks"].as_u64().unwrap() > 5).then_some(()));
    assert_eq!(isolation()["breaches_found"], 0);
    std::fs::write(daemon.state_dir().join("go"), "").unwrap();
    wait_until("both are told", || (breaches(&daemon).len() == 2).then_some(()));
    assert_eq!((&isolation()["breaches"], &isolation()["breaches_found"]), (&json!(2), &json!(2)));
}

#[test]
fn health_is_that_of_the_whole_tree() {
    let script = "kept = bytearray(b'x') * (8 << 20)\n\
                  if os.fork() == 0:\n    kept = bytearray(b'y') * (64 << 20)\n    while True: pass";
    let (daemon, agents) = with_workers(script, 1);
    let health = wait_until("the child has its memory and works", || {
        let health = daemon.get(&format!("/agents/{}", agents[0])).ok()["health"].clone();
        let is_at_work = health["cpu_usage"].as_f64().unwrap() > 0.0;
        (health["rss_bytes"].as_u64().unwrap() > 72 << 20 && is_at_work).then_some(health)
    });
    let shares = ["memory_usage", "cpu_usage"].map(|share| health[share].as_f64().unwrap());
    assert!(shares.iter().all(|share| *share > 0.0 && *share <= 1.0), "{health}");
}
