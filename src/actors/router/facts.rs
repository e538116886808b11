//! Facts: what happened. They are never refused; the scheduler drops what is over.
//!
//! When the daemon crashes it kills its own agents. Their ends say nothing about them, so nobody is
//! told: their attempts stay open, and the next start finds them as after a kill.

use actix::{Context, Handler};

use super::Router;
use crate::actors::messages::*;
use crate::domain::{Effect, Event};

impl Handler<SupervisorStarted> for Router {
    type Result = ();

    fn handle(&mut self, SupervisorStarted(supervisor): SupervisorStarted, _: &mut Context<Self>) {
        self.supervisor = Some(supervisor);
    }
}

impl Handler<AgentAdded> for Router {
    type Result = ();

    fn handle(&mut self, message: AgentAdded, ctx: &mut Context<Self>) {
        let AgentAdded { id, kind, types, ids, target } = message;
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.set_target(target);
            scheduler.add_agent(id, kind, types, ids, now, effects);
        });
    }
}

impl Handler<PoolInitialized> for Router {
    type Result = ();

    fn handle(&mut self, message: PoolInitialized, ctx: &mut Context<Self>) {
        let PoolInitialized { target, pool_size, spawned } = message;
        let event = Event::PoolInitialized { target, pool_size, spawned };
        self.turn(ctx, |_scheduler, _now, effects| effects.push(Effect::Event(event)));
    }
}

impl Handler<LifeBegun> for Router {
    type Result = ();

    fn handle(&mut self, LifeBegun { id, incarnation, ids }: LifeBegun, ctx: &mut Context<Self>) {
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.begin_life(id, incarnation, ids, now, effects);
        });
    }
}

impl Handler<WorkerStarted> for Router {
    type Result = ();

    fn handle(&mut self, message: WorkerStarted, _ctx: &mut Context<Self>) {
        let WorkerStarted { id, incarnation, worker } = message;
        if self.scheduler.is_doomed(id, incarnation) {
            worker.do_send(KillWorker);
        }
        self.workers.insert(id, (incarnation, worker.clone()));
        // Not before this life is on disk: after a crash the next daemon would have another of the
        // same number.
        self.outbox.send(move || worker.do_send(Launch));
    }
}

impl Handler<AgentGivenUp> for Router {
    type Result = ();

    fn handle(
        &mut self,
        AgentGivenUp { id, reason, detail }: AgentGivenUp,
        ctx: &mut Context<Self>,
    ) {
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.give_up_agent(id, reason, detail, now, effects);
        });
    }
}

impl Handler<AgentDismissed> for Router {
    type Result = ();

    fn handle(&mut self, message: AgentDismissed, ctx: &mut Context<Self>) {
        let AgentDismissed { id, drain_us, target } = message;
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.set_target(target);
            // One that is gone already is what was wanted.
            let _gone_already = scheduler.remove_agent(id, drain_us, now, effects);
        });
    }
}

impl Handler<PoolDismissed> for Router {
    type Result = ();

    fn handle(&mut self, message: PoolDismissed, ctx: &mut Context<Self>) {
        let PoolDismissed { drain_us, discard } = message;
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.set_target(0);
            scheduler.close_pool(drain_us, discard, now, effects);
        });
    }
}

impl Handler<AgentReady> for Router {
    type Result = ();

    fn handle(
        &mut self,
        AgentReady { id, incarnation, process }: AgentReady,
        ctx: &mut Context<Self>,
    ) {
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.agent_ready(id, incarnation, process, now, effects);
        });
    }
}

impl Handler<TaskStarted> for Router {
    type Result = ();

    fn handle(&mut self, message: TaskStarted, ctx: &mut Context<Self>) {
        let TaskStarted { id, incarnation, task_id, attempt } = message;
        self.postponed_turn(ctx, |scheduler, now, effects| {
            scheduler.task_started(id, incarnation, task_id, attempt, now, effects);
        });
    }
}

impl Handler<RunSignalled> for Router {
    type Result = ();

    fn handle(&mut self, message: RunSignalled, ctx: &mut Context<Self>) {
        let RunSignalled { id, incarnation, task_id, attempt } = message;
        self.postponed_turn(ctx, |scheduler, now, _effects| {
            scheduler.run_signalled(id, incarnation, task_id, attempt, now);
        });
    }
}

impl Handler<PhaseOverdue> for Router {
    type Result = ();

    fn handle(&mut self, message: PhaseOverdue, ctx: &mut Context<Self>) {
        let PhaseOverdue { id, incarnation, task_id, attempt, detail } = message;
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.phase_overdue(id, incarnation, task_id, attempt, detail, now, effects);
        });
    }
}

impl Handler<AgentFailed> for Router {
    type Result = ();

    fn handle(&mut self, message: AgentFailed, ctx: &mut Context<Self>) {
        if self.crash_only.is_daemon_lost() {
            return;
        }
        let Some(message) = self.looks.hold_actor(message) else { return };
        let AgentFailed { id, incarnation, failure, actor_gone } = message;
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.agent_failed(id, incarnation, failure, actor_gone, now, effects);
        });
    }
}

impl Handler<TreeGone> for Router {
    type Result = ();

    fn handle(&mut self, message: TreeGone, ctx: &mut Context<Self>) {
        if self.crash_only.is_daemon_lost() {
            return;
        }
        let Some(TreeGone { id, incarnation, exit }) = self.looks.hold_tree(message) else {
            return;
        };
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.tree_gone(id, incarnation, exit, now, effects);
        });
    }
}

impl Handler<TreeStuck> for Router {
    type Result = ();

    fn handle(&mut self, TreeStuck { id, incarnation }: TreeStuck, ctx: &mut Context<Self>) {
        if self.crash_only.is_daemon_lost() {
            return;
        }
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.tree_stuck(id, incarnation, now, effects);
        });
    }
}

impl Handler<PollClosed> for Router {
    type Result = ();

    fn handle(&mut self, PollClosed(id): PollClosed, ctx: &mut Context<Self>) {
        self.turn(ctx, |scheduler, now, _effects| scheduler.call_closed(id, now));
    }
}

impl Handler<Committed> for Router {
    type Result = ();

    fn handle(&mut self, Committed(turn): Committed, _ctx: &mut Context<Self>) {
        self.outbox.durable(turn);
        self.let_go();
    }
}

impl Handler<Resumed> for Router {
    type Result = ();

    fn handle(&mut self, Resumed { late_us }: Resumed, ctx: &mut Context<Self>) {
        self.standstills += 1;
        self.turn(ctx, |scheduler, now, _effects| scheduler.resume(late_us, now));
    }
}
