//! The memory of agents, against `worker.memory_limit_mb`.

use std::time::Duration;

use actix::{AsyncContext, Context};
use slog::warn;

use super::Watcher;
use crate::actors::messages::AgentFailed;
use crate::domain::{AgentId, Failure};
use crate::worker::proc;

/// How often it is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

const MB: u64 = 1 << 20;

/// What is known of the memory of one agent.
#[derive(Debug, Default)]
pub(super) struct MemoryUse {
    /// Whether it was said that it is high, and it was not low again since.
    warned: bool,
    /// The cheap figure and the exact one, when that was asked for last.
    known: Option<(u64, u64)>,
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
    /// is dear, so it is asked again only when the cheap figure has changed.
    fn judge(&mut self, limit: u64, mapped: u64, own: impl FnOnce() -> u64) -> Verdict {
        let high = limit / 5 * 4;
        let memory = match self.known {
            _ if mapped < high => mapped,
            Some((then, own)) if then.abs_diff(mapped) < MB => own,
            _ => {
                let own = own();
                self.known = Some((mapped, own));
                own
            }
        };
        if memory > limit {
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

impl Watcher {
    /// Looks at the memory of every agent from now on, if it has a limit.
    pub(super) fn watch_memory(&self, ctx: &mut Context<Self>) {
        if let Some(limit) = self.memory_limit {
            ctx.run_later(LOOK_AGAIN, move |watcher, ctx| {
                watcher.look_at_memory(limit);
                watcher.watch_memory(ctx);
            });
        }
    }

    fn look_at_memory(&mut self, limit: u64) {
        let mut failed: Vec<(AgentId, u64)> = Vec::new();
        for (&id, watched) in &mut self.watched {
            let root = watched.launcher_pid;
            let mapped = proc::tree_mapped_bytes(root);
            match watched.memory.judge(limit, mapped, || proc::tree_own_bytes(root)) {
                Verdict::Fine => {}
                Verdict::High(memory) => warn!(self.log, "agent_memory_high";
                    "limit_mb" => limit / MB, "memory_mb" => memory / MB,
                    "incarnation" => watched.incarnation.get(), "agent_id" => %id),
                Verdict::TooHigh(memory) => failed.push((id, memory)),
            }
        }
        for (id, memory) in failed {
            let Some(watched) = self.watched.remove(&id) else { continue };
            let detail = format!(
                "it took {} MB of memory, and worker.memory_limit_mb allows {} MB",
                memory.div_ceil(MB),
                limit / MB
            );
            let failure = Failure::new("memory_limit", detail);
            let incarnation = watched.incarnation;
            self.router.do_send(AgentFailed { id, incarnation, failure, actor_gone: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100 * MB;

    fn dear() -> u64 {
        panic!("nobody should ask for it")
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
        assert_eq!(memory.judge(LIMIT, 80 * MB, || 80 * MB), Verdict::High(80 * MB));
        assert_eq!(memory.judge(LIMIT, 95 * MB, || 95 * MB), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 75 * MB, dear), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 90 * MB, || 90 * MB), Verdict::Fine, "75 % is not low");
        assert_eq!(memory.judge(LIMIT, 69 * MB, dear), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 82 * MB, || 82 * MB), Verdict::High(82 * MB));
    }

    #[test]
    fn only_the_exact_figure_fails_an_agent() {
        let mut memory = MemoryUse::default();
        assert_eq!(memory.judge(LIMIT, 900 * MB, || 50 * MB), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 902 * MB, || LIMIT), Verdict::High(LIMIT));
        assert_eq!(memory.judge(LIMIT, 904 * MB, || LIMIT + 1), Verdict::TooHigh(LIMIT + 1));
    }

    #[test]
    fn the_exact_figure_is_asked_for_when_something_changed() {
        let mut memory = MemoryUse::default();
        assert_eq!(memory.judge(LIMIT, 120 * MB, || 60 * MB), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 120 * MB + 4096, dear), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 121 * MB, || 61 * MB), Verdict::Fine);
        assert_eq!(memory.judge(LIMIT, 119 * MB, || 59 * MB), Verdict::Fine);
    }
}
