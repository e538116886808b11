//! Gates: what is known of dependencies, and what clients order.

use actix::{Context, Handler};

use super::{Answer, Router};
use crate::actors::messages::{GateKnown, ListGates, OrderGate};
use crate::domain::{GateView, Refusal};

impl Handler<GateKnown> for Router {
    type Result = ();

    fn handle(&mut self, GateKnown { name, is_up, error }: GateKnown, ctx: &mut Context<Self>) {
        self.turn(ctx, |scheduler, now, effects| {
            scheduler.gate_known(&name, is_up, error, now, effects);
        });
    }
}

impl Handler<OrderGate> for Router {
    type Result = Answer<Result<GateView, Refusal>>;

    fn handle(
        &mut self,
        OrderGate { name, mode }: OrderGate,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        self.answered_turn(ctx, |scheduler, now, effects| {
            scheduler.order_gate(&name, mode, now, effects)
        })
    }
}

impl Handler<ListGates> for Router {
    type Result = Answer<Vec<GateView>>;

    fn handle(&mut self, _: ListGates, _ctx: &mut Context<Self>) -> Self::Result {
        let found = self.scheduler.gate_views(self.clock.now());
        self.answer(found)
    }
}
