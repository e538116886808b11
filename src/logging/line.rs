//! The pairs of one line: `ts`, `level`, `msg`, then the record's, then its logger's, and no key
//! twice.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use slog::{KV, Key, OwnedKVList, Record, SerdeValue, Serializer};

use super::shell::{TS, now_us};
use crate::config::LogConfig;

/// All that one line shows, in its order.
pub(super) struct Line<'a> {
    /// The pairs of the logger and of those that it was made from.
    pub(super) values: &'a OwnedKVList,
    /// The pairs of the record.
    pub(super) pairs: &'a dyn KV,
}

impl KV for Line<'_> {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let time_us = time_in(record, self.pairs)?.unwrap_or_else(now_us);
        let mut once = Once { inner: serializer, seen: Vec::with_capacity(16) };
        once.emit_str(TS, &rfc3339(time_us))?;
        once.emit_str("level", LogConfig::level_name(record.level()))?;
        once.emit_arguments("msg", record.msg())?;
        self.pairs.serialize(record, &mut once)?;
        self.values.serialize(record, &mut once)
    }
}

fn rfc3339(us: i64) -> String {
    let time = DateTime::from_timestamp_micros(us).unwrap_or(DateTime::UNIX_EPOCH);
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The time that is among these pairs, in microseconds since the Unix epoch.
pub(super) fn time_in(record: &Record<'_>, pairs: &dyn KV) -> Result<Option<i64>, slog::Error> {
    let mut found = FindTime(None);
    pairs.serialize(record, &mut found)?;
    Ok(found.0)
}

/// Looks for a time.
struct FindTime(Option<i64>);

impl Serializer for FindTime {
    fn emit_arguments(&mut self, _key: Key, _value: &fmt::Arguments<'_>) -> slog::Result {
        Ok(())
    }

    fn emit_i64(&mut self, key: Key, value: i64) -> slog::Result {
        if key == TS && self.0.is_none() {
            self.0 = Some(value);
        }
        Ok(())
    }

    fn emit_serde(&mut self, _key: Key, _value: &dyn SerdeValue) -> slog::Result {
        Ok(())
    }
}

/// Passes on the first pair of each key.
struct Once<'a> {
    inner: &'a mut dyn Serializer,
    seen: Vec<Key>,
}

impl Once<'_> {
    fn is_new(&mut self, key: Key) -> bool {
        let is_new = !self.seen.contains(&key);
        if is_new {
            self.seen.push(key);
        }
        is_new
    }
}

macro_rules! pass_on {
    ($($emit:ident: $value:ty),* $(,)?) => {
        $(fn $emit(&mut self, key: Key, value: $value) -> slog::Result {
            if self.is_new(key) { self.inner.$emit(key, value) } else { Ok(()) }
        })*
    };
}

impl Serializer for Once<'_> {
    pass_on! {
        emit_arguments: &fmt::Arguments<'_>,
        emit_bool: bool,
        emit_char: char,
        emit_f32: f32,
        emit_f64: f64,
        emit_i8: i8,
        emit_i16: i16,
        emit_i32: i32,
        emit_i64: i64,
        emit_i128: i128,
        emit_isize: isize,
        emit_serde: &dyn SerdeValue,
        emit_str: &str,
        emit_u8: u8,
        emit_u16: u16,
        emit_u32: u32,
        emit_u64: u64,
        emit_u128: u128,
        emit_usize: usize,
    }

    fn emit_unit(&mut self, key: Key) -> slog::Result {
        if self.is_new(key) { self.inner.emit_unit(key) } else { Ok(()) }
    }

    fn emit_none(&mut self, key: Key) -> slog::Result {
        if self.is_new(key) { self.inner.emit_none(key) } else { Ok(()) }
    }
}
