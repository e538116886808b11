//! What clients were told, and whether it is still true.

use std::collections::{BTreeMap, BTreeSet};

use daedalus::domain::{Attempt, Json, TaskId, TaskStatus, TaskView};

use super::pool::Pool;
use super::script::{NO_WAIT, TOGETHER, payload};

/// The newest that clients were told, by the name of the task.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) tasks: BTreeMap<&'static str, Fact>,
    /// Those that were told to be tried again, and may or may not be.
    pub(crate) retried: BTreeSet<&'static str>,
    /// How many agents there are, or may be when the next answer is lost.
    pub(crate) agents: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fact {
    pub(crate) id: TaskId,
    status: TaskStatus,
    attempt: Attempt,
    result: Option<Json>,
}

impl Fact {
    pub(crate) fn of(view: &TaskView) -> Self {
        Self {
            id: view.summary.id,
            status: view.summary.status,
            attempt: view.summary.attempt,
            result: view.result.clone(),
        }
    }
}

impl Told {
    /// What a client was told is so, or something came after it.
    pub(crate) async fn is_still_true(&self, pool: &Pool, what: &str) {
        for (name, told) in &self.tasks {
            let view = pool.handle.task(told.id, NO_WAIT).await;
            let view = view.unwrap_or_else(|error| panic!("{name} is lost ({error}): {what}"));
            let now = Fact::of(&view);
            assert!(now.attempt >= told.attempt, "{name} went back to {now:?}: {what}");
            let retried = self.retried.contains(name) && told.status == TaskStatus::Failed;
            if told.status.is_terminal() && !retried {
                assert_eq!(&now, told, "{name} changed after its end: {what}");
            }
            assert_eq!(view.payload.as_str(), payload(name), "{what}");
            for record in &view.attempts {
                assert!(record.end.is_some() || record.attempt == now.attempt, "{view:?}: {what}");
            }
        }
        self.are_still_together(pool, what).await;
        let agents = pool.handle.agent_reports().await.expect("they are known").len();
        let is_true = self.agents.is_empty() || self.agents.contains(&agents);
        assert!(is_true, "{agents} agents: {what}");
    }

    /// Of tasks that are tried again together, none is alone.
    async fn are_still_together(&self, pool: &Pool, what: &str) {
        let told: Vec<_> = TOGETHER.iter().filter_map(|name| self.tasks.get(name)).collect();
        let [one, other] = told[..] else { return };
        if [one, other].iter().any(|told| told.status != TaskStatus::Failed) {
            return;
        }
        let one = pool.handle.task(one.id, NO_WAIT).await.expect("it is there").summary;
        let other = pool.handle.task(other.id, NO_WAIT).await.expect("it is there").summary;
        let have_failed = [one, other].map(|task| task.status == TaskStatus::Failed);
        assert_eq!(have_failed[0], have_failed[1], "one of two was tried again: {what}");
    }
}
