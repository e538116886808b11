//! How late everything on this machine is: the bound of a stop is about what the daemon does, and a
//! machine that does not let it run is no fault of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::os::{let_pass, now};

/// How long each look at the clock pauses.
const PAUSE: Duration = Duration::from_millis(5);
/// What is no lateness yet.
const USUAL: Duration = Duration::from_millis(5);

/// Measures, for as long as it lives, by how much a thread that sleeps is woken too late.
pub(crate) struct Lateness {
    /// When it was late, and by how much: seconds since the Unix epoch, and seconds.
    late: Arc<Mutex<Vec<(f64, f64)>>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lateness {
    pub(crate) fn measure() -> Self {
        let (late, done) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (all, over) = (Arc::clone(&late), Arc::clone(&done));
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Acquire) {
                let begun = now();
                let_pass(PAUSE);
                let late = begun.elapsed().saturating_sub(PAUSE + USUAL);
                if !late.is_zero() {
                    all.lock().expect("nobody panics").push((epoch_s(), late.as_secs_f64()));
                }
            }
        });
        Self { late, done, thread: Some(thread) }
    }

    /// The time in which a thread that wanted to run between these two moments could not, in
    /// seconds; the moments are in seconds since the Unix epoch.
    pub(crate) fn seconds(&self, from: f64, to: f64) -> f64 {
        let late = self.late.lock().expect("nobody panics");
        late.iter().map(|(at, late)| (at.min(to) - (at - late).max(from)).max(0.0)).sum()
    }
}

#[expect(clippy::disallowed_methods, reason = "the daemon tells the times of a stop by this clock")]
fn epoch_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64()
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
