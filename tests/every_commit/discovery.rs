//! A discovery whose findings become work.

use std::collections::BTreeMap;
use std::time::Duration;

use daedalus::domain::{
    Fingerprint, FollowUpRule, FollowUps, IdempotencyKey, ListQuery, Priority, Report, TaskId,
    TaskSpec, TaskStatus, TaskSummary, TaskType, TraceId,
};
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use super::pool::{PATIENCE, Pool};
use super::script::NO_WAIT;

const FOLLOW_UPS: usize = 3;

pub(crate) fn rule() -> FollowUpRule {
    FollowUpRule {
        name: "migrate".into(),
        of: TaskType::Discovery,
        task_type: TaskType::Migration,
        items: "/components".into(),
        filter: BTreeMap::new(),
        id: "component_id".into(),
        order_by: "composite_score".into(),
        top: FOLLOW_UPS,
    }
}

fn found() -> Report {
    let item = |number: i32| json!({ "component_id": number, "composite_score": number });
    let items: Vec<_> = (0..5).map(item).chain([json!(null)]).collect();
    let result = json!({ "components": items }).to_string();
    Report::Completed { result: serde_json::from_str(&result).expect("JSON"), usage: None }
}

/// Has one discovery made and completed, and all that comes of it, from wherever it stands.
pub(crate) async fn play(pool: &Pool) {
    let pool = &pool.handle;
    pool.initialize(Some(2)).await.expect("a pool");
    let spec = TaskSpec {
        kind: TaskType::Discovery,
        payload: serde_json::from_str("{}").expect("JSON"),
        priority: Priority::default(),
        preferred: None,
        timeout_us: None,
        key: Some(IdempotencyKey { name: "the one".into(), content: Fingerprint([7; 32]) }),
        trace: TraceId::from_uuid(Uuid::nil()),
    };
    let discovery = pool.submit(spec).await.expect("it is accepted").task_id;
    let all_end = async {
        loop {
            let tasks = pool.tasks(all()).await.expect("a list").tasks;
            let open = tasks.iter().filter(|task| !task.status.is_terminal());
            let open: Vec<TaskId> = open.map(|task| task.id).collect();
            if open.is_empty() {
                return;
            }
            for id in open {
                let report = if id == discovery { found() } else { nothing() };
                // One that waits is with nobody yet.
                let _refused = pool.complete(id, None, report).await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, all_end).await.expect("all tasks end");
}

fn nothing() -> Report {
    Report::Completed { result: None, usage: None }
}

fn all() -> ListQuery {
    ListQuery { status: None, kind: None, limit: 100, before: None }
}

/// The discovery, if it is there, and what came of it.
async fn tasks(pool: &Pool) -> (Option<TaskSummary>, Vec<TaskSummary>) {
    let tasks = pool.handle.tasks(all()).await.expect("a list").tasks;
    let (mut discovery, follow_ups): (Vec<_>, Vec<_>) =
        tasks.into_iter().partition(|task| task.kind == TaskType::Discovery);
    (discovery.pop(), follow_ups)
}

/// Right after a start.
pub(crate) async fn is_whole(pool: &Pool, what: &str) {
    let (discovery, follow_ups) = tasks(pool).await;
    let completed = discovery.is_some_and(|task| task.status == TaskStatus::Completed);
    let expected = if completed { FOLLOW_UPS } else { 0 };
    assert_eq!(follow_ups.len(), expected, "{what}: {follow_ups:?}");
}

/// At the end of everything.
pub(crate) async fn is_done(pool: &Pool, what: &str) {
    let (discovery, follow_ups) = tasks(pool).await;
    let id = discovery.expect("it is there").id;
    let view = pool.handle.task(id, NO_WAIT).await.expect("it is there");
    let expected = FollowUps { created: FOLLOW_UPS as u64, skipped: 0, invalid: 1 };
    assert_eq!(view.follow_ups, Some(expected), "{what}");
    assert!(follow_ups.iter().all(|task| task.parent == Some(id)), "{what}");
    let mut found = Vec::new();
    for task in &follow_ups {
        assert_eq!(task.status, TaskStatus::Completed, "{what}");
        let view = pool.handle.task(task.id, NO_WAIT).await.expect("it is there");
        found.push(view.payload.as_str().to_owned());
    }
    found.sort_unstable();
    let item = |number: i32| json!({ "component_id": number, "composite_score": number });
    let best: Vec<_> = (2..5).map(|number| item(number).to_string()).collect();
    assert_eq!(found, best, "{what}");
}
