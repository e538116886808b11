//! Logs: one line per event on stderr, written by a thread of its own.
//!
//! ```text
//! caller:  level filter -> time, if the record has none -> bounded channel (full: dropped and counted)
//! thread:  each key once -> JSON or text -> one write per line
//! ```
//!
//! A caller never waits. When lines had to be dropped, the next line that is written comes after
//! one that says how many.

mod line;
mod shell;
#[cfg(test)]
mod tests;
mod text;
mod writer;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use slog::{Drain, LevelFilter, Logger, o};
use slog_async::{AsyncCore, AsyncGuard};

use crate::config::LogConfig;

/// How many lines may wait for the writer.
pub const CHANNEL_LINES: usize = 8192;

/// How long the end waits for lines to be written: who reads them may have stopped for good.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// A running log.
#[must_use]
pub struct Started {
    /// The root of all loggers.
    pub logger: Logger,
    /// Writes what still waits when it is dropped; keep it until the end of `main`.
    pub guard: Guard,
}

/// Starts the log on stderr.
pub fn start(config: &LogConfig) -> Started {
    start_to(config, io::stderr())
}

/// Starts the log on any writer. It gets each line in one write.
pub fn start_to(config: &LogConfig, out: impl Write + Send + 'static) -> Started {
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = writer::Writer::new(config.format, out, Arc::clone(&dropped));
    let (core, flush) = AsyncCore::custom(writer)
        .chan_size(CHANNEL_LINES)
        .thread_name("log".to_owned())
        .build_with_guard();
    let shell = shell::Shell::new(core, dropped);
    let logger = Logger::root(LevelFilter::new(shell, config.level).fuse(), o!());
    Started { logger, guard: Guard { flush: Some(flush), wait_max: FLUSH_MAX } }
}

/// Writes what still waits when it is dropped. Lines that come later are lost.
#[must_use]
pub struct Guard {
    flush: Option<AsyncGuard>,
    wait_max: Duration,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(flush) = self.flush.take() else { return };
        let (done, written) = mpsc::channel();
        // A thread, because the flush waits without an end when nobody reads stderr any more.
        let spawned = thread::Builder::new().name("log-flush".to_owned()).spawn(move || {
            drop(flush);
            let _ = done.send(());
        });
        if spawned.is_ok() {
            let _ = written.recv_timeout(self.wait_max);
        }
    }
}
