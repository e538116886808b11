//! `daedalus launch [--confine PLAN] -- CMD ARGS..`

use std::ffi::OsString;
use std::process::ExitCode;

use crate::worker::launcher;

/// The arguments of `launch`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How the worker is confined, in JSON [default: not at all]
    #[arg(long, value_name = "PLAN")]
    confine: Option<String>,
    /// The worker and its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    launcher::run(arguments.confine.as_deref(), &arguments.command)
}
