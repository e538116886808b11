//! Time, chance, signals, and what the operating system says.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use daedalus::worker::proc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process;

/// How long anything may take before a test gives up. Far above what it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The time, for durations.
#[expect(clippy::disallowed_methods, reason = "a test is a program of its own, without the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Between two looks at something, and between two calls to a daemon that has no time.
#[expect(clippy::disallowed_methods, reason = "never instead of a look")]
pub(crate) fn pause() {
    thread::sleep(Duration::from_millis(2));
}

/// Lets time pass, where the time itself is what is tested.
#[expect(clippy::disallowed_methods, reason = "the time itself is what is tested")]
pub(crate) fn let_pass(time: Duration) {
    thread::sleep(time);
}

/// Shown for a test that fails, and in the soak.
#[expect(clippy::print_stdout, reason = "the one place")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Polls until there is something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let patience = Patience::new();
    loop {
        if let Some(found) = look() {
            return found;
        }
        patience.must_hold(what);
        pause();
    }
}

/// How long something has taken that must come to its end.
#[derive(Debug)]
pub(crate) struct Patience(Instant);

impl Patience {
    pub(crate) fn new() -> Self {
        Self(now())
    }

    pub(crate) fn must_hold(&self, what: &str) {
        assert!(self.0.elapsed() < PATIENCE, "waited in vain: {what}");
    }
}

/// Sends a signal to a process that may have ended by now.
pub(crate) fn try_to_send(pid: u32, signal: Signal) {
    let _gone = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// Every living process under `pid`.
pub(crate) fn alive_below(pid: u32) -> Vec<u32> {
    proc::descendants(pid).into_iter().filter(|pid| proc::is_alive(*pid)).collect()
}

/// Kills one living process under `pid`, as long as `is_so` (that this is whom it is taken for);
/// whether it did. Ids of processes come again, so it is held before it is looked at once more.
pub(crate) fn kill_one_below(pid: u32, chance: &mut Chance, is_so: impl Fn() -> bool) -> bool {
    let below = alive_below(pid);
    if below.is_empty() {
        return false;
    }
    let one = below[chance.below(below.len() as u64) as usize];
    let id = process::Pid::from_raw(one.cast_signed()).expect("no process has the id 0");
    let Ok(held) = process::pidfd_open(id, process::PidfdFlags::empty()) else { return false };
    alive_below(pid).contains(&one)
        && is_so()
        && process::pidfd_send_signal(&held, process::Signal::KILL).is_ok()
}

/// The Python that is there, by its whole path.
pub(crate) fn python() -> String {
    let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(found.expect("there is a python3").stdout).expect("text").trim().to_owned()
}

/// Everything in a folder, as it is.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the copy can be made");
    for entry in fs::read_dir(from).expect("the folder is there").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).expect("the copy can be made");
        }
    }
}

/// Numbers by chance that are the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of this run: `DAEDALUS_SEED`, else a new one.
    #[expect(clippy::disallowed_methods, reason = "a seed is taken from the clock")]
    pub(crate) fn seed() -> u64 {
        std::env::var("DAEDALUS_SEED").map_or_else(
            |_| {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.expect("it is after 1970").as_micros() as u64 % 1_000_000_000
            },
            |seed| seed.parse().expect("DAEDALUS_SEED is a number"),
        )
    }

    /// SplitMix64.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `below` - 1.
    pub(crate) const fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// One time in `times`.
    pub(crate) const fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
