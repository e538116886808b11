//! Recurring jobs: what the scheduler cannot make by itself for a run, and the orders about them.

use actix::{Context, Handler};
use uuid::Uuid;

use super::{Answer, Router, jitter};
use crate::actors::messages::{ListSchedules, PauseSchedule, ResumeSchedule, RunSchedule};
use crate::domain::{Accepted, Refusal, ScheduleView, TaskId, TraceId};

impl Router {
    /// Has each job run that is due.
    pub(super) fn run_schedules(&mut self, ctx: &mut Context<Self>) {
        while let Some(index) = self.scheduler.due_schedule(self.clock.now()) {
            self.look_at_the_disk();
            let id = TaskId::from_uuid(Uuid::now_v7());
            let trace = TraceId::from_uuid(Uuid::new_v4());
            self.turn(ctx, |scheduler, now, effects| {
                scheduler.run_schedule(index, id, trace, jitter(), now, effects);
            });
        }
    }
}

impl Handler<ListSchedules> for Router {
    type Result = Answer<Vec<ScheduleView>>;

    fn handle(&mut self, _: ListSchedules, _ctx: &mut Context<Self>) -> Self::Result {
        let found = self.scheduler.schedule_views(self.clock.now());
        self.answer(found)
    }
}

impl Handler<RunSchedule> for Router {
    type Result = Answer<Result<Accepted, Refusal>>;

    fn handle(&mut self, message: RunSchedule, ctx: &mut Context<Self>) -> Self::Result {
        let RunSchedule { name, id, trace } = message;
        self.look_at_the_disk();
        self.answered_turn(ctx, |scheduler, now, effects| {
            scheduler.order_run(&name, id, trace, now, effects)
        })
    }
}

impl Handler<PauseSchedule> for Router {
    type Result = Answer<Result<ScheduleView, Refusal>>;

    fn handle(
        &mut self,
        PauseSchedule(name): PauseSchedule,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        self.answered_turn(ctx, |scheduler, now, effects| {
            scheduler.pause_schedule(&name, now, effects)
        })
    }
}

impl Handler<ResumeSchedule> for Router {
    type Result = Answer<Result<ScheduleView, Refusal>>;

    fn handle(
        &mut self,
        ResumeSchedule(name): ResumeSchedule,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        self.answered_turn(ctx, |scheduler, now, effects| {
            scheduler.resume_schedule(&name, jitter(), now, effects)
        })
    }
}
