//! What a worker says, and what breaks the protocol.

use std::sync::Arc;

use actix::{Context, Handler, Message};
use slog::debug;

use super::settle::Household;
use super::{Phase, WorkerAgent, current, set_current};
use crate::actors::messages::{AgentFailed, AgentReady, TaskEnded, TaskStarted};
use crate::actors::watcher::Watch;
use crate::domain::{Attempt, Confinement, Failure, PIPE_CLOSED, ProcessFacts, Report, TaskId};
use crate::worker::proc;
use crate::worker::protocol::{FromWorker, PROTO, ToWorker};

/// From the reader of the worker's pipe: one frame.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Frame(pub(super) FromWorker);

/// From the reader of the worker's pipe: its end, or what was wrong with it.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct NoMoreFrames(pub(super) Option<String>);

impl Handler<Frame> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, Frame(frame): Frame, ctx: &mut Self::Context) {
        self.vital.touch(self.clock.mono_us());
        if let FromWorker::Heartbeat(heartbeat) = frame {
            self.hear_heartbeat(heartbeat);
            return;
        }
        if let Some(run) = &mut self.run {
            run.phase.moves();
        }
        match frame {
            FromWorker::Confined(confinement) => self.confined(*confinement, ctx),
            FromWorker::Hello { proto: [oldest, newest], canary } => {
                self.takes_canaries = canary;
                self.greet(oldest, newest, ctx);
            }
            FromWorker::Canary(news) => self.canary_news(news),
            FromWorker::Ready => self.become_ready(ctx),
            FromWorker::InitError { message } => {
                self.fail(
                    "init_error",
                    format!("the worker refused its configuration: {message}"),
                    ctx,
                );
            }
            FromWorker::Started { task_id, attempt } => self.task_started(task_id, attempt, ctx),
            FromWorker::Ended { task_id, attempt, report } => {
                self.task_ended(task_id, attempt, report, ctx);
            }
            FromWorker::ModelCall(call) => self.is_about(call.task_id, "model_call", ctx),
            FromWorker::Step(step) => self.is_about(step.task_id, "step", ctx),
            FromWorker::ToolCall(call) => self.tool_called(call, ctx),
            FromWorker::Fatal { message } => {
                self.fail("worker_fatal", format!("the worker gave up: {message}"), ctx);
            }
            FromWorker::Log(line) => {
                slog::info!(current(&self.run_log), "worker_log"; "worker_level" => line.level, "line" => line.text);
            }
            FromWorker::Heartbeat(_)
            | FromWorker::CancelIgnored
            | FromWorker::Pong
            | FromWorker::Bye
            | FromWorker::Unknown => {}
        }
    }
}

impl Handler<NoMoreFrames> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, NoMoreFrames(broken): NoMoreFrames, ctx: &mut Self::Context) {
        if let Some(what) = broken {
            self.fail("protocol", what, ctx);
            return;
        }
        self.pipe_closed = true;
        // It takes no task any more. How it ended is known when its tree is gone.
        let failure = Failure::new(PIPE_CLOSED, "the worker closed its pipe");
        let (id, incarnation) = (self.id, self.incarnation);
        self.router.do_send(AgentFailed { id, incarnation, failure, actor_gone: false });
        self.end_when_all_is_over(ctx);
    }
}

impl WorkerAgent {
    /// Its launcher speaks before the worker can: whatever says so later is not the launcher.
    fn confined(&mut self, confinement: Confinement, ctx: &mut Context<Self>) {
        if self.phase != Phase::Starting || self.confinement.is_some() {
            self.fail("protocol", "the worker said of itself how it is confined", ctx);
            return;
        }
        self.confinement = Some(Arc::new(confinement));
    }

    fn greet(&mut self, oldest: u32, newest: u32, ctx: &mut Context<Self>) {
        if self.phase != Phase::Starting {
            self.fail("protocol", "the worker said hello twice", ctx);
            return;
        }
        if !(oldest..=newest).contains(&PROTO) {
            let detail = format!(
                "the worker speaks versions {oldest} to {newest} of the protocol, the daemon {PROTO}"
            );
            self.fail("protocol", detail, ctx);
            return;
        }
        self.phase = Phase::Greeted;
        self.send(&ToWorker::Init {
            proto: PROTO,
            agent_id: self.id,
            incarnation: self.incarnation,
            heartbeat_s: self.settings.heartbeat.as_secs_f64(),
            max_frame_bytes: self.settings.max_frame_bytes,
            agent: &self.settings.agent,
        });
    }

    fn become_ready(&mut self, ctx: &mut Context<Self>) {
        if self.phase != Phase::Greeted {
            self.fail("protocol", "the worker said ready out of turn", ctx);
            return;
        }
        self.phase = Phase::Ready;
        let (id, incarnation, launcher_pid) = (self.id, self.incarnation, self.launcher_pid);
        // What the launcher's children are, not what the worker says it is.
        let pid = proc::worker_of(launcher_pid).unwrap_or(0);
        self.household = Household::of(launcher_pid, pid);
        let process = ProcessFacts {
            pid,
            launcher_pid,
            launcher_start_ticks: proc::start_ticks(launcher_pid).unwrap_or(0),
            workdir: self.workdir(),
            confinement: self.confinement.clone(),
        };
        let vital = self.vital.clone();
        self.watcher.addr.do_send(Watch { id, incarnation, launcher_pid, vital });
        self.router.do_send(AgentReady { id, incarnation, process });
    }

    fn task_started(&mut self, task_id: TaskId, attempt: Attempt, ctx: &mut Context<Self>) {
        if self.is_at(task_id, attempt) {
            let (id, incarnation) = (self.id, self.incarnation);
            self.router.do_send(TaskStarted { id, incarnation, task_id, attempt });
        } else {
            self.out_of_turn(task_id, Some(attempt), "started", ctx);
        }
    }

    fn task_ended(
        &mut self,
        task_id: TaskId,
        attempt: Attempt,
        report: Report,
        ctx: &mut Context<Self>,
    ) {
        if !self.is_at(task_id, attempt) {
            self.out_of_turn(task_id, Some(attempt), "a terminal frame", ctx);
            return;
        }
        let stop = self.run.as_ref().and_then(|run| run.stop);
        self.last_closed = self.run.take();
        self.vital.is_in_none();
        set_current(&self.run_log, self.log.clone());
        let (id, incarnation) = (self.id, self.incarnation);
        let ended = TaskEnded { id, incarnation, task_id, attempt, report };
        match stop {
            None => self.router.do_send(ended),
            Some(stop) => self.hold(ended, stop, ctx),
        }
    }

    /// A frame that only counts as a sign of life, if it is about the right task.
    fn is_about(&mut self, task_id: TaskId, what: &str, ctx: &mut Context<Self>) {
        if self.run.as_ref().is_none_or(|run| run.task_id != task_id) {
            self.out_of_turn(task_id, None, what, ctx);
        }
    }

    /// Frames of the attempt that was closed last are dropped in silence; of any other task they
    /// break the protocol (rule 10).
    pub(super) fn out_of_turn(
        &mut self,
        task_id: TaskId,
        attempt: Option<Attempt>,
        what: &str,
        ctx: &mut Context<Self>,
    ) {
        let late = self.last_closed.as_ref().filter(|closed| {
            closed.task_id == task_id && attempt.is_none_or(|attempt| attempt == closed.attempt)
        });
        if let Some(closed) = late {
            debug!(self.log, "late_frame_dropped";
                "trace_id" => %closed.trace, "task_id" => %task_id,
                "attempt" => closed.attempt.get(), "frame" => what);
        } else {
            self.fail(
                "protocol",
                format!("the worker sent {what} for task {task_id}, which it does not run"),
                ctx,
            );
        }
    }
}
