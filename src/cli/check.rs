//! `daedalus check [FILE]`

use std::path::PathBuf;
use std::process::ExitCode;

use super::bytes::Bytes;
use super::serve::{StoreArguments, complain};
use crate::store::{self, CheckReport};

/// What can be done about the store of the daemon when it is broken.
const ADVICE: &str = "what to do: stop the daemon, keep this file (and the ones beside it that end \
     in -wal and -shm), put a backup in its place, check that, and start the daemon";
/// The same about any other file.
const ADVICE_ON_COPY: &str = "what to do: when this is a backup, take another one that is sound; when \
     it is the store of a daemon, stop that, keep this file (and the ones beside it that end in -wal \
     and -shm), put a backup in its place, check that, and start the daemon";
/// What can be done when the file could not be read.
const TRY_AGAIN: &str = "this says nothing about the file itself: help that, and check again";

const NOT_READABLE: &str = "not readable";

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
    let advice = if file.is_some() { ADVICE_ON_COPY } else { ADVICE };
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
        println!("{}", for_people(&report, advice));
    }
    if report.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn for_people(report: &CheckReport, advice: &str) -> String {
    let id = report.store_id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    let target = shown(report.target, |target| {
        target.map_or_else(|| "not said".to_owned(), |target| target.to_string())
    });
    let tasks = shown(report.tasks, |tasks| {
        format!(
            "{} pending, {} in progress, {} completed, {} failed, {} cancelled",
            tasks.pending, tasks.in_progress, tasks.completed, tasks.failed, tasks.cancelled
        )
    });
    let agents = shown(report.agents, |agents| {
        format!("{} process, {} external", agents.process, agents.external)
    });
    let unknown = || format!("what a start does with the tasks in progress: {NOT_READABLE}");
    let at_start = report.at_start.as_ref().map_or_else(unknown, |at_start| {
        format!(
            "a start requeues {} of the tasks in progress; {} go on with their external agents; {} are \
             cancelled with the attempts that handed them out",
            at_start.requeued.len(),
            at_start.going_on.len(),
            at_start.cancelled.len()
        )
    });
    let mut text = format!(
        "store {id}, {}, {}, version {} (this program knows versions up to {})\n\
         tasks: {tasks}\n\
         agents: {agents}; how many should live: {target}\n\
         {at_start}\n",
        report.path.display(),
        Bytes(report.bytes),
        report.version,
        report.known_version,
    );
    if report.sound {
        text.push_str("sound");
        return text;
    }
    for problem in &report.problems {
        text.push_str(&format!("wrong: {problem}\n"));
    }
    text.push_str(if report.damaged { advice } else { TRY_AGAIN });
    text
}

fn shown<T>(part: Option<T>, show: impl FnOnce(T) -> String) -> String {
    part.map_or_else(|| NOT_READABLE.to_owned(), show)
}
