//! What the world is like, in words: scenarios compare sentences and not structures.

use super::world::{World, agent, name, task};
use crate::domain::{
    AgentId, AgentStatus, Attempt, Effect, Metrics, PendingReason, Preference, TaskId, TaskView,
};

impl World {
    pub(super) fn run_of(&self, who: &str) -> Option<(TaskId, Attempt)> {
        self.scheduler.agent_view(agent(who)).ok()?.run
    }

    /// The task, in memory or, when it has ended, on disk.
    fn look(&self, what: &str) -> Option<TaskView> {
        let here = self.scheduler.task(task(what), self.now).ok();
        here.or_else(|| self.disk.ended(task(what)).map(|ended| ended.view(None)))
    }

    pub(super) fn view(&self, what: &str) -> TaskView {
        self.look(what).unwrap()
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.scheduler.metrics(self.now)
    }

    /// A task in words, for example `in_progress on bert, attempt 2, failures 1, excludes anna`.
    pub(super) fn describe(&self, what: &str) -> String {
        let Some(view) = self.look(what) else { return "unknown".into() };
        let summary = view.summary;
        let mut words = summary.status.name().to_owned();
        if let Some(waiting) = &summary.waiting {
            words = format!("pending: {}", reason(&waiting.reason));
        }
        if let Some(agent) = summary.assigned_agent {
            words = format!("{words} on {}", name(agent));
        }
        if summary.attempt > Attempt::NONE {
            words = format!("{words}, attempt {}", summary.attempt);
        }
        if summary.failures > 0 {
            words = format!("{words}, failures {}", summary.failures);
        }
        if !summary.failed_on.is_empty() {
            words = format!("{words}, excludes {}", names(summary.failed_on));
        }
        words
    }

    #[track_caller]
    pub(super) fn expect(&self, what: &str, words: &str) {
        assert_eq!(self.describe(what), words, "task {what}");
    }

    /// The attempts of a task in words, for example `agent_failed on anna, open on bert`.
    #[track_caller]
    pub(super) fn expect_attempts(&self, what: &str, words: &str) {
        let attempts = self.view(what).attempts.into_iter().map(|record| {
            let outcome = record.end.map_or("open", |end| end.outcome.name());
            let overlap = if record.overlap_possible { " (overlap possible)" } else { "" };
            format!("{outcome} on {}{overlap}", name(record.agent))
        });
        assert_eq!(attempts.collect::<Vec<_>>().join(", "), words, "attempts of {what}");
    }

    /// An agent in words, for example `executing t1`, `degraded (failed)` or `gone`.
    pub(super) fn describe_agent(&self, who: &str) -> String {
        let Ok(view) = self.scheduler.agent_view(agent(who)) else { return "gone".into() };
        let mut words = view.status.name().to_owned();
        if let Some((reason, _)) = view.reason {
            words = format!("{words} ({})", reason.name());
        }
        match view.run {
            Some((task, _)) if view.status != AgentStatus::Idle => {
                format!("{words} {}", name(task))
            }
            _ => words,
        }
    }

    #[track_caller]
    pub(super) fn expect_agent(&self, who: &str, words: &str) {
        assert_eq!(self.describe_agent(who), words, "agent {who}");
    }

    /// The newest decision in words, for example `affinity: anna(10) bert, 2 candidates`.
    #[track_caller]
    pub(super) fn expect_decision(&self, what: &str, words: &str) {
        let decision = &self.view(what).attempts.last().unwrap().decision.clone();
        let candidates = decision.candidates.iter().map(|candidate| {
            let score = candidate.score_ms.map_or(String::new(), |ms| format!("({ms})"));
            format!("{}{score}", name(candidate.agent_id))
        });
        let candidates = candidates.collect::<Vec<_>>().join(" ");
        let relaxed = if decision.relaxed { ", relaxed" } else { "" };
        let excluded = if decision.excluded.is_empty() {
            String::new()
        } else {
            format!(", excludes {}", names(decision.excluded.iter().copied()))
        };
        let preference = decision.preference.map_or("", |preference| match preference {
            Preference::Used => ", preference used",
            Preference::Unknown => ", preference unknown",
            Preference::TypeNotTaken => ", preference does not take the type",
            Preference::Excluded => ", preference excluded",
            Preference::NotIdle => ", preference not idle",
        });
        let actual = format!(
            "{}: {candidates}, of {}{excluded}{relaxed}{preference}",
            decision.rule.name(),
            decision.candidates_total
        );
        assert_eq!(actual, words, "decision about {what}");
    }

    pub(super) fn wanted(&self, is_it: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| is_it(effect)).count()
    }
}

fn reason(reason: &PendingReason) -> String {
    use PendingReason as Reason;
    match reason {
        Reason::GateClosed(gate) => return format!("gate_closed:{gate}"),
        Reason::RetryBackoff => "retry_backoff",
        Reason::PoolEmpty => "pool_empty",
        Reason::NoAgentForType => "no_agent_for_type",
        Reason::ExcludedEverywhere => "excluded_everywhere",
        Reason::NoIdleAgent => "no_idle_agent",
    }
    .to_owned()
}

fn names(ids: impl IntoIterator<Item = AgentId>) -> String {
    ids.into_iter().map(name).collect::<Vec<_>>().join(" ")
}
