//! The daemon's log, as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::Value;

/// Every line that the daemon wrote to stderr so far.
#[derive(Clone, Default)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<Value>>>,
    over: Arc<AtomicBool>,
    /// Whether only the last lines are kept.
    brief: Arc<AtomicBool>,
}

/// How many lines are kept of a log of which only the end is.
const END: usize = 200;

impl Log {
    /// Follows `stderr` until its end.
    pub(crate) fn follow(stderr: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let follower = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // A line that is no JSON is the last word of a program that could not start.
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                let brief = follower.brief.load(Ordering::Acquire);
                if brief && line["msg"] == "request" {
                    continue;
                }
                let mut lines = follower.lock();
                lines.push(line);
                if brief && lines.len() > 2 * END {
                    lines.drain(..END);
                }
            }
            follower.over.store(true, Ordering::Release);
        });
        log
    }

    /// From here on only the last lines but requests are kept, which is enough for the message of a
    /// test that runs for an hour.
    #[allow(dead_code, reason = "not every file of tests does it")]
    pub(crate) fn keep_the_end(&self) {
        self.brief.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Value>> {
        self.lines.lock().expect("nobody panics with the log in hands")
    }

    /// Whether nothing can come any more: everybody who could write has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The lines with this message, oldest first.
    pub(crate) fn of(&self, msg: &str) -> Vec<Value> {
        self.lock().iter().filter(|line| line["msg"] == msg).cloned().collect()
    }

    /// Where the first line stands that `wanted` says yes to.
    pub(crate) fn position(&self, wanted: impl Fn(&Value) -> bool) -> Option<usize> {
        self.lock().iter().position(wanted)
    }

    /// The line at a position.
    pub(crate) fn nth(&self, position: usize) -> Value {
        self.lock()[position].clone()
    }

    /// The last lines, for the message of a failed test.
    pub(crate) fn tail(&self) -> String {
        let lines = self.lock();
        let lines: Vec<_> = lines.iter().filter(|line| line["msg"] != "request").collect();
        let from = lines.len().saturating_sub(60);
        lines[from..].iter().map(|line| format!("{line}\n")).collect()
    }
}
