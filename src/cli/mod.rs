//! Arguments and exit codes.

mod launch;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A coordination daemon for pools of AI worker agents on one machine.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Subcommands>,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// The parent of one worker; started by the daemon.
    #[command(hide = true)]
    Launch(launch::Arguments),
    /// The built-in worker; started by the daemon.
    Worker(worker::Arguments),
}

/// Runs the program with the arguments of this process.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Some(Subcommands::Launch(arguments)) => launch::run(&arguments),
        Some(Subcommands::Worker(arguments)) => worker::run(&arguments),
        // The daemon itself is not built yet.
        None => ExitCode::SUCCESS,
    }
}
