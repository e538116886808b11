//! The effective configuration, and where it comes from.
//!
//! Built-in defaults, then one TOML file, then the environment (`DAEDALUS_SECTION__KEY`), then
//! flags. Lists of tables, such as `[[gate]]`, come from the file alone. Whatever is not a key, or not a value that the key allows, stops the start and is named
//! with its place.

mod build;
mod defaults;
mod entries;
mod error;
mod follow_up;
mod gate;
mod layers;
mod reader;
mod render;
mod sandbox;
mod schedule;
mod span;
#[cfg(test)]
mod tests;
mod values;
mod worker;

use std::ffi::OsStr;
use std::path::PathBuf;

pub use error::{ConfigError, Place};
pub use render::render;
pub use values::{
    Config, GateConfig, HttpConfig, LogConfig, LogFormat, PoolConfig, QueueConfig, SandboxConfig,
    StoreConfig, TypeConfig, WorkerConfig, WorkerKind,
};

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "/etc/daedalus/daedalus.toml";

/// Where the configuration is taken from; what comes later in this list wins.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`; without it [`DEFAULT_FILE`] is read when it exists.
    pub file: Option<PathBuf>,
    /// The environment of the process; what is not ours in it is passed over.
    pub env: Vec<(String, String)>,
    /// `--bind`.
    pub bind: Option<String>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
}

impl Sources {
    /// The environment of this process in the form that [`Sources::env`] takes. Bytes that are no
    /// UTF-8 are replaced, so that a bad value is refused and not passed over.
    #[must_use]
    pub fn process_env() -> Vec<(String, String)> {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (text(&name), text(&value))).collect()
    }
}

/// Reads and checks the configuration. Only the file is read; all else is in `sources`.
///
/// # Errors
///
/// The first thing that is wrong, with its place, its key and what is allowed.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    build::config(layers::collect(sources)?, sources)
}
