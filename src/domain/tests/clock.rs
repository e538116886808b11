//! The clock that is turned by hand.

use super::world::{World, seconds};
use super::{deadlines, gating};
use crate::domain::Now;

impl World {
    /// Time passes, and whatever is due on the way happens when it is due.
    pub(super) fn pass(&mut self, s: f64) {
        self.effects.clear();
        self.pass_until(self.now.mono_us + seconds(s));
    }

    pub(super) fn pass_until(&mut self, until: u64) {
        while let Some(due) = self.scheduler.next_timeout().filter(|&due| due <= until) {
            self.turn_to(due.max(self.now.mono_us));
            self.step(|s, now, fx| {
                s.handle_timeout(now, fx);
                deadlines::nothing_due_is_left(s, now);
            });
            gating::nobody_waited_too_long(self);
        }
        self.turn_to(until);
    }

    /// The daemon stands still for so long and then says so.
    pub(super) fn stand_still(&mut self, s: f64) {
        self.turn_to(self.now.mono_us + seconds(s));
        self.stood_still_us += seconds(s);
        self.call(|scheduler, now, _| scheduler.resume(seconds(s), now));
    }

    fn turn_to(&mut self, mono_us: u64) {
        let passed = mono_us - self.now.mono_us;
        self.now = Now { mono_us, wall_us: self.now.wall_us + passed };
    }
}
