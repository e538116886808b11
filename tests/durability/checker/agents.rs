//! What answers say of agents.

use std::collections::BTreeMap;

use crate::durability::history::{History, Moved};

/// The lives of an agent go on counting, none shares its context with another, and who was added
/// to the pool or removed from it stays so.
pub(super) fn check(history: &History, found: &mut Vec<String>) {
    check_lives(history, found);
    for pool in &history.pools {
        let span = pool.span;
        for Moved { agent, .. } in history.removed.iter().filter(|one| one.span.is_before(span)) {
            if pool.agents.contains(agent) {
                found.push(format!("{agent} was removed and is there again, at {span:?}"));
            }
        }
        for Moved { agent, .. } in history.spawned.iter().filter(|one| one.span.is_before(span)) {
            let mut tries = history.removed.iter().filter(|one| one.agent == *agent);
            let may_be_gone = tries.any(|one| one.span.begin < span.end);
            if !may_be_gone && !pool.agents.contains(agent) {
                found.push(format!("{agent} was added and is not there, at {span:?}"));
            }
        }
    }
}

fn check_lives(history: &History, found: &mut Vec<String>) {
    let mut contexts: BTreeMap<&str, (&str, u64)> = BTreeMap::new();
    let mut of_life: BTreeMap<(&str, u64), &str> = BTreeMap::new();
    for sight in &history.agents {
        let life = (sight.agent.as_str(), sight.incarnation);
        let same_life = *contexts.entry(&sight.context).or_insert(life) == life;
        let same_context = *of_life.entry(life).or_insert(&sight.context) == sight.context;
        if !same_life || !same_context {
            found.push(format!("{life:?} has a context of its own no more: {}", sight.context));
        }
    }
    let mut by_begin: Vec<_> = history.agents.iter().collect();
    by_begin.sort_by_key(|sight| sight.span.begin);
    let mut by_end = by_begin.clone();
    by_end.sort_by_key(|sight| sight.span.end);
    let mut over = by_end.into_iter().peekable();
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    for sight in by_begin {
        while let Some(earlier) = over.next_if(|earlier| earlier.span.is_before(sight.span)) {
            let known = newest.entry(&earlier.agent).or_default();
            *known = earlier.incarnation.max(*known);
        }
        if let Some(known) = newest.get(sight.agent.as_str())
            && sight.incarnation < *known
        {
            let agent = &sight.agent;
            found.push(format!("{agent}: went from life {known} back to {}", sight.incarnation));
        }
    }
}
