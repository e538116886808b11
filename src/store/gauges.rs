//! How the store is, for whoever asks from another thread.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::StoreMetrics;

/// The newest figures. Each is right by itself; they are not read together.
#[derive(Debug)]
pub struct Gauges {
    min_free_mb: u64,
    file_bytes: AtomicU64,
    wal_bytes: AtomicU64,
    free_bytes: AtomicU64,
    under_way_bytes: AtomicU64,
    commits: AtomicU64,
    turns: AtomicU64,
    expired: AtomicU64,
}

impl Gauges {
    /// Nothing is known yet; there is room enough. Less than `min_free_mb` free is too little, 0
    /// never is.
    #[must_use]
    pub const fn new(min_free_mb: u64) -> Self {
        Self {
            min_free_mb,
            file_bytes: AtomicU64::new(0),
            wal_bytes: AtomicU64::new(0),
            free_bytes: AtomicU64::new(u64::MAX),
            under_way_bytes: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            expired: AtomicU64::new(0),
        }
    }

    /// How much must be free, in units of 2^20 bytes.
    #[must_use]
    pub const fn min_free_mb(&self) -> u64 {
        self.min_free_mb
    }

    /// Whether less than that is free, or will be when what is under way is on disk.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        let left_bytes = free_bytes.saturating_sub(self.under_way_bytes.load(Ordering::Relaxed));
        left_bytes < self.min_free_mb.saturating_mul(1 << 20)
    }

    /// The figures.
    #[must_use]
    pub fn read(&self) -> StoreMetrics {
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        StoreMetrics {
            file_bytes: self.file_bytes.load(Ordering::Relaxed),
            wal_bytes: self.wal_bytes.load(Ordering::Relaxed),
            free_bytes: if free_bytes == u64::MAX { 0 } else { free_bytes },
            commits: self.commits.load(Ordering::Relaxed),
            turns: self.turns.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
        }
    }

    /// Takes the sizes.
    pub fn set(&self, metrics: &StoreMetrics) {
        self.file_bytes.store(metrics.file_bytes, Ordering::Relaxed);
        self.wal_bytes.store(metrics.wal_bytes, Ordering::Relaxed);
        self.free_bytes.store(metrics.free_bytes, Ordering::Relaxed);
    }

    /// So much is on its way to the disk.
    pub(super) fn handed_over(&self, bytes: u64) {
        if bytes > 0 {
            self.under_way_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// So much of it has arrived, and the free bytes were measured since.
    pub(super) fn arrived(&self, bytes: u64) {
        if bytes > 0 {
            self.under_way_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// So many turns became durable with one commit.
    pub(super) fn committed(&self, turns: u64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.turns.fetch_add(turns, Ordering::Relaxed);
    }

    pub(super) fn expired(&self, tasks: u64) {
        self.expired.fetch_add(tasks, Ordering::Relaxed);
    }
}
