//! `daedalus check [FILE]`

use std::path::PathBuf;
use std::process::ExitCode;

use super::backup::megabytes;
use super::serve::{StoreArguments, complain};
use crate::store::{self, CheckReport};

/// What can be done about a store that is not sound.
const ADVICE: &str = "what to do: stop the daemon, keep this file (and the ones beside it that end \
     in -wal and -shm), put a backup in its place, check that, and start the daemon";

/// The arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The store, or a backup of one [default: the store of the configuration]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub(super) fn run(Arguments { file, json, store }: Arguments) -> ExitCode {
    let path = match file.map_or_else(|| store.path(), Ok) {
        Ok(path) => path,
        Err(code) => return code,
    };
    let report = match store::check(&path) {
        Ok(report) => report,
        Err(error) if json => {
            let problem = error.chain();
            let report = serde_json::json!({ "path": path, "sound": false, "problems": [problem] });
            println!("{report:#}");
            return ExitCode::FAILURE;
        }
        Err(error) => return complain(&error, 1),
    };
    if json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => println!("{text}"),
            Err(error) => return complain(&error, 1),
        }
    } else {
        println!("{}", for_people(&report));
    }
    if report.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn for_people(report: &CheckReport) -> String {
    let CheckReport { tasks, agents, at_start, .. } = report;
    let id = report.store_id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    let target = report.target.map_or_else(|| "not said".to_owned(), |target| target.to_string());
    let mut text = format!(
        "store {id}, {}, {:.1} MB, version {} (this program knows versions up to {})\n\
         tasks: {} pending, {} in progress, {} completed, {} failed, {} cancelled\n\
         agents: {} process, {} external; how many should live: {target}\n\
         a start requeues {} of the tasks in progress; {} go on with their external agents\n",
        report.path.display(),
        megabytes(report.bytes),
        report.version,
        report.known_version,
        tasks.pending,
        tasks.in_progress,
        tasks.completed,
        tasks.failed,
        tasks.cancelled,
        agents.process,
        agents.external,
        at_start.requeued.len(),
        at_start.going_on.len(),
    );
    if report.sound {
        text.push_str("sound");
        return text;
    }
    for problem in &report.problems {
        text.push_str(&format!("wrong: {problem}\n"));
    }
    text.push_str(ADVICE);
    text
}
