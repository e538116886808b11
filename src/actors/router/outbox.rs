//! Output commit: no effect leaves the Router before the change that caused it is on disk.
//!
//! Answers of reads and refusals wait, too, for the newest change that was handed over before
//! them: nobody learns what the disk does not know.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Context, Message};

use super::Router;
use crate::domain::{Change, Effect};
use crate::store::{Handed, Ledger};

/// What may leave once a turn is durable.
pub(super) enum Held {
    /// Something to do outside, and when it was wanted: a time of day in microseconds.
    Effect(Effect, u64),
    /// An answer, or a question to the store.
    Letter(Box<dyn FnOnce()>),
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effect(effect, _) => effect.fmt(f),
            Self::Letter(_) => f.write_str("Letter"),
        }
    }
}

/// What waits for the disk, in order. Shared with the answers that are on their way.
#[derive(Clone, Debug)]
pub(super) struct Outbox(Rc<RefCell<Inside>>);

#[derive(Debug)]
struct Inside {
    ledger: Ledger,
    /// Turns that were handed over.
    handed: u64,
    /// Turns that are durable.
    durable: u64,
    /// Each with the turn that it waits for.
    held: VecDeque<(u64, Held)>,
}

impl Outbox {
    pub(super) fn new(ledger: Ledger) -> Self {
        let inside = Inside { ledger, handed: 0, durable: 0, held: VecDeque::new() };
        Self(Rc::new(RefCell::new(inside)))
    }

    /// Hands the changes of a turn to the store.
    pub(super) fn hand_over(&self, changes: Vec<Change>) {
        let mut inside = self.0.borrow_mut();
        inside.handed += 1;
        let turn = inside.handed;
        if inside.ledger.commit(turn, changes) == Handed::Durable {
            inside.durable = turn;
        }
    }

    /// Whether everything that was handed over is durable.
    pub(super) fn is_clear(&self) -> bool {
        let inside = self.0.borrow();
        inside.durable == inside.handed
    }

    /// Keeps effects until what was handed over is durable.
    pub(super) fn hold(&self, effects: impl Iterator<Item = Effect>, at_us: u64) {
        let inside = &mut *self.0.borrow_mut();
        let turn = inside.handed;
        inside.held.extend(effects.map(|effect| (turn, Held::Effect(effect, at_us))));
    }

    /// Keeps effects until what is handed over next is durable.
    pub(super) fn hold_for_next(&self, effects: impl Iterator<Item = Effect>, at_us: u64) {
        let inside = &mut *self.0.borrow_mut();
        let turn = inside.handed + 1;
        inside.held.extend(effects.map(|effect| (turn, Held::Effect(effect, at_us))));
    }

    /// Sends something as soon as what was handed over is durable: now, or later.
    pub(super) fn send(&self, letter: impl FnOnce() + 'static) {
        if self.is_clear() {
            letter();
            return;
        }
        let inside = &mut *self.0.borrow_mut();
        inside.held.push_back((inside.handed, Held::Letter(Box::new(letter))));
    }

    /// Every turn up to this one is durable.
    pub(super) fn durable(&self, turn: u64) {
        let mut inside = self.0.borrow_mut();
        inside.durable = inside.durable.max(turn);
    }

    /// The next thing that may leave.
    pub(super) fn next(&self) -> Option<Held> {
        let inside = &mut *self.0.borrow_mut();
        let durable = inside.durable;
        inside.held.front().filter(|(turn, _)| *turn <= durable)?;
        inside.held.pop_front().map(|(_, held)| held)
    }

    /// An answer that leaves when it may.
    pub(super) fn answer<T>(&self, value: T) -> Answer<T> {
        Answer { value, outbox: self.clone() }
    }
}

/// The answer to a message, which leaves when what was handed over before it is durable.
pub(in crate::actors) struct Answer<T> {
    value: T,
    outbox: Outbox,
}

impl<T: 'static> Answer<T> {
    /// Sends it to whoever asked, when it may leave.
    pub(super) fn to(self, caller: Option<OneshotSender<T>>) {
        let Self { value, outbox } = self;
        if let Some(caller) = caller {
            outbox.send(move || {
                // A caller that waits no more is no error.
                let _unheard = caller.send(value);
            });
        }
    }
}

impl<M> MessageResponse<Router, M> for Answer<M::Result>
where
    M: Message,
    M::Result: 'static,
{
    fn handle(self, _ctx: &mut Context<Router>, caller: Option<OneshotSender<M::Result>>) {
        self.to(caller);
    }
}

/// The answer to a message that may need a look at the store first.
pub(in crate::actors) enum Reply<T> {
    /// It needed none.
    Now(Answer<T>),
    /// Who asked is kept here until the answer is known.
    Later(Rc<Cell<Option<OneshotSender<T>>>>),
}

impl<M> MessageResponse<Router, M> for Reply<M::Result>
where
    M: Message,
    M::Result: 'static,
{
    fn handle(self, _ctx: &mut Context<Router>, caller: Option<OneshotSender<M::Result>>) {
        match self {
            Self::Now(answer) => answer.to(caller),
            Self::Later(asked) => asked.set(caller),
        }
    }
}
