//! What can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file is no TOML.
    #[error("{at}: not valid TOML: {problem}")]
    Syntax {
        /// The file and the line.
        at: Place,
        /// What the parser says.
        problem: String,
    },
    /// A key that does not exist.
    #[error("{at}: unknown key {key}; {allowed}")]
    UnknownKey {
        /// Where it was set.
        at: Place,
        /// The key, dotted.
        key: String,
        /// What stands there instead.
        allowed: String,
    },
    /// A value that its key does not allow.
    #[error("{at}: {key} {problem}")]
    BadValue {
        /// Where it was set.
        at: Place,
        /// The key, dotted.
        key: String,
        /// What is allowed, and what was found.
        problem: String,
    },
    /// The current directory, to which relative paths refer, is gone or hidden.
    #[error("failed to resolve the path {}", path.display())]
    Path {
        /// The relative path.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file, on this line (the first is 1).
    Line(PathBuf, usize),
    /// In a variable of the environment.
    Env(String),
    /// By a flag.
    Flag(&'static str),
    /// Nowhere: the default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}
