//! The checker finds what was planted: a good history, with one lie each.

use serde_json::{Value, json};

use super::checker::violations;
use super::history::{
    AgentSight, Completed, History, Moved, Pool, Run, Said, Shows, Sight, Span, Submit, Walk,
};

const fn span(begin: u64, end: u64) -> Span {
    Span { begin, end }
}

fn payload(token: &str) -> Value {
    json!({"token": token, "text": "\u{e9}"})
}

fn submit(at: u64, token: &str, said: Said) -> Submit {
    let token = token.to_owned();
    Submit { span: span(at, at + 5), payload: payload(&token), token, has_key: true, said }
}

fn accepted(at: u64, token: &str, task: &str) -> Submit {
    submit(at, token, Said::Accepted(task.to_owned()))
}

/// A task as it is shown while its first attempt runs.
fn running(task: &str, token: &str) -> Value {
    json!({
        "task_id": task, "status": "in_progress", "payload": payload(token), "created_at": 1.5,
        "attempt_count": 1, "failures": 0, "result": null, "error": null, "completed_at": null,
        "attempts": [{"attempt": 1, "agent_id": "anna", "incarnation": 3, "assigned_at": 1.75,
            "started_at": null, "ended_at": null, "outcome": null}],
    })
}

/// The same task as it is shown when it is done.
fn done(task: &str, token: &str) -> Value {
    let mut shown = running(task, token);
    shown["status"] = "completed".into();
    shown["result"] = json!({"token": token, "attempt": 1, "pid": 77});
    shown["completed_at"] = 2.5.into();
    shown["attempts"][0]["outcome"] = "completed".into();
    shown["attempts"][0]["ended_at"] = 2.5.into();
    shown
}

fn read(at: u64, task: &Value) -> Sight {
    Sight::of(span(at, at + 5), Shows::Whole, task)
}

fn run(task: &str, token: &str) -> Run {
    Run {
        task: task.to_owned(),
        token: token.to_owned(),
        attempt: 1,
        agent: "anna".to_owned(),
        incarnation: 3,
        pid: 77,
        start: 1_000,
        end: Some(2_000),
        alive: Vec::new(),
        alone: true,
    }
}

fn walk(at: u64, ids: &[&str], whole: bool) -> Walk {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    Walk { span: span(at, at + 5), status: None, ids, whole }
}

fn agent(at: u64, incarnation: u64, context: &str) -> AgentSight {
    let (agent, context) = ("anna".to_owned(), context.to_owned());
    AgentSight { span: span(at, at + 5), agent, incarnation, context }
}

/// Two tasks, submitted one after the other; both run and are completed.
fn good() -> History {
    History {
        submits: vec![
            submit(0, "a", Said::Unknown),
            accepted(10, "a", "t1"),
            accepted(20, "b", "t2"),
            submit(25, "c", Said::Refused),
        ],
        completed: vec![Completed { task: "t1".to_owned(), attempt: 1 }],
        sights: vec![
            read(30, &running("t1", "a")),
            read(50, &done("t1", "a")),
            read(100, &done("t1", "a")),
            read(110, &done("t2", "b")),
        ],
        walks: vec![walk(40, &["t2"], false), walk(60, &["t2", "t1"], true)],
        agents: vec![agent(20, 3, "x"), agent(40, 3, "x"), agent(60, 4, "y")],
        runs: vec![run("t1", "a"), run("t2", "b")],
        drained: 100,
        ..History::default()
    }
}

/// The good history with one change has exactly the violations that begin or end like this.
#[track_caller]
fn finds(wanted: &str, change: impl FnOnce(&mut History)) {
    let mut history = good();
    change(&mut history);
    let found = violations(&history);
    assert!(found.iter().any(|one| one.contains(wanted)), "{wanted}: {found:#?}");
}

#[test]
fn a_good_history_has_none() {
    assert_eq!(violations(&good()), Vec::<String>::new());
}

#[test]
fn answers_that_overlap_in_time_may_come_in_any_order() {
    let mut history = good();
    history.sights[0].span = span(30, 70);
    assert_eq!(violations(&history), Vec::<String>::new());
}

#[test]
fn a_lost_task_is_found() {
    finds("lost: t2", |history| {
        history.sights.pop();
    });
    finds("it was gone", |history| history.sights.push(Sight::nothing(span(70, 75), "t1")));
    finds("lost: t9", |history| history.walks.push(walk(70, &["t9"], false)));
}

#[test]
fn a_task_that_does_not_end_is_found() {
    finds("stuck: t2", |history| history.sights[3] = read(110, &running("t2", "b")));
}

#[test]
fn a_changed_payload_is_found() {
    finds("payload of t2", |history| {
        let mut changed = done("t2", "b");
        changed["payload"]["text"] = "e".into();
        history.sights[3] = read(110, &changed);
    });
    finds("payload\") was", |history| {
        let mut changed = running("t1", "a");
        changed["payload"]["text"] = "e".into();
        history.sights[0] = read(30, &changed);
    });
}

#[test]
fn a_key_with_two_tasks_is_found() {
    finds("a: 1 tasks at most", |history| {
        history.submits.push(accepted(35, "a", "t3"));
        history.sights.push(read(120, &done("t3", "a")));
    });
    finds("nobody submitted t3", |history| {
        history.walks.push(walk(70, &["t3"], false));
        history.sights.push(read(120, &done("t3", "z")));
    });
    finds("was accepted as t2, which is not", |history| {
        history.submits.push(accepted(35, "a", "t2"));
    });
}

#[test]
fn a_refused_task_that_is_there_is_found() {
    finds("c: 0 tasks at most", |history| {
        history.walks.push(walk(70, &["t3"], false));
        history.sights.push(read(120, &done("t3", "c")));
    });
}

#[test]
fn two_accepted_results_are_found() {
    let again = |attempt| Completed { task: "t1".to_owned(), attempt };
    finds("results of attempts 1 and 1", |history| history.completed.push(again(1)));
    finds("results of attempts 1 and 2", |history| history.completed.push(again(2)));
    finds("attempt 2 completed it", |history| history.completed[0] = again(2));
}

#[test]
fn an_end_that_changes_is_found() {
    finds("(0, \"result\") was", |history| {
        let mut other = done("t1", "a");
        other["result"]["pid"] = 78.into();
        history.sights[1] = read(50, &other);
    });
    finds("had ended as \"completed\" and was in_progress", |history| {
        history.sights.push(read(70, &running("t1", "a")));
    });
    finds("(0, \"ended_as\") was", |history| {
        history.sights.push(Sight::word(span(70, 75), "t1", Some("cancelled")));
    });
}

#[test]
fn an_attempt_that_goes_back_or_is_used_twice_is_found() {
    finds("back to (1, 0)", |history| {
        let before = Sight::word(span(20, 22), "t1", None).with_attempt(2);
        history.sights.push(before);
    });
    finds("(1, \"agent_id\") was", |history| {
        history.sights.push(
            Sight::word(span(20, 22), "t1", None).and(1, "agent_id", "bert".into()).and(
                1,
                "incarnation",
                3.into(),
            ),
        );
    });
    finds("was over and ran again", |history| {
        let mut waiting = running("t1", "a");
        waiting["status"] = "pending".into();
        history.sights.push(read(20, &waiting));
    });
    finds("(1, \"assigned_at\") was 1.75 and is forgotten", |history| {
        let mut forgetful = done("t1", "a");
        let attempt = forgetful["attempts"][0].as_object_mut().expect("an object");
        attempt.remove("assigned_at");
        history.sights[1] = read(50, &forgetful);
    });
}

#[test]
fn a_failure_that_is_forgotten_is_found() {
    finds("(1, 1) back to (1, 0)", |history| {
        let mut failed = running("t1", "a");
        failed["failures"] = 1.into();
        history.sights.push(read(20, &failed));
    });
}

#[test]
fn a_list_that_lacks_a_task_is_found() {
    finds("lacks t1", |history| history.walks[1] = walk(60, &["t2"], true));
    finds("lacks t2", |history| history.walks[0] = walk(40, &["t1"], false));
    finds("names a task twice", |history| {
        history.walks[1] = walk(60, &["t2", "t1", "t2"], true);
    });
    finds("has t2 too late", |history| history.walks[1] = walk(60, &["t1", "t2"], true));
    finds("lacks t1", |history| {
        let status = Some("completed".to_owned());
        history.walks.push(Walk { status, ..walk(70, &["t2"], true) });
    });
}

#[test]
fn runs_that_overlap_are_found() {
    let second = |start| Run { attempt: 2, start, ..run("t1", "a") };
    finds("two runs at a time", |history| history.runs.push(second(1_500)));
    finds("attempt 2 ran after", |history| {
        history.runs.push(second(2_500));
        history.runs.push(second(3_500));
    });
    finds("process was alive", |history| history.runs[0].alive.push(5));
}

#[test]
fn a_run_that_nobody_knows_of_is_found() {
    finds("nothing is known of", |history| history.runs.push(Run { attempt: 2, ..run("t1", "a") }));
    finds("nothing is known of", |history| history.runs[1].incarnation = 4);
    finds("t7 ran and is not there", |history| history.runs.push(run("t7", "a")));
    finds("another payload was run", |history| history.runs[1].token = "a".to_owned());
}

#[test]
fn a_result_that_is_no_runs_is_found() {
    finds("t2: no run has its result", |history| history.runs[1].pid = 78);
    finds("t2: no run has its result", |history| history.runs[1].end = None);
}

#[test]
fn a_log_that_says_something_else_is_found() {
    let line = |msg: &str, task: &str, attempt: u64| {
        json!({"msg": msg, "task_id": task, "attempt": attempt, "agent_id": "anna",
            "incarnation": 3})
    };
    let mut history = good();
    history.heard(&line("task_assigned", "t1", 1));
    history.heard(&line("task_completed", "t1", 1));
    assert_eq!(violations(&history), Vec::<String>::new());
    finds("lost: t9", |history| history.heard(&line("task_submitted", "t9", 0)));
    finds("(0, \"ended_as\") was", |history| history.heard(&line("task_failed", "t1", 1)));
    finds("(0, \"finished_by\") was", |history| history.heard(&line("task_completed", "t1", 2)));
    finds("(1, \"agent_id\") was", |history| {
        let mut other = line("task_assigned", "t1", 1);
        other["agent_id"] = "bert".into();
        history.heard(&other);
    });
    finds("attempt 2 is not there", |history| history.heard(&line("task_assigned", "t1", 2)));
}

#[test]
fn an_agent_that_is_lost_or_comes_back_is_found() {
    let pool = |at, agents: &[&str]| {
        let agents = agents.iter().map(|agent| (*agent).to_owned()).collect();
        Pool { span: span(at, at + 5), agents }
    };
    let moved = |at| Moved { span: span(at, at + 5), agent: "bert".to_owned() };
    let mut history = good();
    history.spawned.push(moved(10));
    history.pools = vec![pool(20, &["bert"]), pool(32, &["bert"]), pool(32, &[]), pool(40, &[])];
    history.removed.push(moved(30));
    assert_eq!(violations(&history), Vec::<String>::new());
    finds("bert was added and is not there", |history| {
        history.spawned.push(moved(10));
        history.pools.push(pool(20, &["anna"]));
    });
    finds("bert was removed and is there again", |history| {
        history.removed.push(moved(10));
        history.pools.push(pool(20, &["bert"]));
    });
}

#[test]
fn lives_of_agents_that_go_back_or_share_a_context_are_found() {
    finds("went from life 4 back to 3", |history| history.agents.push(agent(80, 3, "x")));
    finds("context of its own no more", |history| history.agents.push(agent(80, 5, "x")));
    finds("context of its own no more", |history| history.agents.push(agent(80, 4, "z")));
}
