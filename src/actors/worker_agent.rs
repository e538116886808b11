//! One process agent: the actor between the Router and a worker process.
//!
//! It holds the run in progress and nothing that must survive it. When it ends, for whatever
//! reason, `stopped` tells the Router, and dropping it makes the spawner kill the process tree.

mod canary;
mod frames;
mod launch;
mod phase;
mod settle;
mod tools;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler};
use serde_json::Value;
use slog::{Logger, o};
use uuid::Uuid;

use super::clock::Clock;
use super::desk::ToolDesk;
use super::messages::{
    AgentFailed, CancelRun, KillWorker, RunSignalled, RunTask, StopWorker, TreeGone,
};
use super::router::Router;
use super::watcher::{Unwatch, Vital, WatcherLink};
use crate::domain::{
    AgentId, Attempt, Confinement, Exit, Failure, Incarnation, PIPE_CLOSED, TaskId, TraceId,
};
use crate::worker::frames::FrameWriter;
use crate::worker::proc;
use crate::worker::protocol::{TaskFrame, ToWorker};
use crate::worker::spawner::{SpawnerHandle, TreeGuard};
pub use phase::PhaseLimits;
use phase::RunPhase;
use settle::{Held, Household};

/// How long a worker that was asked to end, or that closed its pipe, may take to end.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The workers' share of the configuration.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// The command; empty: the built-in worker.
    pub command: Vec<String>,
    /// What the environment holds beyond the built one.
    pub env: Vec<(String, String)>,
    /// Below it each life has a working directory of its own.
    pub agents_dir: PathBuf,
    /// For the worker alone to understand.
    pub agent: Value,
    /// The longest frame, either way.
    pub max_frame_bytes: usize,
    /// How long a worker may take to be ready.
    pub start_timeout: Duration,
    /// How often it gives a sign of life.
    pub heartbeat: Duration,
    /// How long a run may stay in one phase.
    pub phase_limits: PhaseLimits,
    /// How long a run may go on after its cancel or time-out.
    pub cancel_grace: Duration,
    /// The log.
    pub log: Logger,
}

/// What the worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `hello` is next.
    Starting,
    /// `ready` is next.
    Greeted,
    /// It takes tasks.
    Ready,
    /// It was asked to end.
    Ending,
}

/// The attempt that the worker is at.
#[derive(Debug)]
struct Running {
    task_id: TaskId,
    attempt: Attempt,
    trace: TraceId,
    /// Calls of tools that have no answer yet.
    open_calls: usize,
    /// What it does.
    phase: RunPhase,
    /// How far it was asked to end.
    stop: Option<Stop>,
}

/// How far down the ladder a run is.
#[derive(Clone, Copy, Debug)]
struct Stop {
    /// When its worker was sent a signal, in monotonic microseconds.
    signalled_us: Option<u64>,
    /// When its grace is over, in monotonic microseconds.
    grace_over_us: u64,
}

/// One life of one process agent.
#[derive(Debug)]
pub struct WorkerAgent {
    id: AgentId,
    incarnation: Incarnation,
    settings: Arc<WorkerSettings>,
    router: Addr<Router>,
    watcher: WatcherLink,
    spawner: SpawnerHandle,
    /// Answers the worker's tools.
    desk: Arc<dyn ToolDesk>,
    clock: Clock,
    log: Logger,
    phase: Phase,
    run: Option<Running>,
    /// What still comes of it is dropped in silence (rule 10).
    last_closed: Option<Running>,
    /// What that answered, when it was asked to end and is not quite over.
    held: Option<Held>,
    /// Logs what the worker writes to stderr: with the ids of its run while it has one. Shared with
    /// the task that reads stderr, and locked only for a moment.
    run_log: Arc<Mutex<Logger>>,
    vital: Arc<Vital>,
    writer: Option<FrameWriter>,
    launcher_pid: u32,
    /// What was there when the worker became ready.
    household: Household,
    /// What the launcher enforced on the worker, when it said so.
    confinement: Option<Arc<Confinement>>,
    /// Whether the worker understands the frames of the canary.
    takes_canaries: bool,
    /// The step of a canary that the worker is at.
    canary: Option<canary::Due>,
    /// Whether its process was ordered, so that the end of it will be said.
    launch_ordered: bool,
    /// Why this life ends, as far as the actor knows.
    failure: Option<Failure>,
    pipe_closed: bool,
    tree_gone: bool,
    /// Dropped with the actor: the process tree goes with it.
    guard: Option<TreeGuard>,
}

impl WorkerAgent {
    /// An agent whose process is not started yet; `Launch` does that.
    pub(super) fn new(
        (id, incarnation): (AgentId, Incarnation),
        settings: Arc<WorkerSettings>,
        router: Addr<Router>,
        watcher: WatcherLink,
        spawner: SpawnerHandle,
        desk: Arc<dyn ToolDesk>,
        clock: Clock,
    ) -> Self {
        // What happens outside of any run has a trace of its own, one per life.
        let log = settings.log.new(o!(
            "incarnation" => incarnation.get(), "agent_id" => id.to_string(),
            "trace_id" => TraceId::from_uuid(Uuid::new_v4()).to_string(),
        ));
        let run_log = Arc::new(Mutex::new(log.clone()));
        Self {
            id,
            incarnation,
            settings,
            router,
            watcher,
            spawner,
            desk,
            clock,
            log,
            phase: Phase::Starting,
            run: None,
            last_closed: None,
            held: None,
            run_log,
            vital: Arc::new(Vital::new(clock.mono_us())),
            writer: None,
            launcher_pid: 0,
            household: Household::default(),
            confinement: None,
            takes_canaries: false,
            canary: None,
            launch_ordered: false,
            failure: None,
            pipe_closed: false,
            tree_gone: false,
            guard: None,
        }
    }

    /// Ends this life: the process tree is killed and the Router told why.
    fn fail(&mut self, cause: &str, detail: impl Into<String>, ctx: &mut Context<Self>) {
        self.failure.get_or_insert_with(|| Failure::new(cause, detail));
        ctx.stop();
    }

    fn send(&self, frame: &ToWorker<'_>) {
        if let Some(writer) = &self.writer {
            writer.send(frame.encode());
        }
    }

    /// Ends the actor when nothing can come any more: the pipe was read to its end and the process
    /// tree is gone. Either comes first; the other gets a little time.
    fn end_when_all_is_over(&mut self, ctx: &mut Context<Self>) {
        if self.pipe_closed && self.tree_gone {
            ctx.stop();
        } else {
            ctx.run_later(END_WITHIN, |agent, ctx| {
                let worker = proc::worker_of(agent.launcher_pid);
                if agent.pipe_closed && worker.is_some_and(proc::is_alive) {
                    let detail = "the worker closed its output and did not end, so it was killed";
                    agent.fail("output_closed", detail, ctx);
                } else {
                    ctx.stop();
                }
            });
        }
    }

    /// Does something when the worker had so much time. A time in which the daemon stood still does
    /// not count: what the worker said meanwhile is yet to be read, so it gets all of it once more.
    fn after(
        &self,
        wait: Duration,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, &mut Context<Self>) + 'static,
    ) {
        let standstills = self.standstills();
        ctx.run_later(wait, move |agent, ctx| {
            if agent.standstills() == standstills {
                then(agent, ctx);
            } else {
                agent.after(wait, ctx, then);
            }
        });
    }

    fn standstills(&self) -> u64 {
        self.watcher.pulse.standstills(self.clock.mono_us())
    }

    fn is_at(&self, task_id: TaskId, attempt: Attempt) -> bool {
        self.run.as_ref().is_some_and(|run| run.task_id == task_id && run.attempt == attempt)
    }
}

/// The log for what the worker writes now.
fn current(log: &Mutex<Logger>) -> Logger {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set_current(shared: &Mutex<Logger>, log: Logger) {
    *shared.lock().unwrap_or_else(PoisonError::into_inner) = log;
}

impl Actor for WorkerAgent {
    type Context = Context<Self>;

    /// Runs on a normal end and while a panic unwinds. It must not panic itself: a second panic
    /// would abort the daemon.
    fn stopped(&mut self, _ctx: &mut Self::Context) {
        let failure = if std::thread::panicking() {
            Failure::new("panic", "the agent's actor panicked; this is a bug of the daemon")
        } else {
            let unknown = || Failure::new(PIPE_CLOSED, "the worker closed its pipe");
            self.failure.take().unwrap_or_else(unknown)
        };
        let (id, incarnation) = (self.id, self.incarnation);
        self.watcher.addr.do_send(Unwatch { id, incarnation });
        self.let_go(&failure);
        self.router.do_send(AgentFailed { id, incarnation, failure, actor_gone: true });
        if !self.launch_ordered {
            let exit = Exit::NotStarted("its actor ended before".to_owned());
            self.router.do_send(TreeGone { id, incarnation, exit });
        }
    }
}

impl Handler<RunTask> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, RunTask(assignment): RunTask, _ctx: &mut Self::Context) {
        let now_us = self.clock.mono_us();
        self.vital.touch(now_us);
        self.vital.is_in_none();
        let (task_id, attempt, trace) =
            (assignment.task_id, assignment.attempt, assignment.trace.clone());
        let run_log = self.log.new(o!(
            "attempt" => attempt.get(), "task_id" => task_id.to_string(),
            "trace_id" => trace.to_string(),
        ));
        set_current(&self.run_log, run_log);
        let phase = RunPhase::unknown(now_us, self.standstills());
        self.run = Some(Running { task_id, attempt, trace, open_calls: 0, phase, stop: None });
        self.send(&ToWorker::Task(TaskFrame {
            task_id: assignment.task_id,
            attempt: assignment.attempt,
            task_type: assignment.kind,
            payload: &assignment.payload,
            trace_id: &assignment.trace,
            timeout_s: assignment.timeout_us as f64 / 1e6,
            previous_failure: assignment.previous_failure.as_deref(),
        }));
    }
}

impl Handler<CancelRun> for WorkerAgent {
    type Result = ();

    /// The ladder: the worker is asked; after half of the grace it gets a signal; after all of it
    /// its process tree is killed. An answer ends it as soon as nothing of the run is left.
    fn handle(&mut self, message: CancelRun, ctx: &mut Self::Context) {
        let CancelRun { task_id, attempt, reason } = message;
        if !self.is_at(task_id, attempt) {
            return; // it ended just now
        }
        let half = self.settings.cancel_grace / 2;
        let half_us = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        let grace_over_us = self.clock.mono_us().saturating_add(half_us).saturating_add(half_us);
        if let Some(run) = &mut self.run {
            run.stop = Some(Stop { signalled_us: None, grace_over_us });
        }
        self.send(&ToWorker::Cancel { task_id, attempt, reason });
        self.after(half, ctx, move |agent, ctx| {
            if !agent.is_at(task_id, attempt) {
                return;
            }
            let (id, incarnation) = (agent.id, agent.incarnation);
            let now_us = agent.clock.mono_us();
            if let Some(run) = &mut agent.run {
                let grace_over_us = now_us.saturating_add(half_us);
                run.stop = Some(Stop { signalled_us: Some(now_us), grace_over_us });
            }
            agent.spawner.signal(id, incarnation);
            agent.router.do_send(RunSignalled { id, incarnation, task_id, attempt });
            agent.after(half, ctx, move |agent, ctx| {
                if agent.is_at(task_id, attempt) {
                    let detail = "the run did not end within worker.cancel_grace_s and was killed";
                    agent.fail("killed_after_grace", detail, ctx);
                }
            });
        });
    }
}

impl Handler<KillWorker> for WorkerAgent {
    type Result = ();

    /// The order to the spawner may have come before the one to start. Without a process the end of
    /// this actor is the end of whatever is on its way.
    fn handle(&mut self, _: KillWorker, ctx: &mut Self::Context) {
        if self.guard.is_some() {
            self.spawner.kill(self.id, self.incarnation);
        } else {
            ctx.stop();
        }
    }
}

impl Handler<StopWorker> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, _: StopWorker, ctx: &mut Self::Context) {
        let first = self.phase != Phase::Ending;
        if self.phase != Phase::Ready || self.run.is_some() {
            if first {
                ctx.stop(); // there is nothing that could be asked
            }
            return;
        }
        self.phase = Phase::Ending;
        self.send(&ToWorker::Shutdown { reason: "the agent leaves the pool" });
        ctx.run_later(END_WITHIN, |_agent, ctx| ctx.stop());
    }
}
