//! `POST /isolation-report/canary`: secrets that must not reach another agent.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::daemon::{Daemon, fresh_directory, text, wait_until};

/// Agents of the built-in worker.
const BUILT_IN: &str = "[pool]\nautostart = false\n";

/// The same, and nothing keeps them apart but what they do by themselves.
pub(super) const UNCONFINED: &str =
    "[pool]\nautostart = false\n[worker.sandbox]\nenabled = false\n";

/// A worker that does of a canary what the case is about.
const WORKER: &str = r#"
import json, os, sys, threading, time

CASE = sys.argv[1]
lock, seq = threading.Lock(), 0

def say(kind, **fields):
    global seq
    with lock:
        seq += 1
        print(json.dumps({"type": kind, "seq": seq, **fields}), flush=True)

def beat(every_s):
    while True:
        time.sleep(every_s)
        say("heartbeat")

say("hello", proto=[1, 1], features=[] if CASE == "old" else ["canary"])
own, is_mute = None, False
for line in sys.stdin:
    frame = json.loads(line)
    kind, run = frame["type"], frame.get("run")
    if kind == "init":
        threading.Thread(target=beat, args=[frame["heartbeat_s"]], daemon=True).start()
        say("ready")
    elif kind == "canary_plant":
        if CASE == "die":
            os._exit(1)
        own = frame["secret"]
        with open(os.environ["SHARED"], "a") as shared:
            shared.write(own + "\n")
        is_mute = CASE == "mute first" and open(os.environ["SHARED"]).readline().strip() == own
        if CASE == "deaf" or is_mute:
            continue
        say("canary_planted", run=run, ways=["file"])
    elif kind == "canary_look":
        found = [{"token": token, "way": "file", "where": "shared-" + token}
                 for token in open(os.environ["SHARED"]).read().split() if token != own]
        found += [{"token": own, "way": "own", "where": ""}, {"token": "made up", "way": "x", "where": ""}]
        say("canary_found", run=run, tried=["file", "own"], found=found)
    elif kind == "canary_clear":
        if is_mute:
            continue
        say("canary_cleared", run=run)
    elif kind == "shutdown":
        say("bye")
        break
    else:
        sys.exit(64)
"#;

/// A daemon whose workers are that program, and the file that all of them write to.
fn with_worker(case: &str, agents: usize) -> (Daemon, Vec<String>, PathBuf) {
    let place = fresh_directory("canary");
    let (program, shared) = (place.join("worker.py"), place.join("shared"));
    std::fs::write(&program, WORKER).unwrap();
    std::fs::write(&shared, "").unwrap();
    let config = format!(
        "{UNCONFINED}[worker]\ncommand = [{}, {}, {}]\nenv = {{ SHARED = {} }}\n",
        quoted(&python()),
        quoted(&program.display().to_string()),
        quoted(case),
        quoted(&shared.display().to_string()),
    );
    let (daemon, ids) = Daemon::with_agents(&config, agents);
    (daemon, ids, place)
}

pub(super) fn quoted(text: &str) -> String {
    json!(text).to_string()
}

pub(super) fn python() -> String {
    let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(found.expect("there is a python3").stdout).unwrap().trim().to_owned()
}

pub(super) fn check(daemon: &Daemon) -> Value {
    daemon.order("/isolation-report/canary").ok()
}

pub(super) fn outcomes(report: &Value) -> Vec<String> {
    report["agents"].as_array().unwrap().iter().map(|agent| text(&agent["outcome"])).collect()
}

pub(super) fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(text).collect()
}

/// The ways by which secrets got from one agent to another.
fn ways(report: &Value) -> BTreeSet<String> {
    report["leaks"].as_array().unwrap().iter().map(|leak| text(&leak["way"])).collect()
}

/// From whom to whom they got.
pub(super) fn pairs(report: &Value) -> BTreeSet<(String, String)> {
    let leaks = report["leaks"].as_array().unwrap().iter();
    leaks.map(|leak| (text(&leak["from"]), text(&leak["to"]))).collect()
}

/// Whether an agent went each way to its end by which secrets are hidden, but those that have none.
fn has_tried_all(agent: &Value, is_endless: impl Fn(&str) -> bool) -> bool {
    let tried = names(&agent["tried"]);
    ["environment", "files", "port", "process_environment", "socket"]
        .iter()
        .all(|way| tried.contains(*way) || is_endless(way))
}

/// Nothing that was hidden is left below the directories of the agents.
pub(super) fn assert_nothing_is_left(daemon: &Daemon) {
    let agents = daemon.state_dir().join("agents");
    let left: Vec<_> = std::fs::read_dir(agents)
        .unwrap()
        .flat_map(|agent| std::fs::read_dir(agent.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

pub(super) fn assert_no_secret_is_told(daemon: &Daemon, report: &Value) {
    let log = daemon.log_so_far();
    for told in std::iter::once(report).chain(&log) {
        assert!(!told.to_string().contains("daedalus-canary-"), "{told}");
    }
}

#[test]
fn a_secret_that_is_within_reach_of_another_agent_is_found() {
    // Whoever may read one may read all.
    let (daemon, agents) = Daemon::with_agents(UNCONFINED, 3);
    // A busy machine may have no time for one who is asked at a port.
    let mut breaches = 0;
    let report = wait_until("all have the time to find it", || {
        let report = check(&daemon);
        breaches += pairs(&report).len();
        let agents = report["agents"].as_array().unwrap();
        agents.iter().all(|agent| has_tried_all(agent, |_| false)).then_some(report)
    });
    assert_eq!(outcomes(&report), ["checked"; 3], "{report}");
    let all: Vec<_> = report["agents"].as_array().unwrap().iter().collect();
    for (agent, id) in all.iter().zip(&agents) {
        assert_eq!((&agent["agent_id"], &agent["incarnation"]), (&json!(id), &json!(1)));
        let planted = ["file", "port", "process_environment", "socket", "variable"];
        assert_eq!(names(&agent["planted"]), planted.map(str::to_owned).into());
    }
    assert_eq!((&report["leaked"], &report["checked"]), (&json!(true), &json!(3)));
    let found = ways(&report);
    for way in ["files", "port", "process_environment", "socket"] {
        assert!(found.contains(way), "{way}: {report}");
    }
    let pairs = pairs(&report);
    assert_eq!(pairs.len(), 6, "each of three has the secrets of two: {pairs:?}");
    assert!(pairs.iter().all(|(from, to)| from != to && agents.contains(from)), "{pairs:?}");
    let breach = daemon.log_line("a breach", |line| line["msg"] == "isolation_breach");
    assert!(text(&breach["issue"]).contains("port"), "{breach}");
    assert_eq!(daemon.metrics()["isolation"]["breaches_found"], breaches, "one for each pair");
    assert_no_secret_is_told(&daemon, &report);
    assert_nothing_is_left(&daemon);
}

#[test]
fn in_the_sandbox_no_secret_leaks() {
    let (daemon, _agents) = Daemon::with_agents(BUILT_IN, 4);
    let isolation = daemon.get("/isolation-report").ok();
    let missing = isolation["not_enforced"].as_array().unwrap().iter();
    let missing: BTreeSet<_> = missing.map(|guard| text(&guard["guard"])).collect();
    // What this kernel cannot close is said, and is the only way by which anything leaks.
    let open = |way: &str| match way {
        "port" => missing.contains("tcp"),
        "socket" => missing.contains("abstract_sockets"),
        _ => missing.contains("files") && missing.contains("uid"),
    };
    // Without it the files of the whole machine are within reach: more than there is time for.
    let is_endless = |way: &str| way == "files" && missing.contains("files");
    // That nothing was found says nothing where a busy machine left no time to look.
    wait_until("all have the time to look", || {
        let report = check(&daemon);
        assert_eq!(outcomes(&report), ["checked"; 4], "{report}");
        let leaked = ways(&report);
        assert!(leaked.iter().all(|way| open(way)), "{missing:?}: {report}");
        assert_eq!(report["leaked"], !leaked.is_empty());
        assert_nothing_is_left(&daemon);
        let agents = report["agents"].as_array().unwrap();
        for agent in agents {
            assert!(names(&agent["planted"]).contains("process_environment"), "{agent}");
        }
        agents.iter().all(|agent| has_tried_all(agent, is_endless)).then_some(())
    });
}

#[test]
fn a_worker_that_shares_a_file_gives_its_secret_away() {
    let (daemon, agents, place) = with_worker("share", 2);
    let report = check(&daemon);
    assert_eq!(outcomes(&report), ["checked"; 2], "{report}");
    assert_eq!(ways(&report), ["file".to_owned()].into(), "own and made up ones do not count");
    assert_eq!(report["leaked"], true);
    let leaks = report["leaks"].as_array().unwrap();
    assert_eq!(leaks.len(), 2, "{report}");
    for (leak, [from, to]) in leaks.iter().zip([[0, 1], [1, 0]]) {
        let expected = json!({"from": agents[from], "to": agents[to], "way": "file",
            "where": "shared-[secret]"});
        assert_eq!(*leak, expected);
    }
    assert_no_secret_is_told(&daemon, &report);
    std::fs::remove_dir_all(place).unwrap();
}

#[test]
fn one_agent_alone_finds_nothing() {
    let (daemon, _agents) = Daemon::with_agents(BUILT_IN, 1);
    daemon.post("/agents", &json!({ "kind": "external" })).ok();
    let report = check(&daemon);
    assert_eq!(outcomes(&report), ["checked"], "external agents have no process: {report}");
    assert_eq!((&report["leaks"], &report["leaked"]), (&json!([]), &json!(false)));
}

#[test]
fn a_busy_agent_is_left_alone_and_a_task_meets_nothing() {
    let (daemon, agents) = Daemon::with_agents(BUILT_IN, 2);
    let payload = json!({ "action": "sleep", "seconds": 600 });
    let task = daemon.submit(&json!({ "payload": payload, "preferred_agent_id": agents[0] }));
    daemon.agent_becomes(&agents[0], "executing");
    let report = check(&daemon);
    assert_eq!(outcomes(&report), ["skipped", "checked"], "{report}");
    let skipped = &report["agents"][0];
    assert_eq!((&skipped["planted"], &skipped["tried"]), (&json!([]), &json!([])));
    assert_eq!(report["leaked"], false, "{report}");
    daemon.order(&format!("/tasks/{task}/cancel")).ok();
    daemon.agent_becomes(&agents[0], "idle");
    assert_eq!(outcomes(&check(&daemon)), ["checked"; 2]);
}

#[test]
fn a_worker_without_the_feature_goes_on_as_before() {
    let (daemon, agents, place) = with_worker("old", 1);
    let report = check(&daemon);
    assert_eq!(outcomes(&report), ["unsupported"], "{report}");
    let agent = daemon.agent(&agents[0]);
    assert_eq!((&agent["status"], &agent["incarnation"]), (&json!("idle"), &json!(1)));
    std::fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_worker_that_dies_of_it_is_gone_and_comes_back() {
    let (daemon, agents, place) = with_worker("die", 1);
    assert_eq!(outcomes(&check(&daemon)), ["gone"]);
    let lives = || Some(daemon.agent(&agents[0])).filter(|agent| agent["incarnation"] == 2);
    wait_until("another life", || lives().filter(|agent| agent["status"] == "idle"));
    std::fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_deaf_worker_does_not_hold_it_up_and_one_runs_at_a_time() {
    let (daemon, agents, place) = with_worker("deaf", 1);
    thread::scope(|scope| {
        let first = scope.spawn(|| check(&daemon));
        let told = || std::fs::read_to_string(place.join("shared")).unwrap();
        wait_until("the worker is asked", || (!told().is_empty()).then_some(()));
        daemon.order("/isolation-report/canary").refused(409, "canary_running");
        assert_eq!(outcomes(&first.join().unwrap()), ["no_answer"]);
    });
    let agent = daemon.agent(&agents[0]);
    assert_eq!((&agent["status"], &agent["incarnation"]), (&json!("idle"), &json!(1)));
    std::fs::remove_dir_all(place).unwrap();
}

#[test]
fn one_that_answers_nothing_fails_and_its_secret_counts_all_the_same() {
    let (daemon, agents, place) = with_worker("mute first", 2);
    let report = check(&daemon);
    let is_mute = |agent: &&Value| agent["outcome"] == "no_answer";
    let mute =
        text(&report["agents"].as_array().unwrap().iter().find(is_mute).unwrap()["agent_id"]);
    let other = agents.iter().find(|id| **id != mute).unwrap();
    assert_eq!(
        names(&json!(outcomes(&report))),
        ["checked", "no_answer"].map(str::to_owned).into()
    );
    assert_eq!(report["checked"], 1);
    assert_eq!(pairs(&report), [(mute.clone(), other.clone())].into(), "{report}");
    let failed = daemon.log_line("its end", |line| line["msg"] == "agent_failed");
    assert_eq!((&failed["agent_id"], &failed["cause"]), (&json!(mute), &json!("canary_no_answer")));
    let lives = || Some(daemon.agent(&mute)).filter(|agent| agent["incarnation"] == 2);
    wait_until("another life", || lives().filter(|agent| agent["status"] == "idle"));
    assert_eq!(daemon.agent(other)["incarnation"], 1);
    std::fs::remove_dir_all(place).unwrap();
}

#[test]
fn it_takes_no_body_and_no_query() {
    let daemon = Daemon::start(BUILT_IN);
    let report = check(&daemon);
    assert_eq!((&report["agents"], &report["leaked"]), (&json!([]), &json!(false)));
    daemon.post("/isolation-report/canary", &json!({ "x": 1 })).refused(422, "validation_failed");
    daemon.order("/isolation-report/canary?x=1").refused(422, "validation_failed");
}
