//! The canary and tasks that come while it runs: they come first, and meet nothing of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};

use super::canary::{
    UNCONFINED, assert_no_secret_is_told, assert_nothing_is_left, check, names, outcomes, pairs,
    python, quoted,
};
use crate::daemon::{Daemon, fresh_directory, text, wait_until};

/// A worker that is slow to say that its secret is hidden: it does so when there is a file `go`, or
/// when it has a task. One of them is, and each other one is the built-in worker.
const WORKER: &str = r#"
import contextlib, glob, json, os, socket, sys, threading, time

PLACE, UNTIL, BUILT_IN = sys.argv[1:]
lock = threading.Lock()

def at(name):
    return os.path.join(PLACE, name)

def say(kind, **fields):
    with lock:
        print(json.dumps({"type": kind, **fields}), flush=True)

def beat(every_s):
    while True:
        time.sleep(every_s)
        say("heartbeat")

def wait_for(name):
    while not os.path.exists(at(name)):
        time.sleep(0.01)

def note(name, **what):
    with open(at(name + ".new"), "w") as file:
        json.dump(what, file)
    os.rename(at(name + ".new"), at(name))

def look(workdirs, ports):
    for directory in workdirs:
        for path in glob.glob(directory + "/*"):
            with open(path) as file:
                yield "files", file.read()
    for port in ports:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as peer:
            yield "port", peer.recv(1000).decode()

def forget():
    with contextlib.suppress(FileNotFoundError):
        os.remove("hidden")

try:
    os.mkdir(at("taken"))
except FileExistsError:
    os.execv(BUILT_IN, [BUILT_IN, "worker"])
say("hello", proto=[1, 1], features=["canary"])
agent_id, seen, ahead = None, [], []
while line := ahead.pop() if ahead else sys.stdin.readline():
    frame = json.loads(line)
    kind, run = frame["type"], frame.get("run")
    seen.append(kind)
    if kind == "init":
        agent_id = frame["agent_id"]
        threading.Thread(target=beat, args=[frame["heartbeat_s"]], daemon=True).start()
        say("ready")
    elif kind == "canary_plant":
        with open("hidden", "w") as file:
            file.write(frame["secret"])
        note("asked", agent_id=agent_id, run=run)
        if UNTIL == "task":
            ahead.append(sys.stdin.readline())
        else:
            wait_for("go")
        say("canary_planted", run=run, ways=["file"])
    elif kind == "canary_look":
        found = [{"token": token, "way": way, "where": ""}
                 for way, token in look(frame["workdirs"], frame["ports"])]
        say("canary_found", run=run, tried=["files", "port"], found=found)
    elif kind == "canary_clear":
        forget()
        say("canary_cleared", run=run)
    elif kind == "task":
        forget()
        ids = {"task_id": frame["task_id"], "attempt": frame["attempt"]}
        say("started", **ids)
        wait_for("finish")
        say("result", output={"met": os.listdir("."), "seen": seen}, **ids)
    elif kind == "shutdown":
        say("bye")
        break
    else:
        sys.exit(64)
"#;

/// A daemon with such workers, and the place where they and the test leave word for each other.
fn with_slow_one(until: &str, agents: usize) -> (Daemon, Vec<String>, PathBuf) {
    let place = fresh_directory("canary-tasks");
    let program = place.join("worker.py");
    fs::write(&program, WORKER).unwrap();
    let command = [
        python(),
        program.display().to_string(),
        place.display().to_string(),
        until.to_owned(),
        env!("CARGO_BIN_EXE_daedalus").to_owned(),
    ];
    let command = command.map(|word| quoted(&word)).join(", ");
    let config = format!("{UNCONFINED}[worker]\ncommand = [{command}]\n");
    let (daemon, ids) = Daemon::with_agents(&config, agents);
    (daemon, ids, place)
}

/// Waits until the slow one is asked to hide its secret: who it is, and the run.
fn asked(place: &Path) -> (String, String) {
    let said = wait_until("the slow one is asked", || fs::read(place.join("asked")).ok());
    let said: Value = serde_json::from_slice(&said).unwrap();
    (text(&said["agent_id"]), text(&said["run"]))
}

/// Whether any process began with a secret of this run in its environment.
fn is_in_a_process(run: &str) -> bool {
    let marker = format!("daedalus-canary-{}-", run.replace('-', ""));
    fs::read_dir("/proc").unwrap().any(|process| {
        // One that is not ours, or has just ended, shows nothing.
        let environment = fs::read(process.unwrap().path().join("environ")).unwrap_or_default();
        environment.windows(marker.len()).any(|part| part == marker.as_bytes())
    })
}

/// What is in the working directory of an agent.
fn files_of(daemon: &Daemon, agent: &str) -> Vec<PathBuf> {
    let report = daemon.get("/isolation-report").ok();
    let mut details = report["details"].as_array().unwrap().iter();
    let detail = details.find(|detail| detail["agent_id"] == json!(agent)).unwrap();
    let files = fs::read_dir(text(&detail["measured"]["workdir"])).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

/// Waits until the task is completed, which its first attempt must have done.
fn completed(daemon: &Daemon, task: &str) -> Value {
    let done = wait_until("the task is completed", || {
        Some(daemon.task(task)).filter(|task| task["status"] == "completed")
    });
    assert_eq!(done["attempt_count"], 1, "{done}");
    assert!(!done.to_string().contains("daedalus-canary-"), "{done}");
    done
}

#[test]
fn a_task_that_comes_while_a_secret_is_being_hidden_comes_first() {
    let (daemon, agents, place) = with_slow_one("task", 1);
    let (task, report) = thread::scope(|scope| {
        let canary = scope.spawn(|| check(&daemon));
        asked(&place);
        let task = daemon.submit(&json!({ "payload": {} }));
        (task, canary.join().unwrap())
    });
    assert_eq!(outcomes(&report), ["skipped"], "{report}");
    let skipped = &report["agents"][0];
    assert_eq!((&skipped["planted"], &skipped["tried"]), (&json!(["file"]), &json!([])));
    assert_eq!((&report["checked"], &report["leaked"]), (&json!(0), &json!(false)));
    // The canary is over, and the task is not.
    assert_eq!(daemon.agent_becomes(&agents[0], "executing")["incarnation"], 1);
    fs::write(place.join("finish"), "").unwrap();
    // Who has a task is asked for nothing more.
    let seen = ["init", "canary_plant", "task"];
    assert_eq!(completed(&daemon, &task)["result"], json!({ "met": [], "seen": seen }));
    assert_eq!(daemon.agent_becomes(&agents[0], "idle")["incarnation"], 1);
    assert_no_secret_is_told(&daemon, &report);
    assert_nothing_is_left(&daemon);
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_task_that_comes_between_hiding_and_looking_meets_nothing() {
    let (daemon, agents, place) = with_slow_one("go", 2);
    let (fast, report) = thread::scope(|scope| {
        let canary = scope.spawn(|| check(&daemon));
        let (slow, run) = asked(&place);
        let fast = agents.iter().find(|id| **id != slow).unwrap();
        wait_until("the other one has hidden its secret", || {
            (is_in_a_process(&run) && !files_of(&daemon, fast).is_empty()).then_some(())
        });
        let payload = json!({ "action": "echo", "value": 7 });
        let task = daemon.submit(&json!({ "payload": payload, "preferred_agent_id": fast }));
        let done = completed(&daemon, &task);
        assert_eq!(
            (&done["assigned_agent_id"], &done["result"]["value"]),
            (&json!(fast), &json!(7))
        );
        // The slow one is yet to say that it is ready, so this went with the task.
        assert!(!is_in_a_process(&run));
        assert_eq!(files_of(&daemon, fast), Vec::<PathBuf>::new());
        fs::write(place.join("go"), "").unwrap();
        (fast, canary.join().unwrap())
    });
    for agent in report["agents"].as_array().unwrap() {
        if agent["agent_id"] == json!(fast) {
            assert_eq!((&agent["outcome"], &agent["tried"]), (&json!("skipped"), &json!([])));
            assert!(names(&agent["planted"]).contains("process_environment"), "{agent}");
        } else {
            assert_eq!(agent["outcome"], "checked", "{agent}");
        }
    }
    // There was nothing left for the slow one to find.
    assert_eq!((&report["checked"], &report["leaks"]), (&json!(1), &json!([])), "{report}");
    assert_no_secret_is_told(&daemon, &report);
    assert_nothing_is_left(&daemon);
    // Without a task in between there is, and both are as well as before.
    let report = check(&daemon);
    assert_eq!(outcomes(&report), ["checked"; 2], "{report}");
    assert!(pairs(&report).iter().any(|(from, _)| from == fast), "{report}");
    assert!(agents.iter().all(|id| daemon.agent(id)["incarnation"] == 1));
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_worker_that_hangs_in_a_step_is_found_out_although_it_has_a_task() {
    let (daemon, agents, place) = with_slow_one("never", 2);
    let (slow, task, report) = thread::scope(|scope| {
        let canary = scope.spawn(|| check(&daemon));
        let (slow, _) = asked(&place);
        let payload = json!({ "action": "echo", "value": 7 });
        let task = daemon.submit(&json!({ "payload": payload, "preferred_agent_id": slow }));
        (slow, task, canary.join().unwrap())
    });
    let of_slow = |agent: &&Value| agent["agent_id"] == json!(slow);
    let skipped = report["agents"].as_array().unwrap().iter().find(of_slow).unwrap();
    assert_eq!(skipped["outcome"], "no_answer", "{report}");
    let done = wait_until("another agent does it", || {
        Some(daemon.task(&task)).filter(|task| task["status"] == "completed")
    });
    let (first, last) = (&done["attempts"][0], &done["attempts"][1]);
    assert_eq!((&first["outcome"], &first["agent_id"]), (&json!("agent_failed"), &json!(slow)));
    assert_eq!(first["failure"]["cause"], "canary_no_answer");
    assert_ne!(last["agent_id"], json!(slow));
    assert!(agents.contains(&text(&last["agent_id"])));
    fs::remove_dir_all(place).unwrap();
}
