//! Compares everything that was answered with everything else that was answered.
//!
//! Nothing here knows how the daemon works: only what a client may conclude from answers. Calls
//! that overlap in time may have happened in either order; only what was over before something
//! else began is held against it.

mod agents;
mod lists;
mod order;
mod runs;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::history::{History, Said, Shows, Sight, Submit, TASK};

/// Everything that is wrong, as sentences; nothing when every promise was kept.
pub(crate) fn violations(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let mut sights: BTreeMap<&str, Vec<&Sight>> = BTreeMap::new();
    for sight in &history.sights {
        sights.entry(&sight.task).or_default().push(sight);
    }
    let last = last_sights(history, &sights, &mut found);
    check_submits(history, &last, &mut found);
    for (task, sights) in &mut sights {
        order::check_facts(task, sights, &mut found);
        order::check_attempts(task, sights, last.get(task), &mut found);
        order::check_order(task, sights, &mut found);
    }
    runs::check_completed(&history.completed, &last, &mut found);
    runs::check(history, &last, &mut found);
    lists::check(history, &mut found);
    agents::check(history, &mut found);
    found
}

/// What is known of each task in the end: it was read, and it had ended.
fn last_sights<'a>(
    history: &'a History,
    sights: &BTreeMap<&str, Vec<&'a Sight>>,
    found: &mut Vec<String>,
) -> BTreeMap<&'a str, &'a Sight> {
    let mut last = BTreeMap::new();
    for task in history.tasks() {
        let of_it = sights.get(task).map(Vec::as_slice).unwrap_or_default();
        let mut at_the_end = of_it
            .iter()
            .filter(|sight| sight.span.begin >= history.drained && sight.shows == Shows::Whole);
        match at_the_end.next() {
            None => found.push(format!("lost: {task} is not there in the end")),
            Some(sight) => {
                if !sight.facts.contains_key(&(TASK, "ended_as")) {
                    found.push(format!("stuck: {task} has not ended: {:?}", sight.status));
                }
                last.insert(task, *sight);
            }
        }
    }
    last
}

/// Every token that was accepted is one task with its payload; one that was refused is none.
fn check_submits(history: &History, last: &BTreeMap<&str, &Sight>, found: &mut Vec<String>) {
    let mut tries: BTreeMap<&str, Vec<&Submit>> = BTreeMap::new();
    for submit in &history.submits {
        tries.entry(&submit.token).or_default().push(submit);
    }
    let mut there: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (task, sight) in last {
        let payload = sight.facts.get(&(TASK, "payload")).unwrap_or(&Value::Null);
        let token = payload["token"].as_str().unwrap_or_default();
        there.entry(token).or_default().push(task);
        match tries.get(token).and_then(|tries| tries.first()) {
            None => found.push(format!("nobody submitted {task} with {payload}")),
            Some(submit) if submit.payload != *payload => found.push(format!(
                "payload of {task}: {} was sent, {payload} is there",
                submit.payload
            )),
            Some(_) => {}
        }
    }
    for (token, tries) in tries {
        let there = there.get(token).map(Vec::as_slice).unwrap_or_default();
        let unknown = tries.iter().filter(|submit| submit.said == Said::Unknown).count();
        let accepted: Vec<&str> = tries
            .iter()
            .filter_map(|submit| match &submit.said {
                Said::Accepted(task) => Some(task.as_str()),
                Said::Refused | Said::Unknown => None,
            })
            .collect();
        for task in &accepted {
            if !there.contains(task) {
                found.push(format!("{token} was accepted as {task}, which is not that task"));
            }
        }
        // With a key all tries are one; without one each may have made a task.
        let distinct: BTreeSet<_> = accepted.iter().collect();
        let most = if tries.iter().all(|submit| submit.has_key) {
            usize::from(unknown > 0 || !distinct.is_empty())
        } else {
            accepted.len() + unknown
        };
        if there.len() > most || distinct.len() > most {
            found.push(format!("{token}: {most} tasks at most, but {there:?}, told {distinct:?}"));
        }
    }
}
