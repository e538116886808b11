//! What the service manager is told (the protocol of sd_notify), when there is one that listens.
//!
//! Nothing here waits or fails: a thread of its own talks to the socket, and what a manager that
//! does not read leaves no room for is dropped. Without `NOTIFY_SOCKET` there is no such thread.
//! Workers get none of the variables of the manager, because their environment is built and never
//! inherited.

use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

/// How many messages may wait for a manager that does not read.
const WAITING_MAX: usize = 64;

/// The start may take this long from now, whatever the unit's `TimeoutStartSec` says.
pub fn starting(within: Duration) {
    say(&[NotifyState::Custom(&more_time(within))]);
}

/// The daemon serves, and its first agents can work or never will.
pub fn ready(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// The daemon has begun to stop. That may take this long from now, whatever the unit's
/// `TimeoutStopSec` says.
pub fn stopping(within: Duration) {
    let more_time = more_time(within);
    say(&[NotifyState::Stopping, NotifyState::Status("stopping"), NotifyState::Custom(&more_time)]);
}

/// How often [`alive`] is to be called: twice in the time after which the manager would take this
/// process for hung and start another. `None` when it does not watch.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|within| within / 2).filter(|half| !half.is_zero())
}

/// What matters in the daemon answered a moment ago.
pub fn alive() {
    say(&[NotifyState::Watchdog]);
}

/// Hands a message to the thread.
fn say(states: &[NotifyState<'_>]) {
    static THREAD: OnceLock<Option<SyncSender<String>>> = OnceLock::new();
    if let Some(thread) = THREAD.get_or_init(start) {
        let lines: Vec<String> = states.iter().map(NotifyState::to_string).collect();
        let _nobody_reads = thread.try_send(lines.join("\n"));
    }
}

/// `None` when nobody asked to be told.
fn start() -> Option<SyncSender<String>> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let (words, heard) = sync_channel::<String>(WAITING_MAX);
    let talk = move || {
        for word in heard {
            // A manager that is not there hears nothing, and the work goes on.
            let _nobody_listens = sd_notify::notify(&[NotifyState::Custom(&word)]);
        }
    };
    thread::Builder::new().name("systemd".into()).spawn(talk).ok()?;
    Some(words)
}

/// The library's own form of it ends at 71 minutes.
fn more_time(within: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", within.as_micros())
}

/// A line break would begin another message.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("a\nWATCHDOG=trigger\r\0b"), "a WATCHDOG=trigger  b");
    }

    #[test]
    fn a_time_may_be_longer_than_what_fits_32_bits_of_microseconds() {
        assert_eq!(more_time(Duration::from_secs(86_400)), "EXTEND_TIMEOUT_USEC=86400000000");
    }
}
