//! What the clients do, what they were told, and what must still be true of it.

use std::collections::BTreeMap;
use std::time::Duration;

use daedalus::actors::handle::{CallError, PoolHandle};
use daedalus::actors::messages::SpawnAgent;
use daedalus::domain::{
    AgentId, Attempt, Fingerprint, IdempotencyKey, Json, Priority, Refusal, Report, TaskError,
    TaskId, TaskSpec, TaskStatus, TaskType, TaskTypes, TaskView, TraceId,
};
use tokio::time::timeout;
use uuid::Uuid;

use super::pool::{PATIENCE, Pool};

/// The newest that clients were told, by the name of the task.
#[derive(Debug, Default)]
pub(crate) struct Told {
    tasks: BTreeMap<&'static str, Fact>,
    /// How many agents there are, or may be when the next answer is lost.
    agents: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Fact {
    id: TaskId,
    status: TaskStatus,
    attempt: Attempt,
    result: Option<Json>,
}

impl Fact {
    fn of(view: &TaskView) -> Self {
        Self {
            id: view.summary.id,
            status: view.summary.status,
            attempt: view.summary.attempt,
            result: view.result.clone(),
        }
    }
}

const NO_WAIT: Duration = Duration::ZERO;

fn spec(name: &str) -> TaskSpec {
    TaskSpec {
        kind: TaskType::General,
        payload: serde_json::from_str(&format!("{{\"name\":\"{name}\"}}")).expect("JSON"),
        priority: Priority::default(),
        preferred: None,
        timeout_us: None,
        key: Some(IdempotencyKey { name: name.into(), content: Fingerprint([7; 32]) }),
        trace: TraceId::from_uuid(Uuid::nil()),
    }
}

fn success(number: u32) -> Report {
    let result = serde_json::from_str(&format!("{{\"number\":{number}}}")).expect("JSON");
    Report::Completed { result: Some(result), usage: None }
}

fn failure() -> Report {
    let error = TaskError { code: "no".into(), message: "no".into(), retryable: false };
    Report::Failed { error, usage: None }
}

struct Play<'a> {
    pool: &'a PoolHandle,
    told: &'a mut Told,
}

impl Play<'_> {
    async fn submit(&mut self, name: &'static str) -> TaskId {
        let accepted = self.pool.submit(spec(name)).await.expect("it is accepted");
        self.read(name, accepted.task_id).await;
        accepted.task_id
    }

    /// What a client reads, it was told.
    async fn read(&mut self, name: &'static str, id: TaskId) -> TaskView {
        let view = self.pool.task(id, NO_WAIT).await.expect("it is there");
        self.told.tasks.insert(name, Fact::of(&view));
        view
    }

    async fn agent_of(&mut self, name: &'static str, id: TaskId) -> AgentId {
        self.read(name, id).await.summary.assigned_agent.expect("somebody has it")
    }

    async fn complete(&mut self, name: &'static str, id: TaskId, report: Report) {
        let attempt = self.read(name, id).await.summary.attempt;
        self.pool.complete(id, Some(attempt), report).await.expect("it is taken");
        self.read(name, id).await;
    }
}

/// The script: everything that commits.
pub(crate) async fn play(pool: &Pool, told: &mut Told) {
    let pool = &pool.handle;
    let mut play = Play { pool, told };
    let agents = pool.initialize(None).await.expect("a pool").agent_ids;
    assert_eq!(agents.len(), 2);
    play.told.agents = vec![2, 1];
    let anna = play.submit("anna").await;
    let with_anna = play.agent_of("anna", anna).await;
    pool.assignment(with_anna, None, NO_WAIT).await.expect("its work").expect("there is some");
    let bert = play.submit("bert").await;
    let carl = play.submit("carl").await;
    play.complete("anna", anna, success(1)).await; // carl is next
    let with_bert = play.agent_of("bert", bert).await;
    pool.fail(with_bert, "the test says so".to_owned()).await.expect("it is failed");
    play.read("bert", bert).await;
    play.complete("carl", carl, failure()).await; // bert is tried again
    pool.recover(with_bert).await.expect("it works again");
    pool.cancel(bert).await.expect("it is cancelled");
    play.read("bert", bert).await;
    pool.retry(carl).await.expect("it is tried again");
    let with_carl = play.agent_of("carl", carl).await;
    pool.remove(with_carl, None).await.expect("it goes");
    play.told.agents = vec![1, 2];
    play.read("carl", carl).await;
    let spawn = SpawnAgent { kind: None, types: TaskTypes::ALL };
    pool.spawn(spawn).await.expect("one more");
    play.told.agents = vec![2, 0];
    let dora = play.submit("dora").await;
    pool.close(None, false).await.expect("it closes");
    play.told.agents = vec![0];
    play.read("dora", dora).await;
}

impl Told {
    /// What a client was told is so, or something came after it.
    pub(crate) async fn is_still_true(&self, pool: &Pool, what: &str) {
        for (name, told) in &self.tasks {
            let view = pool.handle.task(told.id, NO_WAIT).await;
            let view = view.unwrap_or_else(|error| panic!("{name} is lost ({error}): {what}"));
            let now = Fact::of(&view);
            assert!(now.attempt >= told.attempt, "{name} went back to {now:?}: {what}");
            let retried = *name == "carl" && told.status == TaskStatus::Failed;
            if told.status.is_terminal() && !retried {
                assert_eq!(&now, told, "{name} changed after its end: {what}");
            }
            let payload = format!("{{\"name\":\"{name}\"}}");
            assert_eq!(view.payload.as_str(), payload, "{what}");
            for record in &view.attempts {
                assert!(record.end.is_some() || record.attempt == now.attempt, "{view:?}: {what}");
            }
        }
        let agents = pool.handle.agent_reports().await.expect("they are known").len();
        let is_true = self.agents.is_empty() || self.agents.contains(&agents);
        assert!(is_true, "{agents} agents: {what}");
    }
}

/// Whoever got no answer asks again, and everything is brought to its end: once.
pub(crate) async fn go_on_to_the_end(pool: &Pool, told: &mut Told, what: &str) {
    let pool = &pool.handle;
    pool.initialize(Some(1)).await.expect("a pool");
    let mut ids = BTreeMap::new();
    for name in ["anna", "bert", "carl", "dora"] {
        let accepted = pool.submit(spec(name)).await.expect("it is accepted");
        let known = told.tasks.get(name).map_or(accepted.task_id, |fact| fact.id);
        assert_eq!(accepted.task_id, known, "{name} is there twice: {what}");
        ids.insert(name, accepted.task_id);
    }
    for id in ids.values() {
        let agents = pool.agent_reports().await.expect("they are known");
        for agent in agents.iter().filter(|agent| agent.view.reason.is_some()) {
            pool.recover(agent.view.id).await.expect("it works again");
        }
        let ended = timeout(PATIENCE, end(pool, *id, what)).await;
        ended.unwrap_or_else(|_| panic!("{id} does not end: {what}"));
        let again = pool.complete(*id, None, success(10)).await.map(drop);
        let refusal = again.expect_err("it has ended");
        assert!(
            matches!(refusal, CallError::Refused(Refusal::AlreadyFinished { .. })),
            "{refusal}: {what}"
        );
    }
    let listed = pool.tasks(all()).await.expect("a list").tasks.len();
    assert_eq!(listed, ids.len(), "{what}");
}

fn all() -> daedalus::domain::ListQuery {
    daedalus::domain::ListQuery { status: None, kind: None, limit: 100, before: None }
}

/// Brings a task to its end.
async fn end(pool: &PoolHandle, id: TaskId, what: &str) {
    loop {
        let view = pool.task(id, NO_WAIT).await.expect("it is there").summary;
        match view.status {
            TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled => return,
            TaskStatus::InProgress => {
                let done = pool.complete(id, Some(view.attempt), success(9)).await;
                assert_eq!(done.expect("it is taken"), TaskStatus::Completed, "{what}");
            }
            // Excluded for a while on the one agent that is there, or behind another task.
            TaskStatus::Pending => {
                let spawn = SpawnAgent { kind: None, types: TaskTypes::ALL };
                pool.spawn(spawn).await.map(drop).unwrap_or_else(|error| {
                    let full = matches!(error, CallError::Refused(Refusal::PoolFull { .. }));
                    assert!(full, "{error}: {what}");
                });
                tokio::task::yield_now().await;
            }
        }
    }
}
