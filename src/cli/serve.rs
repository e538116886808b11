//! `daedalus serve` and `daedalus config`: from arguments to the effective configuration.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::app::{self, AppError};
use crate::config::{self, Config, Sources};
use crate::domain::Chain;

/// A part of the daemon panicked (EX_SOFTWARE).
const EXIT_CRASHED: u8 = 70;
/// The store cannot be used, or failed (EX_IOERR).
const EXIT_STORE: u8 = 74;
/// The configuration is not usable (EX_CONFIG).
const EXIT_CONFIG: u8 = 78;

/// Where the configuration comes from, besides `DAEDALUS_SECTION__KEY` variables.
#[derive(Debug, Default, Args)]
#[group(id = "serve")]
pub(super) struct Arguments {
    /// The configuration file [default: /etc/daedalus/daedalus.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address to listen on, instead of http.bind
    #[arg(long, value_name = "IP:PORT")]
    bind: Option<String>,
    /// Where agents work and the daemon keeps its state [default: DAEDALUS_STATE_DIR, else the
    /// first folder of STATE_DIRECTORY, else .daedalus]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Which configuration names the store.
#[derive(Debug, Args)]
pub(super) struct StoreArguments {
    /// The configuration file [default: /etc/daedalus/daedalus.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the daemon keeps its state [default: DAEDALUS_STATE_DIR, else the first folder of
    /// STATE_DIRECTORY, else .daedalus]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl StoreArguments {
    /// The file of the store.
    pub(super) fn path(self) -> Result<PathBuf, ExitCode> {
        let Self { config, state_dir } = self;
        let config = Arguments { config, bind: None, state_dir }.load()?;
        config.store_path().ok_or_else(|| complain(&NoFile, 1))
    }
}

/// The configuration keeps nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "store.path is \":memory:\": there is no file; name the configuration of the daemon by --config \
     and --state-dir"
)]
struct NoFile;

impl Arguments {
    pub(super) fn load(self) -> Result<Config, ExitCode> {
        let sources = Sources {
            file: self.config,
            env: Sources::process_env(),
            bind: self.bind,
            state_dir: self.state_dir,
        };
        config::load(&sources).map_err(|error| complain(&error, EXIT_CONFIG))
    }
}

/// Runs the daemon.
pub(super) fn serve(arguments: Arguments) -> ExitCode {
    let config = match arguments.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    match app::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ AppError::Crashed(_)) => complain(&error, EXIT_CRASHED),
        Err(
            error @ (AppError::Store(_) | AppError::StoreFailed(_) | AppError::StoreLock { .. }),
        ) => complain(&error, EXIT_STORE),
        Err(error @ AppError::Sandbox { .. }) => complain(&error, EXIT_CONFIG),
        Err(error) => complain(&error, 1),
    }
}

/// Prints the effective configuration, secrets hidden.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub(super) fn show_config(arguments: Arguments) -> ExitCode {
    match arguments.load() {
        Ok(config) => {
            print!("{}", config::render(&config));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// Says what went wrong and why, on one line.
#[expect(clippy::print_stderr, reason = "the last word of the program, when no log is left")]
pub(super) fn complain(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("daedalus: {}", Chain(error));
    ExitCode::from(code)
}
