//! How a launcher tells the end of its worker: one number from 0 to 127.
//!
//! | launcher ends with | its worker |
//! |---|---|
//! | 0..=79 | ended with this code |
//! | 79 | or with a code that has no number of its own |
//! | 80 + s | was ended by signal s, 1..=31 |
//! | 112 | was ended by a real-time signal |
//! | 126, 127 | ended with this code, or could not be executed or confined, or was not found |
//!
//! Anything else is the end of the launcher alone: death by a signal, and 101, which is what a
//! panic in Rust ends with. It would be signal 21 (SIGTTIN), which never ends a process.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::domain::Exit;

/// The worker command exists and cannot be executed, or not be confined as it must.
pub const CANNOT_EXECUTE: u8 = 126;
/// The worker command does not exist.
pub const NOT_FOUND: u8 = 127;
/// Stands for every exit code of a worker that has no number of its own.
pub const OTHER: u8 = 79;

const SIGNAL_BASE: u8 = 80;
const LAST_PLAIN_SIGNAL: u8 = 31;
const REAL_TIME: u8 = 112;
const PANIC: u8 = 101;

/// The code for a worker that ended with `status`.
#[must_use]
pub fn encode(status: ExitStatus) -> u8 {
    if let Some(signal) = status.signal() {
        return u8::try_from(signal)
            .ok()
            .filter(|signal| *signal <= LAST_PLAIN_SIGNAL)
            .map_or(REAL_TIME, |signal| SIGNAL_BASE + signal);
    }
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code @ (0..=OTHER | CANNOT_EXECUTE | NOT_FOUND)) => code,
        Some(_) | None => OTHER,
    }
}

/// The verified end that a launcher told by ending with `status`; `None` when it told nothing, so
/// that what is left of its tree has yet to be found.
#[must_use]
pub fn decode(status: ExitStatus) -> Option<Exit> {
    match u8::try_from(status.code()?).ok()? {
        PANIC => None,
        code @ (0..=OTHER | CANNOT_EXECUTE | NOT_FOUND) => Some(Exit::Code(code)),
        code @ 81..=REAL_TIME => Some(Exit::Signal(code - SIGNAL_BASE)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `wait` gives it for an exit with `code`.
    fn exited(code: u8) -> i32 {
        i32::from(code) << 8
    }

    fn through_the_launcher(raw: i32) -> Option<Exit> {
        decode(ExitStatus::from_raw(exited(encode(ExitStatus::from_raw(raw)))))
    }

    #[test]
    fn every_exit_code_of_a_worker_arrives() {
        for code in 0..=255 {
            let expected = match code {
                0..=79 | 126 | 127 => code,
                _ => OTHER,
            };
            assert_eq!(through_the_launcher(exited(code)), Some(Exit::Code(expected)), "{code}");
        }
    }

    #[test]
    fn every_signal_that_ends_a_worker_arrives() {
        for signal in (1..=31u8).filter(|signal| *signal != 21) {
            let core_dumped = i32::from(signal) | 0x80;
            assert_eq!(through_the_launcher(signal.into()), Some(Exit::Signal(signal)));
            assert_eq!(through_the_launcher(core_dumped), Some(Exit::Signal(signal)));
        }
        for real_time in 34..=64 {
            assert_eq!(through_the_launcher(real_time), Some(Exit::Signal(32)));
        }
    }

    #[test]
    fn the_death_of_the_launcher_is_not_the_end_of_its_tree() {
        for signal in [6, 9, 11, 15] {
            assert_eq!(decode(ExitStatus::from_raw(signal)), None);
        }
        for code in [80, 101, 113, 125, 128, 255] {
            assert_eq!(decode(ExitStatus::from_raw(exited(code))), None, "{code}");
        }
    }
}
