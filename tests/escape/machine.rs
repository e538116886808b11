//! What this machine keeps from every process, without any sandbox of ours.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::daemon::fresh_directory;
use super::rights;

/// What a machine may close to siblings of one user (Yama, the filter of a container), or take from
/// all (a container without new privileges). Nothing else is measured, so that a way that is broken
/// in the worker is seen.
const CLOSABLE: [&str; 5] = ["read_memory", "vm_read", "take_descriptor", "ptrace", "more_rights"];

/// The capability to look into any process.
const SYS_PTRACE: u32 = 19;

/// Whether this way is closed here to everybody.
pub(crate) fn forbids(way: &str) -> bool {
    static FORBIDDEN: OnceLock<BTreeSet<&str>> = OnceLock::new();
    FORBIDDEN.get_or_init(measure).contains(way)
}

fn measure() -> BTreeSet<&'static str> {
    let place = fresh_directory("machine");
    let worker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/escape/worker.py");
    let output = Command::new("python3")
        .arg("-I")
        .arg(worker)
        .arg("machine")
        .current_dir(&place)
        .output()
        .unwrap();
    std::fs::remove_dir_all(place).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let outcomes: Value = serde_json::from_str(&said).unwrap_or_else(|error| {
        panic!("{error}: {said} {}", String::from_utf8_lossy(&output.stderr))
    });
    let forbidden: BTreeSet<_> =
        CLOSABLE.into_iter().filter(|way| outcomes[way] != "reached").collect();
    println!("closed by the machine itself: {forbidden:?}");
    // It is measured with the code that attacks, and what is broken there must not pass for closed.
    let gives_up_rights = rights::own("NoNewPrivs") == "1";
    assert_eq!(forbidden.contains("more_rights"), gives_up_rights, "{outcomes}");
    if closes_nothing_to_us() {
        let others = forbidden.iter().filter(|way| **way != "more_rights").count();
        assert_eq!(others, 0, "no machine closes this to such a root: {outcomes}");
    }
    forbidden
}

/// Whether this is a root who may look into any process, without a filter of system calls. At its
/// highest level Yama closes it even to that one.
fn closes_nothing_to_us() -> bool {
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    rights::has(&[SYS_PTRACE]) && rights::own("Seccomp") == "0" && yama.trim() != "3"
}
