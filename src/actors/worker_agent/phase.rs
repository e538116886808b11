//! How long a run may stay in one phase (rule 13): progress counts, and not the pulse alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::WorkerAgent;
use crate::actors::messages::PhaseOverdue;
use crate::worker::protocol::{Heartbeat, Phase};

/// How long phases may last, by their names; zero: for ever.
#[derive(Clone, Debug, Default)]
pub struct PhaseLimits(BTreeMap<String, Duration>);

impl PhaseLimits {
    /// The limits of these phases; of all others there are none.
    #[must_use]
    pub const fn new(limits: BTreeMap<String, Duration>) -> Self {
        Self(limits)
    }

    /// The limit of `phase`: its own, else that of its kind, which for `tool:fetch` is `tool`.
    fn of(&self, phase: &str) -> Option<Duration> {
        let kind = || self.0.get(phase.split_once(':')?.0);
        self.0.get(phase).or_else(kind).copied().filter(|limit| !limit.is_zero())
    }

    /// What is wrong with so many microseconds in `phase`, as a sentence.
    fn exceeded(&self, phase: &str, spent_us: u64) -> Option<String> {
        let limit = self.of(phase)?;
        let spent = Duration::from_micros(spent_us);
        (spent > limit).then(|| {
            let (spent_s, limit_s) = (spent.as_secs_f64(), limit.as_secs_f64());
            format!(
                "it was in phase {phase} for {spent_s:.1} s, and worker.phase_limit_s allows \
                 {limit_s} s for it"
            )
        })
    }
}

/// The present phase of a run, as far as the heartbeats tell.
#[derive(Debug)]
pub(super) struct RunPhase {
    name: String,
    begun_us: u64,
    /// No phase counts from earlier: the start of the run, or the daemon's last standstill. Whoever
    /// was in a phase then may have waited for the daemon.
    not_before_us: u64,
    standstills: u64,
    /// Whether it said anything else since the last heartbeat.
    moved: bool,
    /// Whether the Router was told that it takes too long.
    told: bool,
}

impl RunPhase {
    /// Of a run that begins now; nothing is known of it.
    pub(super) const fn unknown(now_us: u64, standstills: u64) -> Self {
        Self {
            name: String::new(),
            begun_us: now_us,
            not_before_us: now_us,
            standstills,
            moved: true,
            told: false,
        }
    }

    /// The worker said something that is no heartbeat.
    pub(super) const fn moves(&mut self) {
        self.moved = true;
    }

    /// Takes what a heartbeat says. A worker that gives no time is in a phase for as long as it
    /// names the same one and says nothing else.
    fn hear(&mut self, said: Phase, now_us: u64, standstills: u64) {
        if self.standstills != standstills {
            self.standstills = standstills;
            self.not_before_us = now_us;
        }
        let begun_us = match said.lasts {
            Some(lasts) => now_us.saturating_sub(micros(lasts)),
            None if said.name == self.name && !self.moved => self.begun_us,
            None => now_us,
        };
        self.begun_us = begun_us.max(self.not_before_us);
        self.name = said.name;
        self.moved = false;
    }
}

impl WorkerAgent {
    /// What a heartbeat says of the present run counts; of anything else, it is a sign of life.
    pub(super) fn hear_heartbeat(&mut self, heartbeat: Heartbeat) {
        let (now_us, standstills) = (self.clock.mono_us(), self.standstills());
        let Heartbeat { task_id, phase: Some(said) } = heartbeat else { return };
        let Some(run) = self.run.as_mut().filter(|run| Some(run.task_id) == task_id) else {
            return;
        };
        run.phase.hear(said, now_us, standstills);
        let RunPhase { name, begun_us, told, .. } = &mut run.phase;
        self.vital.is_in(name.clone(), *begun_us);
        let exceeded = self.settings.phase_limits.exceeded(name, now_us - *begun_us);
        if let Some(detail) = exceeded.filter(|_| !*told) {
            *told = true;
            let (id, incarnation) = (self.id, self.incarnation);
            let (task_id, attempt) = (run.task_id, run.attempt);
            self.router.do_send(PhaseOverdue { id, incarnation, task_id, attempt, detail });
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    fn said(name: &str, seconds: Option<f64>) -> Phase {
        Phase { name: name.to_owned(), lasts: seconds.map(Duration::from_secs_f64) }
    }

    /// For how many seconds the run is in its phase after each of these heartbeats, five seconds
    /// apart.
    fn heard(phase: &mut RunPhase, beats: impl IntoIterator<Item = Phase>) -> Vec<u64> {
        let mut now_us = phase.not_before_us;
        let mut spent = Vec::new();
        for said in beats {
            now_us += 5 * SECOND_US;
            phase.hear(said, now_us, 0);
            spent.push((now_us - phase.begun_us) / SECOND_US);
        }
        spent
    }

    #[test]
    fn the_more_exact_limit_wins() {
        let limit = |name: &str, seconds| (name.to_owned(), Duration::from_secs(seconds));
        let limits = PhaseLimits::new(BTreeMap::from([
            limit("model", 600),
            limit("tool", 60),
            limit("tool:fetch", 5),
            limit("tool:sleep", 0),
            limit("scan", 7),
        ]));
        let of = |phase| limits.of(phase).map(|limit| limit.as_secs());
        assert_eq!(of("model"), Some(600));
        assert_eq!(of("tool:fetch"), Some(5));
        assert_eq!(of("tool:other"), Some(60));
        assert_eq!(of("tool"), Some(60));
        assert_eq!(of("tool:sleep"), None, "this one may take as long as it likes");
        assert_eq!(of("scan"), Some(7));
        for phase in ["agent", "models", "tools:x", ":", ""] {
            assert_eq!(of(phase), None, "{phase}");
        }
    }

    #[test]
    fn what_goes_beyond_its_limit_is_told_in_a_sentence() {
        let limits = BTreeMap::from([("tool".to_owned(), Duration::from_secs(60))]);
        let limits = PhaseLimits::new(limits);
        assert_eq!(limits.exceeded("tool:fetch", 60 * SECOND_US), None);
        assert_eq!(
            limits.exceeded("tool:fetch", 61_240_000).as_deref(),
            Some(
                "it was in phase tool:fetch for 61.2 s, and worker.phase_limit_s allows 60 s for it"
            )
        );
        assert_eq!(limits.exceeded("model", u64::MAX), None);
    }

    #[test]
    fn the_worker_knows_best_how_long_it_is_in_a_phase() {
        let mut phase = RunPhase::unknown(100 * SECOND_US, 0);
        // It calls the same tool again and again.
        let beats =
            [said("tool:x", Some(0.5)), said("tool:x", Some(1.0)), said("tool:x", Some(6.0))];
        assert_eq!(heard(&mut phase, beats), [0, 1, 6]);
    }

    #[test]
    fn no_phase_is_older_than_its_run() {
        let mut phase = RunPhase::unknown(100 * SECOND_US, 0);
        let beats = [said("agent", Some(1e9)), said("agent", Some(f64::from(u32::MAX)))];
        assert_eq!(heard(&mut phase, beats), [5, 10]);
    }

    #[test]
    fn a_worker_that_gives_no_time_is_in_a_phase_while_it_says_nothing_else() {
        let mut phase = RunPhase::unknown(0, 0);
        let beats = || ["a", "a", "a", "b", "b"].map(|name| said(name, None));
        assert_eq!(heard(&mut phase, beats()), [0, 5, 10, 0, 5]);
        phase.moves();
        phase.hear(said("b", None), 60 * SECOND_US, 0);
        assert_eq!(phase.begun_us, 60 * SECOND_US);
    }

    #[test]
    fn a_standstill_of_the_daemon_is_not_held_against_a_phase() {
        let mut phase = RunPhase::unknown(0, 0);
        phase.hear(said("tool:x", Some(4.0)), 5 * SECOND_US, 0);
        // The daemon stood still for an hour, and reads what was said meanwhile.
        let now_us = 3_600 * SECOND_US;
        for lasts in [9.0, 14.0, 3_599.0] {
            phase.hear(said("tool:x", Some(lasts)), now_us, 1);
            assert_eq!(phase.begun_us, now_us);
        }
        phase.hear(said("tool:x", Some(3_604.0)), now_us + 5 * SECOND_US, 1);
        assert_eq!(phase.begun_us, now_us);
    }
}
