//! What the operating system says of the daemon's processes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use std::{fs, thread};

use daedalus::worker::{environment, proc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take before a test gives up. Far above what it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The time, for durations.
#[expect(clippy::disallowed_methods, reason = "a test is a program of its own, without the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Polls until there is something.
#[expect(clippy::disallowed_methods, reason = "between two looks; never instead of one")]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Lets time pass, where the time itself is what is tested.
#[expect(clippy::disallowed_methods, reason = "the time itself is what is tested")]
pub(crate) fn let_pass(time: Duration) {
    thread::sleep(time);
}

/// Sends a signal to a process that is there.
pub(crate) fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("the process is there");
}

/// Sends a signal to a process that may have ended by now.
pub(crate) fn try_to_send(pid: u32, signal: Signal) {
    let _gone = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// The mark that a worker carries in its environment; it is the daemon's own.
pub(crate) fn mark_of(pid: u32) -> Option<Vec<u8>> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let name = format!("{}=", environment::STORE_ID);
    let mut entries = environ.split(|byte| *byte == 0);
    entries.find(|entry| entry.starts_with(name.as_bytes())).map(<[u8]>::to_vec)
}

/// Every living process with this mark, whoever its parent is.
pub(crate) fn marked(mark: &[u8]) -> BTreeSet<u32> {
    let pids = fs::read_dir("/proc").expect("there is /proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| mark_of(*pid).as_deref() == Some(mark) && proc::is_alive(*pid)).collect()
}

/// Every living process under `pid`.
pub(crate) fn alive_below(pid: u32) -> BTreeSet<u32> {
    proc::descendants(pid).into_iter().filter(|pid| proc::is_alive(*pid)).collect()
}
