//! Lists of tasks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::durability::history::{History, Said, TASK, Walk};

/// Lists lack nothing that was there before, name nothing twice, and are in order.
pub(super) fn check(history: &History, found: &mut Vec<String>) {
    let submitted = submissions(history);
    let mut by_asked: Vec<_> = submitted.iter().map(|(id, (asked, _))| (*asked, *id)).collect();
    by_asked.sort_unstable();
    let mut ended: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for sight in &history.sights {
        if let Some(Value::String(status)) = sight.facts.get(&(TASK, "ended_as")) {
            let known = ended.entry(&sight.task).or_insert((u64::MAX, status));
            known.0 = known.0.min(sight.span.end);
        }
    }
    for walk in &history.walks {
        let must_have = |id: &str| match &walk.status {
            None => submitted[id].1 < walk.span.begin,
            Some(wanted) => ended
                .get(id)
                .is_some_and(|(seen, status)| *seen < walk.span.begin && status == wanted),
        };
        let listed: BTreeSet<&str> = walk.ids.iter().map(String::as_str).collect();
        if listed.len() != walk.ids.len() {
            found.push(format!("a list names a task twice, at {:?}", walk.span));
        }
        let oldest = oldest_acknowledged(walk, &submitted, found);
        // A walk that stopped early says nothing of what may be older than its last task.
        let reach = if walk.whole { 0 } else { oldest.saturating_add(1) };
        let reached = &by_asked[by_asked.partition_point(|(asked, _)| *asked < reach)..];
        let missing = reached.iter().find(|(_, id)| must_have(id) && !listed.contains(id));
        if let Some((_, id)) = missing {
            found.push(format!("a list of {:?} lacks {id}, at {:?}", walk.status, walk.span));
        }
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
            let asked = first_asked[submit.token.as_str()];
            let known = submitted.entry(task.as_str()).or_insert((asked, u64::MAX));
            known.1 = submit.span.end.min(known.1);
        }
    }
    submitted
}

/// The first acknowledgement of any task of a list, which must be in order: newest first, so what
/// comes later in it was not asked for after an earlier one was there.
fn oldest_acknowledged(
    walk: &Walk,
    submitted: &BTreeMap<&str, (u64, u64)>,
    found: &mut Vec<String>,
) -> u64 {
    let mut oldest = u64::MAX;
    for id in &walk.ids {
        if let Some((asked, acknowledged)) = submitted.get(id.as_str()) {
            if *asked > oldest {
                found.push(format!("a list has {id} too late, at {:?}", walk.span));
            }
            oldest = oldest.min(*acknowledged);
        }
    }
    oldest
}
