//! What this machine must be able to enforce, found out without the code of the sandbox. One that
//! fails and says so looks like one on a machine that can do no better; here they are told apart.
//!
//! What needs a process of its own is done by a probe without a sandbox, because a spawner may kill
//! any other child of this process.

#![expect(clippy::unwrap_used, reason = "test code outside of any test function")]

mod rights;

use daedalus::domain::Guard;
use serde_json::json;

use super::probe::Probe;

/// Which version of Landlock has what a guard is made of: see landlock(7).
pub(crate) const SINCE_LANDLOCK: [(Guard, u8); 7] = [
    (Guard::Files, 1),
    (Guard::Processes, 1),
    (Guard::Truncate, 3),
    (Guard::Tcp, 4),
    (Guard::Devices, 5),
    (Guard::Signals, 6),
    (Guard::AbstractSockets, 6),
];

/// `landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)`.
const LANDLOCK_VERSION: &str = "
import ctypes
ctypes.CDLL(None).syscall(ctypes.c_long(444), None, ctypes.c_size_t(0), ctypes.c_uint(1))
";

/// Changes owners, passes over modes, acts for owners, signals, becomes others, looks into processes.
const GIVES_UIDS: [u32; 7] = [0, 1, 3, 5, 6, 7, 19];
const SYS_ADMIN: u32 = 21;
/// No agent has it.
const OTHER_UID: u32 = 1_999_999_999;

/// The version of Landlock that the kernel has; 0: none.
pub(crate) async fn landlock(unconfined: &mut Probe) -> i32 {
    let version = unconfined.run(LANDLOCK_VERSION).await.unwrap();
    i32::try_from(version.as_i64().unwrap()).unwrap().max(0)
}

/// Whether a daemon here must be able to give user ids to workers that need what `command` needs: it
/// has the rights, and another user can run that beside the place of the workers.
pub(crate) async fn gives_uids(unconfined: &mut Probe, command: &[&str]) -> bool {
    if !rights::has(&GIVES_UIDS) || !rights::maps_all_ids("gid") {
        return false;
    }
    let place = std::env::temp_dir().display().to_string();
    let mut there = vec!["sh", "-c", "cd \"$0\" && exec \"$@\"", &place];
    there.extend(command);
    let code = format!(
        "import subprocess
subprocess.run({}, user={OTHER_UID}, group={OTHER_UID}, extra_groups=[],
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode",
        json!(there)
    );
    unconfined.run(&code).await.unwrap() == json!(0)
}

/// Whether a daemon here must be able to make namespaces: it has the right, and nobody filters.
pub(crate) fn gives_namespaces() -> bool {
    rights::has(&[SYS_ADMIN]) && rights::own("Seccomp") == "0"
}
