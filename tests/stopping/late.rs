//! How late everything on this machine is: the bound of a stop is about what the daemon does, and a
//! machine that does not let it run is no fault of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::super::os::{let_pass, now};

/// How long each look at the clock pauses.
const PAUSE: Duration = Duration::from_millis(5);
/// What is no lateness yet.
const USUAL: Duration = Duration::from_millis(5);

/// Measures, for as long as it lives, by how much a thread that sleeps is woken too late.
pub(crate) struct Lateness {
    late_us: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lateness {
    pub(crate) fn measure() -> Self {
        let (late_us, done) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (sum, over) = (Arc::clone(&late_us), Arc::clone(&done));
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Acquire) {
                let begun = now();
                let_pass(PAUSE);
                let late = begun.elapsed().saturating_sub(PAUSE + USUAL);
                sum.fetch_add(late.as_micros() as u64, Ordering::AcqRel);
            }
        });
        Self { late_us, done, thread: Some(thread) }
    }

    /// The time in which a thread that wanted to run could not, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.late_us.load(Ordering::Acquire) as f64 / 1e6
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
