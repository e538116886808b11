//! Which idle agent gets a task: rules 5 and 8, pure.

use super::decision::{Candidate, Decision, Preference, Rule};
use super::idle::IdleAgents;
use super::ids::AgentId;
use super::task_type::TaskType;

/// How many agents a decision names.
const NAMED: usize = 5;

/// What placement knows of a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    /// Its type.
    pub kind: TaskType,
    /// The agent that the client asked for, and what speaks against it already.
    pub preferred: Option<Result<AgentId, Preference>>,
    /// The agents on which it failed, the oldest failure first.
    pub failed_on: &'a [AgentId],
    /// Whether its exclusions are lifted (rule 8).
    pub relaxed: bool,
    /// How long it has been pending, in microseconds.
    pub waited_us: u64,
}

/// Picks the agent for a task: the preferred one, else the one that completed tasks of this type
/// fastest on average, else the one idle longest; the smaller id decides a tie. Of a relaxed task
/// the excluded agents come last, the oldest failure first. `None` means that no idle agent may
/// run it.
#[must_use]
pub(super) fn choose(wish: &Wish<'_>, idle: &IdleAgents) -> Option<(AgentId, Decision)> {
    let ranked = rank(wish, idle);
    let &(chosen, rule) = ranked.first()?;
    let excluded_idle =
        wish.failed_on.iter().filter(|&&agent| idle.takes(agent, wish.kind)).count();
    let candidates_total = idle.count(wish.kind) - if wish.relaxed { 0 } else { excluded_idle };
    let candidate = |&(agent_id, _): &(AgentId, Rule)| Candidate {
        agent_id,
        score_ms: idle.mean_ns(agent_id, wish.kind).map(|ns| ns as f64 / 1e6),
    };
    let decision = Decision {
        rule,
        candidates: ranked.iter().map(candidate).collect(),
        candidates_total,
        excluded: wish.failed_on.to_vec(),
        relaxed: wish.relaxed,
        waited_ms: wish.waited_us as f64 / 1e3,
        preference: wish.preferred.map(|preferred| preference(preferred, chosen, wish, idle)),
    };
    Some((chosen, decision))
}

/// The first [`NAMED`] agents in the order in which they would be chosen, each with the rule that
/// would choose it.
fn rank(wish: &Wish<'_>, idle: &IdleAgents) -> Vec<(AgentId, Rule)> {
    let allowed = |agent: &AgentId| !wish.failed_on.contains(agent);
    let preferred = wish.preferred.and_then(Result::ok);
    let preferred = preferred.filter(|agent| idle.takes(*agent, wish.kind) && allowed(agent));
    let fastest = idle.fastest_first(wish.kind).filter(allowed);
    // An agent with a mean stands among the fastest already. It is skipped here only when all of
    // those are named, so at most `NAMED` are skipped.
    let unknown = |agent: &AgentId| idle.mean_ns(*agent, wish.kind).is_none();
    let longest = idle.longest_first(wish.kind).filter(allowed).filter(unknown);
    let failed = wish
        .failed_on
        .iter()
        .copied()
        .filter(|&agent| wish.relaxed && idle.takes(agent, wish.kind));

    let others = fastest
        .map(|agent| (agent, Rule::Affinity))
        .chain(longest.map(|agent| (agent, Rule::LongestIdle)))
        .chain(failed.map(|agent| (agent, Rule::OldestFailure)))
        .filter(|&(agent, _)| Some(agent) != preferred);
    preferred.map(|agent| (agent, Rule::Preferred)).into_iter().chain(others).take(NAMED).collect()
}

fn preference(
    preferred: Result<AgentId, Preference>,
    chosen: AgentId,
    wish: &Wish<'_>,
    idle: &IdleAgents,
) -> Preference {
    match preferred {
        Err(reason) => reason,
        Ok(agent) if agent == chosen => Preference::Used,
        Ok(agent) if wish.failed_on.contains(&agent) => Preference::Excluded,
        Ok(agent) if idle.contains(agent) => Preference::TypeNotTaken,
        Ok(_) => Preference::NotIdle,
    }
}
