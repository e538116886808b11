//! Asks a dependency how it is (rule 12), and tells the Router when that changes.

mod ask;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, WrapFuture};
use awc::Client;
use uuid::Uuid;

use super::clock::Clock;
use super::fatal::PanicGuard;
use super::messages::GateKnown;
use super::router::Router;
use ask::Heard;
use tally::Tally;

/// How much longer or shorter than configured a pause may be, so that many daemons do not ask at the
/// same moment.
const JITTER: f64 = 0.1;

/// A dependency that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateProbeSettings {
    /// The name of its gate.
    pub name: Arc<str>,
    /// What is asked: every 2xx is a good answer.
    pub url: Arc<str>,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many bad answers in a row mean that it is down.
    pub failures_to_close: u32,
}

/// Asks one dependency, one question at a time.
pub(super) struct GateProbe {
    settings: GateProbeSettings,
    client: Client,
    tally: Tally,
    /// What was told last of what is wrong.
    told: Option<String>,
    router: Addr<Router>,
    clock: Clock,
    _crash_only: PanicGuard,
}

impl GateProbe {
    /// One that has not asked yet. Must be called on its arbiter, to which its client belongs.
    pub(super) fn new(
        settings: GateProbeSettings,
        router: Addr<Router>,
        clock: Clock,
        crash_only: PanicGuard,
    ) -> Self {
        let client = ask::client(settings.timeout);
        let tally = Tally::new(settings.failures_to_close);
        Self { settings, client, tally, told: None, router, clock, _crash_only: crash_only }
    }

    fn ask(&mut self, ctx: &mut Context<Self>) {
        let (client, url) = (self.client.clone(), Arc::clone(&self.settings.url));
        let (timeout, clock) = (self.settings.timeout, self.clock);
        let asked_us = clock.mono_us();
        let asked = async move { ask::ask(&client, &url, timeout, clock).await };
        ctx.spawn(asked.into_actor(self).map(move |heard, probe, ctx| {
            probe.take_in(heard, asked_us, ctx);
        }));
    }

    fn take_in(&mut self, heard: Heard, asked_us: u64, ctx: &mut Context<Self>) {
        let error = match heard {
            Heard::Up => None,
            Heard::Down(cause) => Some(cause),
            Heard::Nothing => return self.ask(ctx),
        };
        let news = self.tally.count(error.is_none());
        // What goes wrong may change while it is down: an operator looks for the last of it.
        let is_other = self.tally.is_down() && error != self.told;
        if let Some(is_up) = news.or_else(|| is_other.then_some(false)) {
            self.told.clone_from(&error);
            let name = Arc::clone(&self.settings.name);
            self.router.do_send(GateKnown { name, is_up, error });
        }
        let took = Duration::from_micros(self.clock.mono_us().saturating_sub(asked_us));
        let (bits, _) = Uuid::new_v4().as_u64_pair();
        let pause = jittered(self.settings.interval, (bits >> 48) as u16);
        ctx.run_later(pause.saturating_sub(took), Self::ask);
    }
}

/// The time from one question to the next: the interval, and a random part of it more or less.
fn jittered(interval: Duration, bits: u16) -> Duration {
    let share = f64::from(bits) / f64::from(u16::MAX);
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * share)
}

impl Actor for GateProbe {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.ask(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_at_most_a_tenth_longer_or_shorter() {
        let interval = Duration::from_secs(10);
        let pauses = [0, u16::MAX / 2, u16::MAX].map(|bits| jittered(interval, bits).as_secs_f64());
        assert_eq!((pauses[0], pauses[2]), (9.0, 11.0));
        assert!((9.99..=10.01).contains(&pauses[1]));
    }
}
