//! How often an agent may be restarted (rule 2).

use std::collections::VecDeque;

use super::time::{Now, SECOND_US};

/// The first wait before a restart.
const DELAY_FIRST_US: u64 = SECOND_US / 10;
/// The longest wait before a restart.
const DELAY_MAX_US: u64 = 10 * SECOND_US;
/// How long an agent that was given up is left alone.
pub const RETRY_AFTER_US: u64 = 600 * SECOND_US;

/// The restarts of one agent.
#[derive(Clone, Debug)]
pub struct RestartBudget {
    restarts_max: usize,
    window_us: u64,
    recent: VecDeque<u64>,
}

/// What the budget says to a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again after so many microseconds.
    RestartAfter(u64),
    /// It died too often.
    GiveUp,
}

impl RestartBudget {
    /// A budget of `restarts_max` restarts within `window_us` microseconds.
    #[must_use]
    pub const fn new(restarts_max: usize, window_us: u64) -> Self {
        Self { restarts_max, window_us, recent: VecDeque::new() }
    }

    /// A death that counts: allows a restart unless `restarts_max` of them already fell within the
    /// window. Each within the window doubles the wait, from 0.1 s to 10 s.
    pub fn ask(&mut self, now: Now) -> Verdict {
        while self.recent.front().is_some_and(|&at| now.since(at) >= self.window_us) {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.restarts_max {
            return Verdict::GiveUp;
        }
        let doublings = u32::try_from(self.recent.len()).unwrap_or(u32::MAX).min(16);
        self.recent.push_back(now.mono_us);
        Verdict::RestartAfter((DELAY_FIRST_US << doublings).min(DELAY_MAX_US))
    }

    /// A death that does not count: after a cancel, a time-out, `/fail` or an order.
    #[must_use]
    pub const fn pardoned(&self) -> Verdict {
        Verdict::RestartAfter(DELAY_FIRST_US)
    }

    /// Forgets every restart: somebody asked for the agent to be tried again.
    pub fn reset(&mut self) {
        self.recent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono_us: seconds * SECOND_US, wall_us: 0 }
    }

    #[test]
    fn the_wait_doubles_up_to_ten_seconds_and_then_the_budget_is_spent() {
        let mut budget = RestartBudget::new(9, 600 * SECOND_US);
        let waits: Vec<_> = (0..9).map(|_| budget.ask(at(1))).collect();
        let expected = [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000];
        assert_eq!(waits, expected.map(|ms| Verdict::RestartAfter(ms * 1_000)));
        assert_eq!(budget.ask(at(1)), Verdict::GiveUp);
    }

    #[test]
    fn restarts_leave_the_window_and_pardons_never_enter_it() {
        let mut budget = RestartBudget::new(2, 60 * SECOND_US);
        assert_eq!(budget.ask(at(0)), Verdict::RestartAfter(100_000));
        assert_eq!(budget.ask(at(30)), Verdict::RestartAfter(200_000));
        assert_eq!(budget.ask(at(59)), Verdict::GiveUp);
        assert_eq!(budget.pardoned(), Verdict::RestartAfter(100_000));
        assert_eq!(budget.ask(at(60)), Verdict::RestartAfter(200_000), "the first left the window");
    }
}
