//! How long requests took, by what was asked and how it was answered. Kept without a lock, by all
//! worker threads together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use actix_web::http::{Method, StatusCode};

use crate::actors::clock;

/// The upper bounds of the buckets, each included, in microseconds: 0.1 ms to 1 min.
pub(super) const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000, 10_000_000, 60_000_000,
];
/// A bucket per bound, and one without.
pub(super) const BUCKETS: usize = BOUNDS_US.len() + 1;
/// The names of methods; whatever else is the last of these.
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "DELETE", "other"];
/// The names of classes of status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// What stands for the path where there is nothing.
const NOWHERE: &str = "none";

/// What the server measures of itself.
#[derive(Debug)]
pub(super) struct Meter {
    began_us: u64,
    routes: Mutex<Vec<Arc<RouteMeter>>>,
    nowhere: Arc<RouteMeter>,
}

/// The requests of one path of the table of routes.
#[derive(Debug)]
pub(super) struct RouteMeter {
    path: &'static str,
    /// Made when the first request of its kind has been answered: most never come.
    times: [[OnceLock<Box<Times>>; CLASSES.len()]; METHODS.len()],
}

#[derive(Debug, Default)]
struct Times {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// The requests of one kind so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    /// The path as in the table of routes.
    pub(super) route: &'static str,
    pub(super) method: &'static str,
    pub(super) class: &'static str,
    /// How many fell into each bucket, and into none before.
    pub(super) counts: [u64; BUCKETS],
    pub(super) sum_us: u64,
}

impl Meter {
    /// Nothing was asked yet.
    pub(super) fn new() -> Self {
        let nowhere = Arc::new(RouteMeter::new(NOWHERE));
        Self { began_us: clock::wall_us(), routes: Mutex::default(), nowhere }
    }

    /// When this began, in microseconds since the Unix epoch.
    pub(super) const fn began_us(&self) -> u64 {
        self.began_us
    }

    /// The meter of this path: the same one for all worker threads.
    pub(super) fn route(&self, path: &'static str) -> Arc<RouteMeter> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.iter().find(|route| route.path == path) {
            return Arc::clone(known);
        }
        routes.push(Arc::new(RouteMeter::new(path)));
        Arc::clone(&routes[routes.len() - 1])
    }

    /// The meter of what is no path.
    pub(super) fn nowhere(&self) -> &RouteMeter {
        &self.nowhere
    }

    /// Everything so far, in the order of the routes.
    pub(super) fn measured(&self) -> Vec<Measured> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.iter().chain([&self.nowhere]).flat_map(|route| route.measured()).collect()
    }
}

impl RouteMeter {
    fn new(path: &'static str) -> Self {
        Self { path, times: Default::default() }
    }

    /// Counts a request that was answered.
    pub(super) fn add(&self, method: &Method, status: StatusCode, took: Duration) {
        let known = METHODS.iter().position(|&name| name == method.as_str());
        let method = known.unwrap_or(METHODS.len() - 1);
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let times = self.times[method][class].get_or_init(Box::default);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|&bound| bound < us);
        times.counts[bucket].fetch_add(1, Ordering::Relaxed);
        times.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn measured(&self) -> Vec<Measured> {
        let mut all = Vec::new();
        for (method, classes) in METHODS.into_iter().zip(&self.times) {
            for (class, times) in CLASSES.into_iter().zip(classes) {
                let Some(times) = times.get() else { continue };
                let counts = times.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
                let sum_us = times.sum_us.load(Ordering::Relaxed);
                all.push(Measured { route: self.path, method, class, counts, sum_us });
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_path_method_and_class() {
        let meter = Meter::new();
        let (tasks, again) = (meter.route("/tasks"), meter.route("/tasks"));
        tasks.add(&Method::POST, StatusCode::OK, Duration::from_micros(100));
        again.add(&Method::POST, StatusCode::CREATED, Duration::from_micros(101));
        again.add(&Method::POST, StatusCode::CONFLICT, Duration::from_secs(61));
        meter.nowhere().add(&Method::TRACE, StatusCode::NOT_FOUND, Duration::ZERO);
        let measured = meter.measured();
        let names: Vec<_> = measured.iter().map(|m| (m.route, m.method, m.class)).collect();
        let expected =
            [("/tasks", "POST", "2xx"), ("/tasks", "POST", "4xx"), ("none", "other", "4xx")];
        assert_eq!(names, expected);
        assert_eq!((measured[0].counts[0], measured[0].counts[1], measured[0].sum_us), (1, 1, 201));
        assert_eq!(measured[1].counts[BUCKETS - 1], 1);
    }

    #[test]
    fn the_bounds_grow() {
        assert!(BOUNDS_US.is_sorted_by(|before, after| before < after));
    }
}
