//! `daedalus backup FILE`

use std::path::PathBuf;
use std::process::ExitCode;

use super::bytes::Bytes;
use super::serve::{StoreArguments, complain};
use crate::store::{self, Progress};

/// The arguments of `backup`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the copy goes; must not be there yet.
    #[arg(value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    store: StoreArguments,
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub(super) fn run(Arguments { to, store }: Arguments) -> ExitCode {
    let from = match store.path() {
        Ok(from) => from,
        Err(code) => return code,
    };
    match store::backup(&from, &to, tell) {
        Ok(backup) => {
            let (to, size) = (to.display(), Bytes(backup.bytes));
            println!("{to}: {} tasks, {size}, of {}", backup.tasks, from.display());
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error, 1),
    }
}

#[expect(clippy::print_stderr, reason = "somebody may be waiting at a terminal")]
fn tell(Progress { written, expected }: Progress) {
    eprintln!("daedalus: {} of about {}", Bytes(written), Bytes(expected));
}
