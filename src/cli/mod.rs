//! Arguments and exit codes.

mod backup;
mod bytes;
mod check;
mod launch;
mod serve;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A coordination daemon for pools of AI worker agents on one machine.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    serve: serve::Arguments,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Run the daemon (the default).
    Serve(serve::Arguments),
    /// Print the effective configuration, secrets hidden.
    Config(serve::Arguments),
    /// Copy the store to a file while the daemon runs.
    Backup(backup::Arguments),
    /// Say whether the store, or a backup of it, is sound and what is in it.
    Check(check::Arguments),
    /// The parent of one worker; started by the daemon.
    #[command(hide = true)]
    Launch(launch::Arguments),
    /// The built-in worker; started by the daemon.
    Worker(worker::Arguments),
}

/// Runs the program with the arguments of this process.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Subcommands::Serve(arguments)) => serve::serve(arguments),
        Some(Subcommands::Config(arguments)) => serve::show_config(arguments),
        Some(Subcommands::Backup(arguments)) => backup::run(arguments),
        Some(Subcommands::Check(arguments)) => check::run(arguments),
        Some(Subcommands::Launch(arguments)) => launch::run(&arguments),
        Some(Subcommands::Worker(arguments)) => worker::run(&arguments),
        None => serve::serve(arguments.serve),
    }
}
