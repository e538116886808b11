//! `daedalus worker`

use std::process::ExitCode;

use crate::worker::builtin::{self, StartFaults};

/// The arguments of `worker`. They are for tests: each makes a worker that does not come up.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// End at once with this code.
    #[arg(long, hide = true, value_name = "CODE")]
    exit_at_start: Option<u8>,
    /// End at once by SIGKILL.
    #[arg(long, hide = true)]
    crash_at_start: bool,
    /// Never send a frame.
    #[arg(long, hide = true)]
    silent: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    builtin::run(StartFaults {
        exit: arguments.exit_at_start,
        crash: arguments.crash_at_start,
        silent: arguments.silent,
    })
}
