//! How the process of an agent ended.

use std::fmt;

/// The end of a process agent's whole tree, as its launcher saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The worker ended by itself with this code.
    Code(u8),
    /// The worker was ended by this signal.
    Signal(u8),
    /// The worker was never started; why, as a sentence.
    NotStarted(String),
    /// The launcher was lost, so how the worker ended is not known; that it ended is.
    Unknown,
}

impl Exit {
    /// Whether trying again at once is of no use: the command cannot run, or the worker refused
    /// its configuration (exit 64, 65, 126, 127).
    #[must_use]
    pub const fn is_misconfigured(&self) -> bool {
        matches!(self, Self::Code(64 | 65 | 126 | 127))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(64) => f.write_str("exit code 64 (the worker does not speak this protocol)"),
            Self::Code(65) => f.write_str("exit code 65 (the worker refused its configuration)"),
            Self::Code(71) => f.write_str("exit code 71 (the worker lost the daemon)"),
            Self::Code(126) => f.write_str("exit code 126 (worker.command cannot be executed)"),
            Self::Code(127) => f.write_str("exit code 127 (worker.command was not found)"),
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::NotStarted(why) => write!(f, "not started: {why}"),
            Self::Unknown => f.write_str("unknown, its launcher was killed"),
        }
    }
}
