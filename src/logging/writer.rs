//! The thread's side: makes a line of a record and writes it.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slog::{BorrowedKV, Drain, KV, Level, Never, OwnedKVList, Record, b, o};

use super::line::Line;
use super::text;
use crate::config::LogFormat;

/// Writes each record as one line in one write.
pub(super) struct Writer<W: Write> {
    format: LogFormat,
    /// Lines that the caller's side lost since the last report.
    dropped: Arc<AtomicU64>,
    out: RefCell<Out<W>>,
}

/// Where lines go, and the room in which one is made.
struct Out<W> {
    line: Vec<u8>,
    writer: W,
}

impl<W: Write> Writer<W> {
    pub(super) const fn new(format: LogFormat, writer: W, dropped: Arc<AtomicU64>) -> Self {
        Self { format, dropped, out: RefCell::new(Out { line: Vec::new(), writer }) }
    }

    /// Says how many lines were lost, if any.
    fn report_dropped(&self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let at = slog::record_static!(Level::Warning, "");
            let pairs = b!("component" => "logging", "dropped" => dropped);
            let args = format_args!("log_lines_dropped");
            self.write(&Record::new(&at, &args, pairs), &o!().into());
        }
    }

    /// Writes one line. What cannot be written is lost: there is no other place to say so.
    fn write(&self, record: &Record<'_>, values: &OwnedKVList) {
        let Out { line, writer } = &mut *self.out.borrow_mut();
        line.clear();
        let pairs = record.kv();
        let all = Line { values, pairs: &pairs };
        if self.form(line, record, &all).is_err() {
            line.clear();
            let reason = b!("log_error" => "a value of this line cannot be written");
            let shortened = Line { values: &o!().into(), pairs: &reason };
            if self.form(line, record, &shortened).is_err() {
                return;
            }
        }
        let _ = writer.write_all(line).and_then(|()| writer.flush());
    }

    fn form(&self, line: &mut Vec<u8>, record: &Record<'_>, all: &dyn KV) -> io::Result<()> {
        match self.format {
            LogFormat::Text => text::write_line(line, record, all),
            LogFormat::Json => {
                let at = slog::record_static!(record.level(), record.tag());
                let whole = Record::new(&at, record.msg(), BorrowedKV(all));
                slog_json::Json::new(line).build().log(&whole, &o!().into())
            }
        }
    }
}

impl<W: Write> Drain for Writer<W> {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        self.report_dropped();
        self.write(record, values);
        Ok(())
    }
}

impl<W: Write> Drop for Writer<W> {
    /// The log ends: what was lost since the last line is still said.
    fn drop(&mut self) {
        self.report_dropped();
    }
}
