//! What the clients do.

use std::collections::BTreeMap;
use std::time::Duration;

use daedalus::actors::handle::{CallError, PoolHandle};
use daedalus::actors::messages::SpawnAgent;
use daedalus::domain::{
    AgentId, AgentKind, AgentStatus, Fingerprint, IdempotencyKey, Incarnation, Priority, Refusal,
    Report, TaskError, TaskId, TaskSpec, TaskStatus, TaskType, TaskTypes, TaskView, TraceId,
};
use tokio::time::timeout;
use uuid::Uuid;

use super::pool::{PATIENCE, Pool};
use super::told::{Fact, Told};

pub(crate) const NO_WAIT: Duration = Duration::ZERO;

/// Every task of the script.
const NAMES: [&str; 7] = ["anna", "bert", "carl", "dora", "emil", "fina", "gerd"];
/// Those that one call tries again: both, or none.
pub(crate) const TOGETHER: [&str; 2] = ["emil", "fina"];
/// The one that is for a process, which takes nothing else.
const FOR_A_PROCESS: &str = "gerd";

/// What a process can do; the external agents do whatever the script says.
pub(crate) fn payload(name: &str) -> String {
    format!("{{\"action\":\"echo\",\"value\":\"{name}\"}}")
}

fn spec(name: &str) -> TaskSpec {
    let kind = if name == FOR_A_PROCESS { TaskType::Ingest } else { TaskType::General };
    TaskSpec {
        kind,
        payload: serde_json::from_str(&payload(name)).expect("JSON"),
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

    /// Two tasks fail, and one call tries both again.
    async fn retry_together(&mut self) {
        let mut ids = Vec::new();
        for name in TOGETHER {
            let id = self.submit(name).await;
            self.complete(name, id, failure()).await;
            ids.push(id);
        }
        self.told.retried.extend(TOGETHER);
        let retried = self.pool.retry_all(TaskStatus::Failed, None).await.expect("they are");
        assert_eq!((retried.retried, retried.remaining), (2, 0));
        for (name, id) in TOGETHER.into_iter().zip(ids) {
            self.read(name, id).await;
            self.complete(name, id, success(2)).await;
        }
    }

    /// A process agent comes, works, is failed, gets a new life, and goes.
    async fn use_a_process(&mut self) {
        let Play { pool, told } = self;
        let before = told.agents[0];
        told.agents = vec![before, before + 1];
        let types = [TaskType::Ingest].into_iter().collect();
        let spawn = SpawnAgent { kind: Some(AgentKind::Process), types };
        let agent = pool.spawn(spawn).await.expect("a process");
        assert_eq!(agent.status, AgentStatus::Idle, "{agent:?}");
        told.agents = vec![before + 1, before];
        let mut spec = spec(FOR_A_PROCESS);
        spec.preferred = Some(Ok(agent.id));
        let task = pool.submit(spec).await.expect("it is accepted").task_id;
        pool.task(task, PATIENCE).await.expect("it is there");
        let view = self.read(FOR_A_PROCESS, task).await;
        assert_eq!(view.summary.status, TaskStatus::Completed, "{view:?}");
        let pool = self.pool;
        pool.fail(agent.id, "the test says so".to_owned()).await.expect("it is failed");
        let second_life = async {
            loop {
                let now = pool.agent_report(agent.id).await.expect("it is there").view;
                if now.incarnation > Incarnation::FIRST && now.status == AgentStatus::Idle {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, second_life).await.expect("it gets a new life");
        pool.remove(agent.id, None).await.expect("it goes");
        self.told.agents = vec![before];
    }
}

/// The script: everything that commits.
pub(crate) async fn play(pool: &Pool, told: &mut Told) {
    let pool = &pool.handle;
    let mut play = Play { pool, told };
    let agents = pool.initialize(None).await.expect("a pool").agent_ids;
    assert_eq!(agents.len(), 2);
    play.told.agents = vec![2, 1];
    play.retry_together().await;
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
    play.told.retried.insert("carl");
    pool.retry(carl).await.expect("it is tried again");
    let with_carl = play.agent_of("carl", carl).await;
    pool.remove(with_carl, None).await.expect("it goes");
    play.told.agents = vec![1, 2];
    play.read("carl", carl).await;
    let spawn = SpawnAgent { kind: None, types: TaskTypes::ALL };
    pool.spawn(spawn).await.expect("one more");
    play.told.agents = vec![2];
    play.use_a_process().await;
    play.told.agents = vec![2, 0];
    let dora = play.submit("dora").await;
    pool.close(None, false).await.expect("it closes");
    play.told.agents = vec![0];
    play.read("dora", dora).await;
}

/// Whoever got no answer asks again, and everything is brought to its end: once.
pub(crate) async fn go_on_to_the_end(pool: &Pool, told: &mut Told, what: &str) {
    let pool = &pool.handle;
    pool.initialize(Some(1)).await.expect("a pool");
    let mut ids = BTreeMap::new();
    for name in NAMES {
        let accepted = pool.submit(spec(name)).await.expect("it is accepted");
        let known = told.tasks.get(name).map_or(accepted.task_id, |fact| fact.id);
        assert_eq!(accepted.task_id, known, "{name} is there twice: {what}");
        ids.insert(name, accepted.task_id);
    }
    for id in ids.values() {
        let agents = pool.agent_reports().await.expect("they are known");
        for agent in agents.into_iter().map(|agent| agent.view) {
            // A process gets its next life by itself.
            if agent.reason.is_some() && agent.kind != AgentKind::Process {
                pool.recover(agent.id).await.expect("it works again");
            }
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
                match pool.complete(id, Some(view.attempt), success(9)).await {
                    Ok(status) => assert_eq!(status, TaskStatus::Completed, "{what}"),
                    // It is with a process, or was a moment ago.
                    Err(CallError::Refused(refusal)) if view.kind == TaskType::Ingest => {
                        let by_itself = matches!(
                            refusal,
                            Refusal::NotExternal | Refusal::AlreadyFinished { .. }
                        );
                        assert!(by_itself, "{refusal}: {what}");
                    }
                    Err(error) => panic!("{error}: {what}"),
                }
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
