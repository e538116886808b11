//! Completions that rules look at (`[[follow_up]]`).
//!
//! To read a result, and to find out who has the keys of its items, takes too long for a turn, so a
//! reader of the store does it; until its answer is here the attempt stays open. Then one turn
//! completes the task and makes what comes of it. What ends the attempt meanwhile wins: the
//! completion is refused or dropped as if it came only now. But the end of a process waits for the
//! result that it said before.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::dev::OneshotSender;
use actix::{AsyncContext, Context, Handler};

use super::outbox::Reply;
use super::{Answer, Router, jitter};
use crate::actors::messages::{
    AgentFailed, CompleteTask, FollowUpsPlanned, PlanFollowUps, Planning, TaskEnded, TreeGone,
};
use crate::domain::{
    AgentId, Change, FollowUpPlan, FollowUpRule, Incarnation, Jitter, Refusal, Report, TaskId,
    TaskStatus,
};

/// How soon a store that could not be read is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Who waits for the answer to a `complete`.
type Caller = Rc<Cell<Option<OneshotSender<Result<TaskStatus, Refusal>>>>>;

/// The results that are being looked at.
#[derive(Debug)]
pub(super) struct Looks {
    rules: Arc<[FollowUpRule]>,
    under_way: HashMap<u64, Look>,
    last: u64,
}

#[derive(Debug)]
struct Look {
    planning: Planning,
    completion: Completion,
    /// The keys of tasks that ended since the store was asked: what it says of them may be old.
    ended: HashSet<Arc<str>>,
    /// The end of the process that said it, and of its actor, in their order.
    held: Vec<End>,
}

/// What ends a life when both have come.
#[derive(Debug)]
enum End {
    Actor(AgentFailed),
    Tree(TreeGone),
}

/// What waits for a look.
enum Completion {
    OfProcess(TaskEnded),
    FromOutside(CompleteTask, Caller),
}

impl Completion {
    const fn task_id(&self) -> TaskId {
        match self {
            Self::OfProcess(message) => message.task_id,
            Self::FromOutside(message, _) => message.id,
        }
    }
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OfProcess(message) => message.fmt(f),
            Self::FromOutside(message, _) => message.fmt(f),
        }
    }
}

impl Looks {
    pub(super) fn new(rules: Vec<FollowUpRule>) -> Self {
        Self { rules: rules.into(), under_way: HashMap::new(), last: 0 }
    }

    /// Keeps the end of a process while its result is looked at; else gives it back.
    pub(super) fn hold_tree(&mut self, gone: TreeGone) -> Option<TreeGone> {
        let Some(look) = self.of_life(gone.id, gone.incarnation) else { return Some(gone) };
        look.held.push(End::Tree(gone));
        None
    }

    /// The same with the end of its actor: the end of the process may have overtaken the result.
    pub(super) fn hold_actor(&mut self, failed: AgentFailed) -> Option<AgentFailed> {
        if !failed.actor_gone {
            return Some(failed);
        }
        let Some(look) = self.of_life(failed.id, failed.incarnation) else { return Some(failed) };
        look.held.push(End::Actor(failed));
        None
    }

    /// The look at what this life said last.
    fn of_life(&mut self, id: AgentId, incarnation: Incarnation) -> Option<&mut Look> {
        self.under_way.values_mut().find(|look| match &look.completion {
            Completion::OfProcess(ended) => (ended.id, ended.incarnation) == (id, incarnation),
            Completion::FromOutside(..) => false,
        })
    }

    /// These changes are handed over.
    pub(super) fn note(&mut self, changes: &[Change]) {
        if self.under_way.is_empty() {
            return;
        }
        for change in changes {
            if let Change::Task { task, .. } = change
                && let Some(key) = task.spec.key.as_ref().filter(|_| task.status().is_terminal())
            {
                for look in self.under_way.values_mut() {
                    look.ended.insert(Arc::clone(&key.name));
                }
            }
        }
    }
}

impl Router {
    /// What is to be planned before this report is taken in, if rules look at what it says.
    fn planning_for(&self, task_id: TaskId, report: &Report) -> Option<Planning> {
        let rules = &self.looks.rules;
        if rules.is_empty() {
            return None;
        }
        let Report::Completed { result, .. } = report else { return None };
        let (of, priority) = self.scheduler.may_be_followed(task_id)?;
        let is_looked_at = rules.iter().any(|rule| rule.of == of);
        let (rules, result) = (Arc::clone(rules), result.clone());
        is_looked_at.then_some(Planning { rules, of, priority, result })
    }

    fn look(&mut self, planning: Planning, completion: Completion, ctx: &Context<Self>) {
        self.looks.last += 1;
        let look = Look { planning, completion, ended: HashSet::new(), held: Vec::new() };
        self.looks.under_way.insert(self.looks.last, look);
        self.ask_for_plans(self.looks.last, ctx);
    }

    fn ask_for_plans(&mut self, number: u64, ctx: &Context<Self>) {
        let Some(look) = self.looks.under_way.get_mut(&number) else { return };
        look.ended.clear();
        let (planning, router) = (look.planning.clone(), ctx.address().recipient());
        let history = self.history.clone();
        self.send(move || history.do_send(PlanFollowUps { number, planning, router }));
    }

    /// Whether somebody else may have got or left a key of these plans since the store was asked.
    fn is_old(&self, look: &Look, plans: &[FollowUpPlan]) -> bool {
        let mut keys = plans.iter().flat_map(|plan| &plan.tasks).map(|planned| &planned.key.name);
        keys.any(|name| look.ended.contains(name) || self.keys.contains_key(name))
    }

    /// Takes in what the look was about, and what waited for it.
    fn conclude(&mut self, number: u64, plans: Vec<FollowUpPlan>, ctx: &mut Context<Self>) {
        let Some(look) = self.looks.under_way.remove(&number) else { return };
        match look.completion {
            Completion::OfProcess(message) => self.task_ended(message, plans, ctx),
            Completion::FromOutside(message, caller) => {
                self.complete(message, plans, ctx).to(caller.take());
            }
        }
        for end in look.held {
            match end {
                End::Actor(failed) => self.handle(failed, ctx),
                End::Tree(gone) => self.handle(gone, ctx),
            }
        }
    }

    fn task_ended(
        &mut self,
        message: TaskEnded,
        plans: Vec<FollowUpPlan>,
        ctx: &mut Context<Self>,
    ) {
        let TaskEnded { id, incarnation, task_id, attempt, report } = message;
        let jitter = jitter_for(&report);
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.task_ended_with(
                id,
                incarnation,
                task_id,
                attempt,
                report,
                plans,
                now,
                jitter,
                effects,
            );
        });
    }

    fn complete(
        &mut self,
        message: CompleteTask,
        plans: Vec<FollowUpPlan>,
        ctx: &mut Context<Self>,
    ) -> Answer<Result<TaskStatus, Refusal>> {
        let CompleteTask { id, attempt, report } = message;
        let jitter = jitter_for(&report);
        self.answered_turn(ctx, |scheduler, now, effects| {
            scheduler.complete_with(id, attempt, report, plans, now, jitter, effects)
        })
    }
}

impl Handler<TaskEnded> for Router {
    type Result = ();

    fn handle(&mut self, message: TaskEnded, ctx: &mut Context<Self>) {
        match self.planning_for(message.task_id, &message.report) {
            Some(planning) => self.look(planning, Completion::OfProcess(message), ctx),
            None => self.task_ended(message, Vec::new(), ctx),
        }
    }
}

impl Handler<CompleteTask> for Router {
    type Result = Reply<Result<TaskStatus, Refusal>>;

    fn handle(&mut self, message: CompleteTask, ctx: &mut Context<Self>) -> Self::Result {
        match self.planning_for(message.id, &message.report) {
            Some(planning) => {
                let caller = Caller::default();
                let completion = Completion::FromOutside(message, Rc::clone(&caller));
                self.look(planning, completion, ctx);
                Reply::Later(caller)
            }
            None => Reply::Now(self.complete(message, Vec::new(), ctx)),
        }
    }
}

impl Handler<FollowUpsPlanned> for Router {
    type Result = ();

    fn handle(&mut self, message: FollowUpsPlanned, ctx: &mut Context<Self>) {
        let FollowUpsPlanned { number, planned } = message;
        let Some(look) = self.looks.under_way.get(&number) else { return };
        match planned {
            // Something else has ended the attempt: what comes of the result is dropped.
            Err(_unreadable)
                if self.scheduler.may_be_followed(look.completion.task_id()).is_none() =>
            {
                self.conclude(number, Vec::new(), ctx);
            }
            Err(_unreadable) => {
                ctx.run_later(ASK_AGAIN, move |router, ctx| router.ask_for_plans(number, ctx));
            }
            Ok(plans) if self.is_old(look, &plans) => self.ask_for_plans(number, ctx),
            Ok(plans) => self.conclude(number, plans, ctx),
        }
    }
}

/// Random bits only for what uses them.
fn jitter_for(report: &Report) -> Jitter {
    match report {
        Report::Failed { .. } => jitter(),
        Report::Completed { .. } | Report::Cancelled { .. } => Jitter::FULL,
    }
}
