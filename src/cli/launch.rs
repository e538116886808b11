//! `daedalus launch -- CMD ARGS..`

use std::ffi::OsString;
use std::process::ExitCode;

use crate::worker::launcher;

/// The arguments of `launch`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The worker and its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    launcher::run(&arguments.command)
}
