//! Lists of tasks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::durability::history::{History, Said, TASK, Walk};

/// Lists lack nothing that was there before, name nothing twice, and are in order.
pub(super) fn check(history: &History, found: &mut Vec<String>) {
    let submitted = submissions(history);
    let mut ended: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for sight in &history.sights {
        if let Some(Value::String(status)) = sight.facts.get(&(TASK, "ended_as")) {
            let known = ended.entry(&sight.task).or_insert((u64::MAX, status));
            known.0 = known.0.min(sight.span.end);
        }
    }
    for walk in &history.walks {
        check_walk(walk, &submitted, &ended, found);
    }
}

/// When each acknowledged task was first asked for and first acknowledged.
fn submissions(history: &History) -> BTreeMap<&str, (u64, u64)> {
    let mut first_asked: BTreeMap<&str, u64> = BTreeMap::new();
    for submit in &history.submits {
        let asked = first_asked.entry(&submit.token).or_insert(u64::MAX);
        *asked = submit.span.begin.min(*asked);
    }
    let mut submitted = BTreeMap::new();
    for submit in &history.submits {
        if let Said::Accepted(task) = &submit.said {
            let known = submitted
                .entry(task.as_str())
                .or_insert((first_asked[submit.token.as_str()], u64::MAX));
            known.1 = submit.span.end.min(known.1);
        }
    }
    submitted
}

fn check_walk(
    walk: &Walk,
    submitted: &BTreeMap<&str, (u64, u64)>,
    ended: &BTreeMap<&str, (u64, &str)>,
    found: &mut Vec<String>,
) {
    let listed: BTreeSet<&str> = walk.ids.iter().map(String::as_str).collect();
    if listed.len() != walk.ids.len() {
        found.push(format!("a list names a task twice, at {:?}", walk.span));
    }
    // Newest first: what comes later in the list was not asked for after an earlier one was there.
    let mut oldest_ack = u64::MAX;
    for id in &walk.ids {
        if let Some((asked, acknowledged)) = submitted.get(id.as_str()) {
            if *asked > oldest_ack {
                found.push(format!("a list has {id} too late, at {:?}", walk.span));
            }
            oldest_ack = oldest_ack.min(*acknowledged);
        }
    }
    // A walk that stopped early says nothing of what may be older than its last task.
    let reaches = if walk.whole { 0 } else { oldest_ack.saturating_add(1) };
    let missing = submitted.iter().find(|(id, (asked, acknowledged))| {
        let should = match &walk.status {
            None => *acknowledged < walk.span.begin,
            Some(wanted) => ended
                .get(*id)
                .is_some_and(|(seen, status)| *seen < walk.span.begin && status == wanted),
        };
        should && *asked >= reaches && !listed.contains(*id)
    });
    if let Some((id, _)) = missing {
        found.push(format!("a list of {:?} lacks {id}, at {:?}", walk.status, walk.span));
    }
}
