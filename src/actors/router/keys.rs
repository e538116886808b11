//! Submits with an idempotency key. A key that memory does not know may belong to a task that has
//! ended, so it is looked up in the store; meanwhile it is reserved: whoever comes with the same
//! key waits for the same look.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{AsyncContext, Context, Handler};
use tokio::sync::oneshot;

use super::Router;
use crate::actors::handle::CallError;
use crate::actors::messages::{FindKey, KeyFound, SubmitKeyed};
use crate::domain::{Accepted, Refusal};

/// Submits that wait for a look at the store, by key.
pub(super) type Lookups = HashMap<Arc<str>, Vec<SubmitKeyed>>;

impl Router {
    /// Answers when what happened before is durable.
    pub(super) fn tell<T: 'static, E: 'static>(
        &mut self,
        caller: oneshot::Sender<Result<T, CallError>>,
        answer: Result<T, E>,
    ) where
        CallError: From<E>,
    {
        self.send(move || {
            // A caller that waits no more is no error.
            let _unheard = caller.send(answer.map_err(CallError::from));
        });
    }

    fn submit(&mut self, message: SubmitKeyed, ctx: &mut Context<Self>) {
        let SubmitKeyed { id, spec, of, answer } = message;
        let accepted: Result<Accepted, Refusal> = self.submit_task(id, spec, of, ctx);
        self.tell(answer, accepted);
    }
}

impl Handler<SubmitKeyed> for Router {
    type Result = ();

    fn handle(&mut self, message: SubmitKeyed, ctx: &mut Context<Self>) {
        let Some(key) = &message.spec.key else { return self.submit(message, ctx) };
        if let Some(known) = self.scheduler.repeated(key) {
            return self.tell(message.answer, known);
        }
        let name = Arc::clone(&key.name);
        let waiting = self.keys.entry(Arc::clone(&name)).or_default();
        waiting.push(message);
        if waiting.len() == 1 {
            let (history, router) = (self.history.clone(), ctx.address().recipient());
            self.send(move || history.do_send(FindKey { name, router }));
        }
    }
}

impl Handler<KeyFound> for Router {
    type Result = ();

    fn handle(&mut self, KeyFound { name, found }: KeyFound, ctx: &mut Context<Self>) {
        for message in self.keys.remove(&name).into_iter().flatten() {
            let Some(key) = &message.spec.key else { continue };
            // An earlier one of them may have been accepted, or the task be tried again.
            if let Some(known) = self.scheduler.repeated(key) {
                self.tell(message.answer, known);
                continue;
            }
            match &found {
                Ok(Some(task)) => {
                    let known = task.answer_to(key, None);
                    self.tell(message.answer, known);
                }
                Ok(None) => self.submit(message, ctx),
                Err(error) => self.tell::<_, CallError>(message.answer, Err((*error).into())),
            }
        }
    }
}
