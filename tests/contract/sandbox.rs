//! What a daemon says of the sandbox of its workers.

use std::fs;
use std::process::{Command, Stdio};

use crate::daemon::{Daemon, fresh_directory, text, wait_until};

/// What a start says of what keeps its agents apart: what is in force, and what is not.
fn said(daemon: &Daemon) -> (Vec<String>, String) {
    let line = daemon.log_line("the sandbox", |line| line["msg"] == "sandbox");
    let enforced = line["enforced"].as_str().unwrap().split_whitespace().map(str::to_owned);
    (enforced.collect(), line["missing"].as_str().unwrap().to_owned())
}

fn level(daemon: &Daemon) -> String {
    text(&daemon.log_line("the sandbox", |line| line["msg"] == "sandbox")["level"])
}

#[test]
fn a_start_says_what_keeps_agents_apart_and_what_does_not() {
    let read = "[worker.sandbox]\nread = [\"/not/there\"]\n";
    let daemon = Daemon::start(&format!("[pool]\nsize = 1\n{read}"));
    let line = daemon.log_line("the path", |line| line["msg"] == "sandbox_path_missing");
    assert_eq!(line["path"], "/not/there");
    let (enforced, missing) = said(&daemon);
    assert!(missing.contains("udp: "), "{missing}");
    assert!(!enforced.contains(&"udp".to_owned()), "{enforced:?}");
    let has = |guard: &str| enforced.iter().any(|found| found == guard);
    let is_closed = has("files") && has("tcp") && (has("signals") || has("uid"));
    assert_eq!(level(&daemon), if is_closed { "info" } else { "warning" });
    let off = Daemon::start("[pool]\nsize = 1\n[worker.sandbox]\nenabled = false\n");
    assert_eq!(level(&off), "warning");
    let (enforced, missing) = said(&off);
    assert!(enforced.is_empty(), "{enforced:?}");
    assert!(missing.starts_with("files: worker.sandbox.enabled is false; "), "{missing}");
    for daemon in [&daemon, &off] {
        wait_until("its agent works", || {
            let agents = daemon.get("/agents").ok();
            (agents[0]["agent"]["status"] == "idle").then_some(())
        });
    }
}

#[test]
fn what_is_required_and_cannot_be_enforced_stops_the_start() {
    let place = fresh_directory("sandbox");
    let file = place.join("daedalus.toml");
    fs::write(&file, "[worker.sandbox]\nrequire = [\"udp\"]\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_daedalus"))
        .args(["serve", "--bind", "127.0.0.1:0", "--config"])
        .arg(&file)
        .arg("--state-dir")
        .arg(place.join("state"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "daedalus: worker.sandbox.require has udp, which cannot be enforced: ";
    assert!(said.lines().any(|line| line.starts_with(expected)), "{said}");
    fs::remove_dir_all(place).unwrap();
}
