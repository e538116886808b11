//! What answers say of one task, compared in the order of time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::durability::history::{Facts, Shows, Sight, TASK};

/// A fact has one value, whoever said it and when.
pub(super) fn check_facts(task: &str, sights: &[&Sight], found: &mut Vec<String>) {
    let mut known: BTreeMap<_, &Value> = BTreeMap::new();
    for (key, value) in sights.iter().flat_map(|sight| &sight.facts) {
        let before = known.entry(key).or_insert(value);
        if *before != value {
            found.push(format!("{task}: {key:?} was {before} and {value}"));
        }
    }
}

/// Every attempt that anybody heard of is there in the end.
pub(super) fn check_attempts(
    task: &str,
    sights: &[&Sight],
    last: Option<&&Sight>,
    found: &mut Vec<String>,
) {
    let Some(last) = last else { return };
    let numbers: BTreeSet<u64> =
        sights.iter().flat_map(|sight| sight.facts.keys()).map(|(number, _)| *number).collect();
    for number in numbers.into_iter().filter(|number| *number != TASK) {
        if !last.facts.contains_key(&(number, "agent_id")) {
            found.push(format!("{task}: attempt {number} is not there in the end"));
        }
    }
}

/// What is known of a task from the answers that were over at some moment.
#[derive(Default)]
struct Floor {
    attempt: u64,
    failures: u64,
    /// The newest attempt after which it was seen waiting.
    waited_after: Option<u64>,
    facts: Facts,
}

impl Floor {
    fn raise(&mut self, sight: &Sight) {
        self.attempt = self.attempt.max(sight.attempt);
        self.failures = self.failures.max(sight.failures);
        if sight.shows != Shows::Word && sight.status.as_deref() == Some("pending") {
            self.waited_after = self.waited_after.max(Some(sight.attempt));
        }
        self.facts.extend(sight.facts.iter().map(|(key, value)| (*key, value.clone())));
    }

    /// What `sight`, which began later, has against it.
    fn contradicted(&self, sight: &Sight) -> Option<String> {
        let ended_as = self.facts.get(&(TASK, "ended_as"));
        let status = sight.status.as_deref();
        if sight.shows == Shows::Nothing {
            return Some("it was gone".to_owned());
        }
        if let (Some(ended_as), Some(status)) = (ended_as, status)
            && ended_as != status
        {
            return Some(format!("it had ended as {ended_as} and was {status} again"));
        }
        if sight.shows == Shows::Word {
            return None;
        }
        if sight.attempt < self.attempt || sight.failures < self.failures {
            let then = (self.attempt, self.failures);
            let now = (sight.attempt, sight.failures);
            return Some(format!("attempts and failures went from {then:?} back to {now:?}"));
        }
        if status == Some("in_progress") && self.waited_after >= Some(sight.attempt) {
            return Some(format!("attempt {} was over and ran again", sight.attempt));
        }
        let is_shown = |(number, name): &(u64, &str)| {
            sight.shows == Shows::Whole
                || (*number == TASK && !["payload", "result", "finished_by"].contains(name))
        };
        let missing = self.facts.keys().find(|key| is_shown(key) && !sight.facts.contains_key(key));
        missing.map(|key| format!("{key:?} was {} and is forgotten", self.facts[key]))
    }
}

/// No answer contradicts one that was there before it was asked for.
pub(super) fn check_order(task: &str, sights: &mut [&Sight], found: &mut Vec<String>) {
    let mut by_end = sights.to_vec();
    by_end.sort_by_key(|sight| sight.span.end);
    let mut over = by_end.into_iter().peekable();
    sights.sort_by_key(|sight| sight.span.begin);
    let mut floor = Floor::default();
    let mut known = false;
    for sight in sights {
        while let Some(earlier) = over.next_if(|earlier| earlier.span.is_before(sight.span)) {
            floor.raise(earlier);
            known |= earlier.shows != Shows::Nothing;
        }
        if known && let Some(what) = floor.contradicted(sight) {
            found.push(format!("{task}: {what}, at {:?}", sight.span));
            return;
        }
    }
}
