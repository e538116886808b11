//! The start of a worker process, and the end of its tree.

use std::sync::{Arc, Mutex};

use actix::{ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use slog::{Logger, info};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::frames::{Frame, NoMoreFrames};
use super::{Phase, WorkerAgent, current};
use crate::actors::messages::{Launch, TreeGone, TreeStuck};
use crate::domain::Chain;
use crate::worker::frames::{FrameReader, FrameWriter, drain_stderr};
use crate::worker::spawner::{LaunchSpec, Launched, OnNews, TreeNews};

/// From the spawner: nothing is left of the process tree.
#[derive(Message)]
#[rtype(result = "()")]
struct TreeEnded;

impl WorkerAgent {
    fn launch_spec(&self) -> LaunchSpec {
        let life = format!("{}-{}", self.id, self.incarnation);
        LaunchSpec {
            agent: self.id,
            incarnation: self.incarnation,
            command: self.settings.command.clone(),
            env: self.settings.env.clone(),
            workdir: self.settings.agents_dir.join(life),
        }
    }

    /// The directory that only the present process writes to.
    pub(super) fn workdir(&self) -> String {
        self.launch_spec().workdir.display().to_string()
    }

    /// What the spawner has to say goes to the Router, and to this actor, which may be gone by
    /// then.
    fn on_news(&self, this: Addr<Self>) -> OnNews {
        let (router, id, incarnation) = (self.router.clone(), self.id, self.incarnation);
        Box::new(move |news| match news {
            TreeNews::Gone(exit) => {
                this.do_send(TreeEnded);
                router.do_send(TreeGone { id, incarnation, exit });
            }
            TreeNews::Stuck => router.do_send(TreeStuck { id, incarnation }),
        })
    }

    fn launched(&mut self, launched: Launched, ctx: &mut Context<Self>) -> std::io::Result<()> {
        let Launched { guard, launcher_pid, stdin, stdout, stderr } = launched;
        self.guard = Some(guard);
        self.launcher_pid = launcher_pid;
        self.writer = Some(FrameWriter::spawn(Sender::from_owned_fd(stdin)?));
        let frames =
            FrameReader::new(Receiver::from_owned_fd(stdout)?, self.settings.max_frame_bytes);
        actix::spawn(hand_over(frames, ctx.address()));
        actix::spawn(log_stderr(Receiver::from_owned_fd(stderr)?, Arc::clone(&self.run_log)));
        Ok(())
    }
}

impl Handler<Launch> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, _: Launch, ctx: &mut Self::Context) {
        self.launch_ordered = true;
        let started = self.spawner.launch(self.launch_spec(), self.on_news(ctx.address()));
        let take = started.into_actor(self).map(|answer, agent, ctx| match answer {
            Ok(Ok(launched)) => {
                if let Err(error) = agent.launched(launched, ctx) {
                    agent.fail("not_started", format!("its pipes cannot be used: {error}"), ctx);
                }
            }
            Ok(Err(error)) => agent.fail("not_started", Chain(&error).to_string(), ctx),
            Err(_no_spawner) => agent.fail("not_started", "the spawner is gone", ctx),
        });
        ctx.spawn(take);
        self.after(self.settings.start_timeout, ctx, |agent, ctx| {
            if matches!(agent.phase, Phase::Starting | Phase::Greeted) && !agent.pipe_closed {
                let detail = "the worker was not ready within worker.start_timeout_s";
                agent.fail("start_timeout", detail, ctx);
            }
        });
    }
}

impl Handler<TreeEnded> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, _: TreeEnded, ctx: &mut Self::Context) {
        self.tree_gone = true;
        self.end_when_all_is_over(ctx);
    }
}

/// Hands frames to the actor, one at a time: a worker that floods waits.
async fn hand_over(mut frames: FrameReader, agent: Addr<WorkerAgent>) {
    loop {
        match frames.next().await {
            Ok(Some(frame)) => {
                if agent.send(Frame(frame)).await.is_err() {
                    return; // the actor is gone, and with it the process
                }
            }
            Ok(None) => return agent.do_send(NoMoreFrames(None)),
            Err(error) => return agent.do_send(NoMoreFrames(Some(error.to_string()))),
        }
    }
}

async fn log_stderr(stderr: Receiver, log: Arc<Mutex<Logger>>) {
    drain_stderr(stderr, |line| {
        info!(current(&log), "worker_stderr"; "line" => line);
    })
    .await;
}
