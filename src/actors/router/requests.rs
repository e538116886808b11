//! Requests: they are answered, or refused and then changed nothing.

use actix::{Addr, AsyncContext, Context, Handler, MessageResult};

use super::{Answer, Router, fresh_ids};
use crate::actors::messages::*;
use crate::actors::worker_agent::WorkerAgent;
use crate::domain::{
    Accepted, AgentKind, AgentView, ChildOf, Failing, Heartbeat, Refusal, TaskId, TaskSpec,
    TaskStatus, TaskSummary, TaskView,
};

impl Router {
    /// A submit, refused early while the disk is nearly full.
    pub(super) fn submit_task(
        &mut self,
        id: TaskId,
        spec: TaskSpec,
        of: Option<ChildOf>,
        ctx: &mut Context<Self>,
    ) -> Result<Accepted, Refusal> {
        self.look_at_the_disk();
        self.turn(ctx, |scheduler, now, effects| match of {
            Some(of) => scheduler.submit_child(id, spec, of, now, effects),
            None => scheduler.submit(id, spec, now, effects),
        })
    }

    /// Tells the scheduler whether the store has room for what is new.
    pub(super) fn look_at_the_disk(&mut self) {
        let full = self.gauges.is_full().then(|| self.gauges.min_free_mb());
        self.scheduler.set_store_full(full);
    }
}

impl Handler<SubmitTask> for Router {
    type Result = Answer<Result<Accepted, Refusal>>;

    fn handle(
        &mut self,
        SubmitTask { id, spec, of }: SubmitTask,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        let accepted = self.submit_task(id, spec, of, ctx);
        self.answer(accepted)
    }
}

impl Handler<GetTask> for Router {
    type Result = Answer<Result<TaskView, Refusal>>;

    fn handle(&mut self, GetTask(id): GetTask, _ctx: &mut Context<Self>) -> Self::Result {
        let found = self.scheduler.task(id, self.clock.now());
        self.answer(found)
    }
}

impl Handler<AwaitTaskEnd> for Router {
    type Result = ();

    fn handle(&mut self, AwaitTaskEnd { id, ended }: AwaitTaskEnd, _ctx: &mut Context<Self>) {
        if self.scheduler.is_live_task(id) && !self.waits_ended {
            self.waiters.await_task_end(id, ended);
        }
    }
}

impl Handler<Settle> for Router {
    type Result = Answer<()>;

    fn handle(&mut self, _: Settle, _ctx: &mut Context<Self>) -> Self::Result {
        self.answer(())
    }
}

impl Handler<GetSummaries> for Router {
    type Result = Answer<Vec<TaskSummary>>;

    fn handle(&mut self, GetSummaries(ids): GetSummaries, _: &mut Context<Self>) -> Self::Result {
        let found = self.scheduler.summaries(&ids, self.clock.now());
        self.answer(found)
    }
}

impl Handler<CancelTask> for Router {
    type Result = Answer<Result<TaskStatus, Refusal>>;

    fn handle(&mut self, CancelTask(id): CancelTask, ctx: &mut Context<Self>) -> Self::Result {
        self.answered_turn(ctx, |scheduler, now, effects| scheduler.cancel(id, now, effects))
    }
}

impl Handler<ListAgents> for Router {
    type Result = Answer<Vec<AgentView>>;

    fn handle(&mut self, _: ListAgents, _ctx: &mut Context<Self>) -> Self::Result {
        let found = self.scheduler.agent_views();
        self.answer(found)
    }
}

impl Handler<ListWorkers> for Router {
    type Result = Answer<Vec<(AgentView, Option<Addr<WorkerAgent>>)>>;

    fn handle(&mut self, _: ListWorkers, _ctx: &mut Context<Self>) -> Self::Result {
        let views = self.scheduler.agent_views().into_iter();
        let processes = views.filter(|view| view.kind == AgentKind::Process);
        let found = processes.map(|view| {
            let worker = self.worker(view.id, view.incarnation).cloned();
            (view, worker)
        });
        let found = found.collect();
        self.answer(found)
    }
}

impl Handler<GetAgent> for Router {
    type Result = Answer<Result<AgentView, Refusal>>;

    fn handle(&mut self, GetAgent(id): GetAgent, _ctx: &mut Context<Self>) -> Self::Result {
        let found = self.scheduler.agent_view(id);
        self.answer(found)
    }
}

impl Handler<FailAgent> for Router {
    type Result = Answer<Result<Failing, Refusal>>;

    fn handle(&mut self, message: FailAgent, ctx: &mut Context<Self>) -> Self::Result {
        let FailAgent { id, reason, failed_over } = message;
        let failing = self
            .turn(ctx, |scheduler, now, effects| scheduler.fail_agent(id, &reason, now, effects));
        if failing == Ok(Failing::Underway) {
            self.waiters.await_failed_over(id, failed_over);
        }
        self.answer(failing)
    }
}

impl Handler<GetStatus> for Router {
    type Result = Answer<Option<TaskStatus>>;

    fn handle(&mut self, GetStatus(id): GetStatus, _ctx: &mut Context<Self>) -> Self::Result {
        let found = self.scheduler.status_here(id);
        self.answer(found)
    }
}

impl Handler<RecoverAgent> for Router {
    type Result = Answer<Result<(), Refusal>>;

    fn handle(&mut self, RecoverAgent(id): RecoverAgent, ctx: &mut Context<Self>) -> Self::Result {
        self.answered_turn(ctx, |scheduler, now, effects| {
            scheduler.recover_agent(id, fresh_ids(), now, effects)
        })
    }
}

impl Handler<AwaitSettled> for Router {
    type Result = Answer<()>;

    fn handle(
        &mut self,
        AwaitSettled { ids, settled }: AwaitSettled,
        _ctx: &mut Context<Self>,
    ) -> Self::Result {
        let unsettled = |view: AgentView| view.reason.is_some_and(|(why, _)| !why.is_settled());
        let waits = |id: &_| self.scheduler.agent_view(*id).is_ok_and(unsettled);
        let ids = ids.into_iter().filter(waits).collect();
        self.waiters.await_settled(ids, settled);
        self.answer(())
    }
}

impl Handler<AwaitRemoved> for Router {
    type Result = Answer<Result<Option<TaskId>, Refusal>>;

    fn handle(&mut self, message: AwaitRemoved, _ctx: &mut Context<Self>) -> Self::Result {
        let AwaitRemoved { id, removed } = message;
        let view = self.scheduler.agent_view(id);
        if view.is_ok() {
            self.waiters.await_removed(id, removed);
        }
        self.answer(view.map(|view| view.run.map(|(task_id, _)| task_id)))
    }
}

impl Handler<AwaitPoolClosed> for Router {
    type Result = ();

    fn handle(&mut self, AwaitPoolClosed(closed): AwaitPoolClosed, _ctx: &mut Context<Self>) {
        self.waiters.await_pool_closed(closed);
    }
}

impl Handler<BeatHeart> for Router {
    type Result = Answer<Result<Heartbeat, Refusal>>;

    fn handle(&mut self, message: BeatHeart, ctx: &mut Context<Self>) -> Self::Result {
        let BeatHeart { id, incarnation } = message;
        self.answered_turn(ctx, |scheduler, now, effects| {
            scheduler.heartbeat(id, incarnation, fresh_ids(), now, effects)
        })
    }
}

impl Handler<FetchAssignment> for Router {
    type Result = Answer<Result<Fetched, Refusal>>;

    fn handle(&mut self, message: FetchAssignment, ctx: &mut Context<Self>) -> Self::Result {
        let FetchAssignment { id, incarnation, wait } = message;
        let fetched = self.turn(ctx, |scheduler, now, effects| {
            scheduler.fetch(id, incarnation, fresh_ids(), now, effects)
        });
        let fetched = fetched.map(|(incarnation, assignment)| {
            let waits = assignment.is_none() && wait && !self.waits_ended;
            let news = waits.then(|| {
                let woken = self.waiters.open_poll(id);
                self.scheduler.call_opened(id, self.clock.now());
                PollTicket { agent: id, woken, router: ctx.address().recipient() }
            });
            Fetched { incarnation, assignment, news }
        });
        self.answer(fetched)
    }
}

impl Handler<GetMetrics> for Router {
    type Result = MessageResult<GetMetrics>;

    fn handle(&mut self, _: GetMetrics, _ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(self.scheduler.metrics(self.clock.now()))
    }
}

impl Handler<IsDraining> for Router {
    type Result = bool;

    fn handle(&mut self, _: IsDraining, _ctx: &mut Context<Self>) -> bool {
        self.scheduler.is_draining()
    }
}

impl Handler<GetWorker> for Router {
    type Result = Option<Addr<WorkerAgent>>;

    fn handle(&mut self, GetWorker(id): GetWorker, _ctx: &mut Context<Self>) -> Self::Result {
        self.workers.get(&id).map(|(_, worker)| worker.clone())
    }
}

impl Handler<DrainDaemon> for Router {
    type Result = ();

    fn handle(&mut self, DrainDaemon { drained }: DrainDaemon, ctx: &mut Context<Self>) {
        self.waiters.await_drained(drained);
        self.turn(ctx, |scheduler, _now, effects| scheduler.drain(effects));
    }
}

impl Handler<EndWaits> for Router {
    type Result = ();

    fn handle(&mut self, _: EndWaits, _ctx: &mut Context<Self>) {
        self.waits_ended = true;
        self.waiters.end_waits();
        self.scheduler.stop_listening();
    }
}

impl Handler<StopProcesses> for Router {
    type Result = ();

    fn handle(&mut self, message: StopProcesses, ctx: &mut Context<Self>) {
        let StopProcesses { at_once, stopped } = message;
        self.waiters.await_stopped(stopped);
        self.turn(ctx, |scheduler, now, effects| {
            if at_once {
                scheduler.kill_processes(now, effects);
            } else {
                scheduler.stop_processes(now, effects);
            }
        });
    }
}
