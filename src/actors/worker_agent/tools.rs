//! Calls of the daemon's tools by a worker. None of them makes the actor wait, and what the answer
//! stands on is durable before it leaves.

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::WorkerAgent;
use crate::actors::desk::{self, ToolAnswer, ToolRefusal};
use crate::domain::{Attempt, Caller, Json, TaskId};
use crate::worker::protocol::{ToWorker, ToolCall};

/// How many calls of a worker may be open, those included whose answer it has not read.
const OPEN_AT_MOST: usize = 16;

/// What of an answer's frame is not its value.
const REST_OF_FRAME: usize = 256;

impl WorkerAgent {
    pub(super) fn tool_called(&mut self, call: ToolCall, ctx: &mut Context<Self>) {
        let ToolCall { task_id, call_id, name, args } = call;
        let unread = self.writer.as_ref().map_or(0, |writer| writer.waiting());
        let (agent, incarnation) = (self.id, self.incarnation);
        let Some(run) = self.run.as_mut().filter(|run| run.task_id == task_id) else {
            return self.out_of_turn(task_id, None, "tool_call", ctx);
        };
        if run.open_calls + unread >= OPEN_AT_MOST {
            let detail = format!(
                "the worker called another tool while {OPEN_AT_MOST} of its calls were open or their \
                 answers unread"
            );
            return self.fail("protocol", detail, ctx);
        }
        run.open_calls += 1;
        let attempt = run.attempt;
        let caller = Caller { agent, incarnation, attempt };
        let call = desk::ToolCall { name, args, task_id, caller, trace: run.trace.clone() };
        let answer = self.desk.call(call).into_actor(self);
        ctx.spawn(answer.map(move |answer, agent, _ctx| {
            agent.tool_answered(task_id, attempt, &call_id, answer);
        }));
    }

    /// Passes the answer on, unless the attempt that asked has ended.
    fn tool_answered(
        &mut self,
        task_id: TaskId,
        attempt: Attempt,
        call_id: &Json,
        answer: ToolAnswer,
    ) {
        if !self.is_at(task_id, attempt) {
            return;
        }
        if let Some(run) = &mut self.run {
            run.open_calls -= 1;
        }
        let room =
            self.settings.max_frame_bytes.saturating_sub(call_id.as_str().len() + REST_OF_FRAME);
        let refusal = match answer {
            Ok(value) if value.as_str().len() <= room => {
                self.send(&ToWorker::ToolResult {
                    call_id,
                    ok: true,
                    value: Some(&value),
                    code: None,
                    message: None,
                });
                return;
            }
            Ok(value) => ToolRefusal {
                code: "answer_too_large".to_owned(),
                message: format!(
                    "the answer has {} bytes and does not fit into a frame of {}",
                    value.as_str().len(),
                    self.settings.max_frame_bytes
                ),
            },
            Err(refusal) => refusal,
        };
        self.send(&ToWorker::ToolResult {
            call_id,
            ok: false,
            value: None,
            code: Some(&refusal.code),
            message: Some(&refusal.message),
        });
    }
}
