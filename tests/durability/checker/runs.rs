//! What workers ran, and which results were accepted.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::durability::history::{Completed, History, Run, Sight, TASK};

/// At most one result of a task was accepted, and the task keeps it.
pub(super) fn check_completed(
    completed: &[Completed],
    last: &BTreeMap<&str, &Sight>,
    found: &mut Vec<String>,
) {
    let mut of_task: BTreeMap<&str, u64> = BTreeMap::new();
    for Completed { task, attempt } in completed {
        if let Some(other) = of_task.insert(task, *attempt) {
            found.push(format!("{task}: results of attempts {other} and {attempt} were accepted"));
        }
        let kept =
            last.get(task.as_str()).and_then(|sight| sight.facts.get(&(TASK, "finished_by")));
        if kept.is_none_or(|kept| kept != attempt) {
            found.push(format!("{task}: attempt {attempt} completed it, but it says {kept:?}"));
        }
    }
}

/// Runs of a task do not overlap, each was an assignment on disk, and a result is that of a run.
pub(super) fn check(history: &History, last: &BTreeMap<&str, &Sight>, found: &mut Vec<String>) {
    let mut of_task: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in &history.runs {
        of_task.entry(&run.task).or_default().push(run);
    }
    for (task, runs) in &mut of_task {
        runs.sort_by_key(|run| run.start);
        for pair in runs.windows(2).filter(|pair| pair[0].alone && pair[1].alone) {
            let (former, next) = (pair[0], pair[1]);
            if next.attempt <= former.attempt {
                found.push(format!("{task}: attempt {} ran after {former:?}", next.attempt));
            }
            if former.end.is_some_and(|end| next.start < end) {
                found.push(format!("{task}: two runs at a time: {former:?}, {next:?}"));
            }
        }
        for run in runs {
            if !run.alive.is_empty() {
                found.push(format!("{task}: an earlier run's process was alive at {run:?}"));
            }
            let Some(sight) = last.get(task) else {
                found.push(format!("{task} ran and is not there: {run:?}"));
                continue;
            };
            let fact = |number, name| sight.facts.get(&(number, name)).unwrap_or(&Value::Null);
            if *fact(run.attempt, "agent_id") != run.agent
                || *fact(run.attempt, "incarnation") != run.incarnation
            {
                found.push(format!("{task}: nothing is known of {run:?}"));
            }
            if fact(TASK, "payload")["token"] != run.token {
                found.push(format!("{task}: another payload was run: {run:?}"));
            }
        }
    }
    for (task, sight) in last.iter().filter(|(_, sight)| is_completed(sight)) {
        let result = sight.facts.get(&(TASK, "result")).unwrap_or(&Value::Null);
        let by = sight.facts.get(&(TASK, "finished_by"));
        let runs = of_task.get(task).map(Vec::as_slice).unwrap_or_default();
        let is_of = |run: &&Run| {
            run.end.is_some()
                && Some(&run.attempt.into()) == by
                && (&result["attempt"], &result["token"], &result["pid"])
                    == (&run.attempt.into(), &run.token.as_str().into(), &run.pid.into())
        };
        if !runs.iter().any(is_of) {
            found.push(format!(
                "{task}: no run has its result {result} of attempt {by:?}: {runs:?}"
            ));
        }
    }
}

fn is_completed(sight: &Sight) -> bool {
    sight.status.as_deref() == Some("completed")
}
