//! The memory of agents, against `worker.memory_limit_mb`.
//!
//! Reading it takes the kernel milliseconds, and for ever when it does not answer for a process, so
//! it is done off the arbiter, by one thread at a time.

use std::time::Duration;

use actix::fut::wrap_future;
use actix::{ActorFutureExt, AsyncContext, Context};
use slog::warn;

use super::Watcher;
use crate::actors::handle::blocking;
use crate::actors::messages::AgentFailed;
use crate::domain::{AgentId, Failure, Incarnation};
use crate::worker::proc::{self, OwnMemory};

/// How often it is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// For how many looks an exact figure serves: memory that was shared becomes a process's own when it
/// is written to, and the cheap figure stays as it was.
const KNOWN_FOR: u32 = 10;

const MB: u64 = 1 << 20;

/// What is known of the memory of one agent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MemoryUse {
    /// Whether it was said that it is high, and it was not low again since.
    warned: bool,
    /// What was asked for last.
    known: Option<Known>,
}

/// An exact figure.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The cheap figure at that time.
    mapped: u64,
    own: u64,
    /// For how many looks it served.
    looks: u32,
}

/// An agent whose memory is looked at.
#[derive(Clone, Copy, Debug)]
struct Subject {
    id: AgentId,
    incarnation: Incarnation,
    launcher_pid: u32,
    memory: MemoryUse,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// It comes near the limit: to be said once.
    High(u64),
    /// It is beyond the limit.
    TooHigh(u64),
}

impl MemoryUse {
    /// Judges `mapped`, which may be too much; near the limit `own` says how much it really is. That
    /// is dear, so it is asked again only when the cheap figure has changed, or now and then. Where it
    /// is not exact, it may be far too much, so nobody fails for it.
    fn judge(&mut self, limit: u64, mapped: u64, own: impl FnOnce() -> OwnMemory) -> Verdict {
        let high = limit / 5 * 4;
        let (memory, is_exact) = match &mut self.known {
            _ if mapped < high => (mapped, false),
            Some(known) if known.serves(mapped) => {
                known.looks += 1;
                (known.own, true)
            }
            _ => {
                let OwnMemory { bytes, is_exact } = own();
                self.known = is_exact.then_some(Known { mapped, own: bytes, looks: 0 });
                (bytes, is_exact)
            }
        };
        if memory > limit && is_exact {
            return Verdict::TooHigh(memory);
        }
        if memory < limit / 10 * 7 {
            self.warned = false;
        }
        let is_news = memory >= high && !self.warned;
        if is_news {
            self.warned = true;
            return Verdict::High(memory);
        }
        Verdict::Fine
    }
}

impl Known {
    const fn serves(&self, mapped: u64) -> bool {
        self.mapped.abs_diff(mapped) < MB && self.looks < KNOWN_FOR
    }
}

impl Watcher {
    /// Looks at the memory of every agent from now on, if it has a limit.
    pub(super) fn watch_memory(&self, ctx: &mut Context<Self>) {
        if let Some(limit) = self.memory_limit {
            ctx.run_later(LOOK_AGAIN, move |watcher, ctx| watcher.look_at_memory(limit, ctx));
        }
    }

    /// The next look comes after this one has ended, however long that takes.
    fn look_at_memory(&self, limit: u64, ctx: &mut Context<Self>) {
        let subject = |(&id, watched): (&AgentId, &super::Watched)| Subject {
            id,
            incarnation: watched.incarnation,
            launcher_pid: watched.launcher_pid,
            memory: watched.memory,
        };
        let subjects: Vec<_> = self.watched.iter().map(subject).collect();
        let look = blocking(move || subjects.into_iter().map(|one| look(one, limit)).collect());
        let judged =
            wrap_future(look).map(move |looked: Result<Vec<_>, _>, watcher: &mut Self, ctx| {
                for (subject, verdict) in looked.unwrap_or_default() {
                    watcher.act_on_memory(subject, &verdict, limit);
                }
                watcher.watch_memory(ctx);
            });
        ctx.spawn(judged);
    }

    fn act_on_memory(&mut self, subject: Subject, verdict: &Verdict, limit: u64) {
        let Subject { id, incarnation, memory, .. } = subject;
        // Its life may have ended meanwhile.
        let watched = self.watched.get_mut(&id).filter(|now| now.incarnation == incarnation);
        let Some(watched) = watched else { return };
        watched.memory = memory;
        match verdict {
            Verdict::Fine => {}
            Verdict::High(memory) => warn!(self.log, "agent_memory_high";
                "limit_mb" => limit / MB, "memory_mb" => memory / MB,
                "incarnation" => incarnation.get(), "agent_id" => %id),
            Verdict::TooHigh(memory) => {
                self.watched.remove(&id);
                let detail = format!(
                    "it took {} MB of memory, and worker.memory_limit_mb allows {} MB",
                    memory.div_ceil(MB),
                    limit / MB
                );
                let failure = Failure::new("memory_limit", detail);
                self.router.do_send(AgentFailed { id, incarnation, failure, actor_gone: false });
            }
        }
    }
}

fn look(mut subject: Subject, limit: u64) -> (Subject, Verdict) {
    let root = subject.launcher_pid;
    let mapped = proc::tree_mapped_bytes(root);
    let verdict = subject.memory.judge(limit, mapped, || proc::tree_own_bytes(root));
    (subject, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100 * MB;

    fn dear() -> OwnMemory {
        panic!("nobody should ask for it")
    }

    /// What the dear look says.
    fn exact(bytes: u64) -> impl FnOnce() -> OwnMemory {
        move || OwnMemory { bytes, is_exact: true }
    }

    #[test]
    fn far_from_the_limit_the_cheap_figure_is_enough() {
        let mut memory = MemoryUse::default();
        assert_eq!(memory.judge(LIMIT, 0, dear), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 80 * MB - 1, dear), Verdict::Fine);
    }

    #[test]
    fn near_the_limit_it_is_said_once_until_it_was_low_again() {
        let mut memory = MemoryUse::default();
        assert_eq!(memory.judge(LIMIT, 80 * MB, exact(80 * MB)), Verdict::High(80 * MB));
        assert_eq!(memory.judge(LIMIT, 95 * MB, exact(95 * MB)), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 75 * MB, dear), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 90 * MB, exact(90 * MB)), Verdict::Fine, "75 % is not low");
        assert_eq!(memory.judge(LIMIT, 69 * MB, dear), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 82 * MB, exact(82 * MB)), Verdict::High(82 * MB));
    }

    #[test]
    fn only_the_exact_figure_fails_an_agent() {
        let mut memory = MemoryUse::default();
        assert_eq!(memory.judge(LIMIT, 900 * MB, exact(50 * MB)), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 902 * MB, exact(LIMIT)), Verdict::High(LIMIT));
        assert_eq!(memory.judge(LIMIT, 904 * MB, exact(LIMIT + 1)), Verdict::TooHigh(LIMIT + 1));
    }

    #[test]
    fn a_figure_that_is_not_exact_warns_and_fails_nobody() {
        let mut memory = MemoryUse::default();
        let vague = |bytes| move || OwnMemory { bytes, is_exact: false };
        assert_eq!(memory.judge(LIMIT, 900 * MB, vague(900 * MB)), Verdict::High(900 * MB));
        assert_eq!(memory.judge(LIMIT, 900 * MB, vague(900 * MB)), Verdict::Fine, "it was said");
        let exact = exact(LIMIT + 1);
        assert_eq!(memory.judge(LIMIT, 900 * MB, exact), Verdict::TooHigh(LIMIT + 1));
    }

    #[test]
    fn the_exact_figure_is_asked_for_when_something_changed() {
        let mut memory = MemoryUse::default();
        assert_eq!(memory.judge(LIMIT, 120 * MB, exact(60 * MB)), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 120 * MB + 4096, dear), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 121 * MB, exact(61 * MB)), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 119 * MB, exact(59 * MB)), Verdict::Fine);
    }

    /// As a process does that was forked and writes to what it shared until then.
    #[test]
    fn what_grows_under_the_same_cheap_figure_is_seen_after_a_few_looks() {
        let mut memory = MemoryUse::default();
        assert_eq!(memory.judge(LIMIT, 900 * MB, exact(50 * MB)), Verdict::Fine);
        for _ in 0..KNOWN_FOR {
            assert_eq!(memory.judge(LIMIT, 900 * MB, dear), Verdict::Fine);
        }
        let beyond = LIMIT + 1;
        assert_eq!(memory.judge(LIMIT, 900 * MB, exact(beyond)), Verdict::TooHigh(beyond));
    }
}
