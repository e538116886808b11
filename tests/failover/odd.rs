//! Workers of a few lines of shell, which do what the built-in one does not.

use std::collections::BTreeSet;

use daedalus::worker::proc;
use nix::sys::signal::Signal;
use serde_json::json;

use super::daemon::Daemon;
use super::os::{mark_of, marked, send, until};
use super::pool::Agent;

/// A worker that is ready, and then does as told. In `$head` is what each answer begins with.
fn start(config: &str, then: &str) -> Daemon {
    let script = format!(
        r#"echo '{{"type":"hello","proto":[1,1],"pid":1}}'
        read -r init
        echo '{{"type":"ready"}}'
        answer() {{ echo "{{\"type\":\"$1\",$lease$2}}"; }}
        take() {{
            read -r task || exit 0
            lease=$(echo "$task" | sed 's/.*\("task_id":"[^"]*"\),\("attempt":[0-9]*\).*/\1,\2/')
        }}
        {then}"#
    );
    let place = std::env::temp_dir().join(format!("daedalus-odd-{}.sh", uuid::Uuid::new_v4()));
    std::fs::write(&place, script).expect("the script can be written");
    let daemon = Daemon::start(&format!("{config}\n[worker]\ncommand = ['sh', {place:?}]"));
    let size = daemon.agents().len();
    daemon.all_idle(size);
    std::fs::remove_file(&place).expect("each worker has read its script");
    daemon
}

#[test]
fn a_result_that_was_written_before_the_death_counts() {
    let daemon = start(
        "[pool]\nsize = 4",
        r#"take; answer started; answer result ',"output":{"n":1}'; kill -9 $$"#,
    );
    // One for each: who is done may seem to be free until its death is seen.
    let for_agent = |agent: Agent| json!({"payload": {}, "preferred_agent_id": agent.id});
    let tasks: Vec<_> =
        daemon.agents().into_iter().map(|it| daemon.submit_whole(&for_agent(it))).collect();
    for task in tasks {
        let task = daemon.ended(&task);
        assert_eq!((&task["status"], &task["attempt_count"]), (&json!("completed"), &json!(1)));
        assert_eq!(task["result"], json!({"n": 1}));
    }
}

#[test]
fn a_worker_that_closes_its_output_and_lives_on_is_killed() {
    let daemon = start(
        "[pool]\nsize = 1\n[queue]\nmax_attempts = 1",
        "take; answer started; exec >&-; exec sleep 1000",
    );
    let agent = daemon.agents().remove(0);
    let task = daemon.ended(&daemon.submit(json!({})));
    assert_eq!(task["status"], "failed");
    let failure = &task["attempts"][0]["failure"];
    assert_eq!(failure["cause"], "output_closed", "not that it was killed: {failure}");
    assert!(!proc::is_alive(agent.worker()));
}

#[test]
fn a_worker_that_does_not_want_to_end_is_made_to() {
    let stubborn = "trap '' TERM; while :; do sleep 1000; done";
    for daemon_too in [false, true] {
        let daemon = start("", stubborn);
        let mark = mark_of(daemon.agents()[0].worker()).expect("a worker carries the mark");
        if daemon_too {
            send(daemon.pid, Signal::SIGTERM);
            assert_eq!(daemon.exit().code(), Some(0), "{}", daemon.log.tail());
        } else {
            daemon.ok("DELETE", "/pool", None);
        }
        assert_eq!(marked(&mark), BTreeSet::new());
    }
}

#[test]
fn a_worker_that_answers_before_it_starts_is_believed() {
    let daemon = start("[pool]\nsize = 1", "while take; do answer result ',\"output\":1'; done");
    for _ in 0..3 {
        let task = daemon.ended(&daemon.submit(json!({})));
        assert_eq!((&task["status"], &task["attempt_count"]), (&json!("completed"), &json!(1)));
    }
}

#[test]
fn a_worker_that_floods_its_log_and_its_output_holds_nobody_up() {
    let flood = r#"take; answer started
        (while :; do echo noise >&2; done) &
        i=0; while [ $i -lt 3000 ]; do answer log ',"text":"noise"'; i=$((i + 1)); done
        answer result ',"output":{}'; kill $!; take"#;
    let daemon = start("", flood);
    let task = daemon.submit(json!({}));
    for _ in 0..20 {
        assert_eq!(daemon.call("GET", "/healthz", None).0, 200);
        daemon.agents();
    }
    assert_eq!(daemon.ended(&task)["status"], "completed");
}

#[test]
fn a_stopped_launcher_does_not_keep_its_agent_in_the_pool() {
    let daemon = Daemon::start("");
    let (task, agent) = daemon.begin(json!({"action": "stop_launcher"}));
    daemon.ok("POST", &format!("/tasks/{task}/cancel"), None);
    daemon.ok("DELETE", &format!("/agents/{}", agent.id), None);
    assert!(!proc::is_alive(agent.worker()));
    daemon.assert_no_orphans(1);
}

#[test]
fn an_agent_that_never_comes_up_can_be_removed_and_failed() {
    let binary = env!("CARGO_BIN_EXE_daedalus");
    let daemon =
        Daemon::start_unready(&format!("[worker]\ncommand = [{binary:?}, 'worker', '--silent']"));
    let agents =
        until("the agents are there", || Some(daemon.agents()).filter(|agents| agents.len() == 2));
    daemon.ok("POST", &format!("/agents/{}/fail", agents[0].id), None);
    daemon.agent_when(&agents[0].id, "it is tried again", |agent| agent.incarnation == 2);
    daemon.ok("DELETE", &format!("/agents/{}", agents[0].id), None);
    daemon.ok("DELETE", "/pool", None);
    assert_eq!(daemon.processes(), BTreeSet::new());
}
