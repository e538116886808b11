//! The caller's side: takes the time, unless the record says when its event happened, and hands the
//! record over, or counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use slog::{BorrowedKV, Drain, Never, OwnedKVList, Record, RecordStatic, SingleKV};
use slog_async::{AsyncCore, AsyncError};

use super::line::time_in;

/// The key of the time; on the way to the thread it holds microseconds since the Unix epoch.
pub(super) const TS: &str = "ts";

/// Hands records to the log's thread and never waits for it.
pub(super) struct Shell {
    core: AsyncCore,
    /// Lines lost since the thread last said so; shared with it.
    dropped: Arc<AtomicU64>,
}

impl Shell {
    pub(super) const fn new(core: AsyncCore, dropped: Arc<AtomicU64>) -> Self {
        Self { core, dropped }
    }
}

impl Drain for Shell {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let logged = if says_when(record) {
            self.core.log(record, values)
        } else {
            let level = record.level();
            let same = RecordStatic { location: record.location(), level, tag: record.tag() };
            let pairs = (SingleKV(TS, now_us()), record.kv());
            self.core.log(&Record::new(&same, record.msg(), BorrowedKV(&pairs)), values)
        };
        match logged {
            Ok(()) => {}
            // After the guard is gone nobody is left to tell; counting does no harm.
            Err(AsyncError::Full | AsyncError::Fatal(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// Whether the record brings a time: what it is about happened before.
fn says_when(record: &Record<'_>) -> bool {
    matches!(time_in(record, &record.kv()), Ok(Some(_)))
}

/// Microseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the time of a line is no decision about tasks")]
pub(super) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
