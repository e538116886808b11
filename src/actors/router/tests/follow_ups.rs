//! What happens while a result is looked at. The reader of these tests knows nothing, and its
//! answers come when the test is over: they are given by hand.

use std::collections::BTreeMap;

use tokio::sync::oneshot::{self, Receiver};

use super::*;
use crate::actors::messages::{
    AgentFailed, CancelTask, CompleteTask, FollowUpsPlanned, KeyFound, SubmitKeyed, TaskEnded,
    TreeGone, Unreadable,
};
use crate::actors::router::follow_ups::Looks;
use crate::actors::router::outbox::Reply;
use crate::domain::{
    AgentStatus, Attempt, Exit, Failure, Fingerprint, FollowUpPlan, FollowUpRule, IdempotencyKey,
    Json, PIPE_CLOSED, PlannedTask, Priority, ProcessFacts, Refusal, Report, TaskId, TaskSpec,
    TaskStatus, TaskType, TraceId,
};

type Status = Result<TaskStatus, Refusal>;

fn rule() -> FollowUpRule {
    FollowUpRule {
        name: "migrate".into(),
        of: TaskType::Discovery,
        task_type: TaskType::Migration,
        items: "/components".into(),
        filter: BTreeMap::new(),
        id: "component_id".into(),
        order_by: "composite_score".into(),
        top: 20,
    }
}

fn payload() -> Json {
    serde_json::from_str("{}").expect("JSON")
}

fn key(id: &str) -> IdempotencyKey {
    let name = format!("follow_up:migrate:{id}").into();
    IdempotencyKey { name, content: Fingerprint([0; 32]) }
}

fn spec(kind: TaskType, key: Option<IdempotencyKey>) -> TaskSpec {
    TaskSpec {
        kind,
        payload: payload(),
        priority: Priority::default(),
        preferred: None,
        timeout_us: None,
        key,
        trace: TraceId::from_uuid(Uuid::nil()),
    }
}

/// A plan of one task.
fn plan(id: TaskId) -> Vec<FollowUpPlan> {
    let task = PlannedTask { id, key: key("a"), payload: payload(), known: None };
    vec![FollowUpPlan {
        rule: "migrate".into(),
        kind: TaskType::Migration,
        tasks: vec![task],
        invalid: 0,
    }]
}

fn success() -> Report {
    Report::Completed { result: None, usage: None }
}

fn fresh() -> TaskId {
    TaskId::from_uuid(Uuid::new_v4())
}

struct Stage<'a> {
    router: &'a mut Router,
    ctx: &'a mut Context<Router>,
    /// A discovery that is with an external agent.
    discovery: TaskId,
}

/// With two external agents, the first of which is at a discovery.
fn discovering(test: impl FnOnce(&mut Stage<'_>)) {
    actix::System::new().block_on(async {
        Router::create(|ctx| {
            let scheduler = Scheduler::new(Limits::default(), Gates::default());
            let pulse = Arc::new(Pulse::new(LEASE_US));
            let retention = Retention::new(u64::MAX, wall_us, Arc::new(Gauges::new(0)));
            let ledger = Ledger::here(Box::new(MemoryStore::new()), retention);
            let log = Logger::root(Discard, o!());
            let mut router = router(scheduler, Vec::new(), &pulse, ledger, log);
            router.looks = Looks::new(vec![rule()]);
            let mut stage = Stage { router: &mut router, ctx, discovery: fresh() };
            for _ in 0..2 {
                stage.add_agent();
            }
            let discovery = stage.discovery;
            stage.submit(discovery, spec(TaskType::Discovery, None));
            test(&mut stage);
            router
        });
    });
}

impl Stage<'_> {
    fn add_agent(&mut self) {
        let (id, kind) =
            (AgentId::from_uuid(Uuid::new_v4()), AgentKind::External { lease_us: None });
        self.router.turn(self.ctx, |scheduler, now, effects| {
            scheduler.add_agent(id, kind, TaskTypes::ALL, fresh_ids(), now, effects);
        });
    }

    fn submit(&mut self, id: TaskId, spec: TaskSpec) {
        let accepted = self
            .router
            .turn(self.ctx, |scheduler, now, effects| scheduler.submit(id, spec, now, effects));
        accepted.expect("it is accepted");
    }

    fn status(&self, id: TaskId) -> Option<TaskStatus> {
        self.router.scheduler.status_here(id)
    }

    /// Somebody completes a task; the answer may come later.
    fn complete(&mut self, id: TaskId) -> Receiver<Status> {
        let message = CompleteTask { id, attempt: None, report: success() };
        let (caller, answer) = oneshot::channel();
        match self.router.handle(message, self.ctx) {
            Reply::Now(now) => now.to(Some(caller)),
            Reply::Later(asked) => asked.set(Some(caller)),
        }
        answer
    }

    fn planned(&mut self, number: u64, planned: Result<Vec<FollowUpPlan>, Unreadable>) {
        self.router.handle(FollowUpsPlanned { number, planned }, self.ctx);
    }
}

#[test]
fn the_attempt_stays_open_until_the_result_was_looked_at() {
    discovering(|stage| {
        let (discovery, made) = (stage.discovery, fresh());
        let mut answer = stage.complete(discovery);
        assert!(answer.try_recv().is_err());
        assert_eq!(stage.status(discovery), Some(TaskStatus::InProgress));
        stage.planned(1, Err(Unreadable));
        assert_eq!(stage.status(discovery), Some(TaskStatus::InProgress), "it is asked again");
        stage.planned(1, Ok(plan(made)));
        assert_eq!(answer.try_recv(), Ok(Ok(TaskStatus::Completed)));
        assert_eq!(stage.status(discovery), None);
        assert_eq!(stage.status(made), Some(TaskStatus::InProgress));
    });
}

#[test]
fn what_no_rule_looks_at_is_answered_at_once() {
    discovering(|stage| {
        let (other, id) = (fresh(), fresh());
        stage.submit(other, spec(TaskType::Research, None));
        assert_eq!(stage.complete(other).try_recv(), Ok(Ok(TaskStatus::Completed)));
        assert_eq!(stage.complete(id).try_recv(), Ok(Err(Refusal::TaskNotFound)));
    });
}

#[test]
fn a_complete_that_is_repeated_meanwhile_makes_one_set() {
    discovering(|stage| {
        let (discovery, made, again) = (stage.discovery, fresh(), fresh());
        let (mut first, mut second) = (stage.complete(discovery), stage.complete(discovery));
        stage.planned(2, Ok(plan(again)));
        stage.planned(1, Ok(plan(made)));
        assert_eq!(second.try_recv(), Ok(Ok(TaskStatus::Completed)));
        assert_eq!(first.try_recv(), Ok(Err(Refusal::TaskNotFound)), "the store has it");
        assert_eq!((stage.status(made).is_some(), stage.status(again).is_some()), (false, true));
    });
}

#[test]
fn a_cancel_that_comes_meanwhile_wins() {
    discovering(|stage| {
        let (discovery, made) = (stage.discovery, fresh());
        let mut answer = stage.complete(discovery);
        let _answered = stage.router.handle(CancelTask(discovery), stage.ctx);
        stage.planned(1, Ok(plan(made)));
        let refused = Refusal::AlreadyFinished {
            status: TaskStatus::Cancelled,
            finished_by: Some(Attempt::NONE.next()),
        };
        assert_eq!(answer.try_recv(), Ok(Err(refused)));
        assert_eq!(stage.status(made), None);
        assert_eq!(stage.status(discovery), None, "its run is over with the answer");
    });
}

#[test]
fn what_was_read_of_a_key_counts_no_more_when_its_task_ends_meanwhile() {
    discovering(|stage| {
        let (discovery, made, owner) = (stage.discovery, fresh(), fresh());
        let _answer = stage.complete(discovery);
        stage.submit(owner, spec(TaskType::Migration, Some(key("a"))));
        assert_eq!(stage.complete(owner).try_recv(), Ok(Ok(TaskStatus::Completed)));
        // The store was read before that, and knew nothing.
        stage.planned(1, Ok(plan(made)));
        assert_eq!(stage.status(discovery), Some(TaskStatus::InProgress), "it is looked at again");
        let mut plans = plan(made);
        plans[0].tasks[0].known = Some(TaskStatus::Completed);
        stage.planned(1, Ok(plans));
        assert_eq!((stage.status(discovery), stage.status(made)), (None, None), "it is skipped");
    });
}

#[test]
fn a_submit_that_looks_the_same_key_up_comes_first() {
    discovering(|stage| {
        let (discovery, made, owner) = (stage.discovery, fresh(), fresh());
        let _answer = stage.complete(discovery);
        let (answer, mut accepted) = oneshot::channel();
        let spec = spec(TaskType::Research, Some(key("a")));
        stage.router.handle(SubmitKeyed { id: owner, spec, of: None, answer }, stage.ctx);
        stage.planned(1, Ok(plan(made)));
        assert_eq!(stage.status(discovery), Some(TaskStatus::InProgress), "it is looked at again");
        let found = KeyFound { name: key("a").name, found: Ok(None) };
        stage.router.handle(found, stage.ctx);
        assert!(accepted.try_recv().is_ok_and(|answer| answer.is_ok()));
        stage.planned(1, Ok(plan(made)));
        assert_eq!((stage.status(discovery), stage.status(made)), (None, None), "it is skipped");
        assert!(stage.status(owner).is_some());
    });
}

/// The ends of the tree and of the actor of a process come in this order, beside its result.
fn the_end_of_a_process_waits(order: [&str; 3]) {
    discovering(|stage| {
        let (id, incarnation) = (AgentId::from_uuid(Uuid::new_v4()), Incarnation::FIRST);
        let process = ProcessFacts {
            pid: 0,
            launcher_pid: 0,
            launcher_start_ticks: 0,
            workdir: String::new(),
            confinement: None,
        };
        stage.router.turn(stage.ctx, |s, now, effects| {
            s.add_agent(id, AgentKind::Process, TaskTypes::ALL, fresh_ids(), now, effects);
            s.agent_ready(id, incarnation, process, now, effects);
        });
        let (discovery, made) = (fresh(), fresh());
        let mut spec = spec(TaskType::Discovery, None);
        spec.preferred = Some(Ok(id));
        stage.submit(discovery, spec);
        let (attempt, report) = (Attempt::NONE.next(), success());
        let mut ended = Some(TaskEnded { id, incarnation, task_id: discovery, attempt, report });
        for what in order {
            match what {
                "tree" => {
                    let gone = TreeGone { id, incarnation, exit: Exit::Signal(9) };
                    stage.router.handle(gone, stage.ctx);
                }
                "actor" => {
                    let failure = Failure::new(PIPE_CLOSED, "");
                    let gone = AgentFailed { id, incarnation, failure, actor_gone: true };
                    stage.router.handle(gone, stage.ctx);
                }
                _ => stage.router.handle(ended.take().expect("once"), stage.ctx),
            }
        }
        assert_eq!(stage.status(discovery), Some(TaskStatus::InProgress), "it did not move");
        stage.planned(1, Ok(plan(made)));
        assert_eq!(stage.status(discovery), None, "it is completed");
        assert!(stage.status(made).is_some());
        let view = stage.router.scheduler.agent_view(id).expect("it is there");
        assert_eq!(view.status, AgentStatus::Degraded, "and then its agent was lost");
    });
}

#[test]
fn the_end_of_a_process_waits_for_the_result_that_came_before_it() {
    the_end_of_a_process_waits(["result", "tree", "actor"]);
    the_end_of_a_process_waits(["result", "actor", "tree"]);
    // The spawner is faster than a long line in a pipe.
    the_end_of_a_process_waits(["tree", "result", "actor"]);
}

#[test]
fn a_fact_of_a_life_that_is_over_is_dropped_with_its_plan() {
    discovering(|stage| {
        let (discovery, made) = (stage.discovery, fresh());
        let (id, attempt) = (AgentId::from_uuid(Uuid::new_v4()), Attempt::NONE.next());
        let incarnation = Incarnation::FIRST;
        let ended = TaskEnded { id, incarnation, task_id: discovery, attempt, report: success() };
        stage.router.handle(ended, stage.ctx);
        stage.planned(1, Ok(plan(made)));
        assert_eq!(stage.status(discovery), Some(TaskStatus::InProgress));
        assert_eq!(stage.status(made), None);
    });
}
