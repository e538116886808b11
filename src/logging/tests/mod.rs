//! What a line holds, what is dropped and what is flushed.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use slog::{Level, Logger, debug, error, info, o, warn};

use super::{CHANNEL_LINES, start_to};
use crate::config::{LogConfig, LogFormat};

const JSON: LogConfig = LogConfig { level: Level::Info, format: LogFormat::Json };
const TEXT: LogConfig = LogConfig { level: Level::Debug, format: LogFormat::Text };

/// Keeps what is written, one entry per write.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes nothing until it is opened.
struct Stalled {
    opened: Receiver<()>,
    is_open: bool,
    kept: Kept,
}

impl Stalled {
    fn new(kept: Kept) -> (Self, SyncSender<()>) {
        let (open, opened) = sync_channel(1);
        (Self { opened, is_open: false, kept }, open)
    }
}

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_open {
            self.opened.recv().unwrap();
            self.is_open = true;
        }
        self.kept.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines(config: LogConfig, log: impl FnOnce(&Logger)) -> Vec<String> {
    let kept = Kept::default();
    let started = start_to(&config, kept.clone());
    log(&started.logger);
    drop(started.guard);
    let lines = kept.0.lock().unwrap().clone();
    assert!(lines.iter().all(|line| line.ends_with('\n') && line.matches('\n').count() == 1));
    lines
}

fn micros(line: &Value) -> i64 {
    let ts = line["ts"].as_str().unwrap();
    assert_eq!(ts.len(), "2026-11-22T17:06:09.612511Z".len(), "{ts}");
    assert!(ts.ends_with('Z'), "{ts}");
    ts.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros()
}

#[test]
fn a_line_is_an_object_that_begins_with_time_level_and_message() {
    let lines = lines(JSON, |log| {
        let child = log.new(o!("component" => "router", "trace_id" => "t-1"));
        warn!(child, "task_requeued"; "task_id" => "a \"quoted\"\nname", "attempt" => 3, "ok" => true,
            "latency_ms" => 1.5, "error" => None::<u32>);
    });
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    micros(&line);
    let places =
        ["\"ts\":", "\"level\":\"warning\"", "\"msg\":\"task_requeued\"", "\"component\":"]
            .map(|part| lines[0].find(part).unwrap());
    assert_eq!(places[0], 1);
    assert!(places.is_sorted(), "{}", lines[0]);
    assert_eq!(line["task_id"], "a \"quoted\"\nname");
    assert_eq!(line["attempt"], 3);
    assert_eq!(line["ok"], true);
    assert_eq!(line["latency_ms"], 1.5);
    assert_eq!(line["error"], Value::Null);
    assert_eq!(line["component"], "router");
    assert_eq!(line.as_object().unwrap().len(), 10);
}

#[test]
fn a_record_that_says_when_it_happened_is_believed() {
    let lines = lines(JSON, |log| {
        info!(log, "task_completed"; "task_id" => "t-1", "ts" => 1_i64, "attempt" => 1);
        info!(log, "task_completed"; "task_id" => "t-2");
    });
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(micros(&lines[0]), 1);
    assert!(micros(&lines[1]) > 1, "the other one was stamped when it was written");
}

#[test]
fn no_key_stands_twice_and_the_nearest_wins() {
    let lines = lines(JSON, |log| {
        let parent = log.new(o!("trace_id" => "parent", "component" => "parent"));
        let child = parent.new(o!("trace_id" => "child", "agent_id" => "child"));
        info!(child, "request"; "agent_id" => "record", "ts" => 1_i64, "level" => "x", "msg" => "y");
    });
    for key in ["ts", "level", "msg", "trace_id", "component", "agent_id"] {
        assert_eq!(lines[0].matches(&format!("\"{key}\":")).count(), 1, "{}", lines[0]);
    }
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["agent_id"], "record");
    assert_eq!(line["trace_id"], "child");
    assert_eq!(line["component"], "parent");
    assert_eq!(line["level"], "info");
    assert_eq!(line["msg"], "request");
    assert_eq!(micros(&line), 1);
}

#[test]
fn nested_values_stay_json() {
    // Without its feature `nested-values` slog-async panics on the caller's side here.
    let value = || slog::Serde(serde_json::json!({ "ids": [1, 2] }));
    let json = lines(JSON, |log| info!(log, "request"; "nested" => value()));
    assert!(json[0].contains("\"nested\":{\"ids\":[1,2]}"), "{}", json[0]);
    let text = lines(TEXT, |log| info!(log, "request"; "nested" => value()));
    assert!(text[0].contains("{\\\"ids\\\":[1,2]}"), "{}", text[0]);
}

#[test]
fn the_time_is_that_of_the_event() {
    let kept = Kept::default();
    let (stalled, open) = Stalled::new(kept.clone());
    let started = start_to(&JSON, stalled);
    info!(started.logger, "first");
    info!(started.logger, "second");
    let logged_by = super::shell::now_us();
    #[expect(clippy::disallowed_methods, reason = "the writer is to be late")]
    std::thread::sleep(Duration::from_millis(50));
    open.send(()).unwrap();
    drop(started.guard);
    for line in kept.0.lock().unwrap().iter() {
        assert!(micros(&serde_json::from_str(line).unwrap()) <= logged_by, "{line}");
    }
}

#[test]
fn a_full_channel_drops_and_says_how_many() {
    const LINES: usize = CHANNEL_LINES + 1000;
    let kept = Kept::default();
    let (stalled, open) = Stalled::new(kept.clone());
    let started = start_to(&JSON, stalled);
    let log = started.logger.new(o!("trace_id" => "innocent"));
    for number in 0..LINES {
        info!(log, "request"; "number" => number);
    }
    open.send(()).unwrap();
    drop(started.guard);
    let lines = kept.0.lock().unwrap().clone();
    let parsed = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    let (reports, written): (Vec<Value>, Vec<Value>) =
        lines.iter().map(parsed).partition(|line| line["msg"] == "log_lines_dropped");
    let dropped: u64 = reports.iter().map(|line| line["dropped"].as_u64().unwrap()).sum();
    assert!(dropped > 0);
    assert_eq!(written.len() + usize::try_from(dropped).unwrap(), LINES);
    assert_eq!(reports[0]["level"], "warning");
    assert_eq!(reports[0]["trace_id"], Value::Null);
}

#[test]
fn a_level_below_the_configured_one_costs_no_line() {
    let config = LogConfig { level: Level::Warning, ..JSON };
    let lines = lines(config, |log| {
        info!(log, "no"; "value" => slog::FnValue(|_| -> u8 { panic!("it was asked for") }));
        debug!(log, "no");
        warn!(log, "yes");
        error!(log, "yes");
        slog::crit!(log, "yes");
    });
    assert_eq!(lines.len(), 3);
    assert!(lines[2].contains("\"level\":\"critical\""), "{}", lines[2]);
}

#[test]
fn the_guard_flushes_and_later_lines_do_no_harm() {
    let kept = Kept::default();
    let started = start_to(&JSON, kept.clone());
    for _ in 0..1000 {
        info!(started.logger, "request");
    }
    drop(started.guard);
    assert_eq!(kept.0.lock().unwrap().len(), 1000);
    info!(started.logger, "late");
    assert_eq!(kept.0.lock().unwrap().len(), 1000);
}

#[test]
fn the_end_does_not_wait_for_a_reader_that_stopped() {
    let (stalled, open) = Stalled::new(Kept::default());
    let mut started = start_to(&JSON, stalled);
    started.guard.wait_max = Duration::from_millis(20);
    for _ in 0..2 * CHANNEL_LINES {
        info!(started.logger, "request");
    }
    drop(started.guard);
    open.send(()).unwrap();
}

#[test]
fn text_is_for_people() {
    let lines = lines(TEXT, |log| {
        let child = log.new(o!("component" => "router"));
        debug!(child, "a \"b\"\nc"; "task_id" => "t-1", "why" => "two words", "empty" => "",
            "n" => 3, "none" => None::<u8>);
    });
    let (ts, rest) = lines[0].split_once(' ').unwrap();
    assert!(ts.ends_with('Z'), "{ts}");
    assert_eq!(
        rest,
        "debug a \"b\"\\nc component=router task_id=t-1 why=\"two words\" empty=\"\" n=3 none=null\n"
    );
}
