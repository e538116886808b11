//! A line for people: `ts level msg key=value ...`, the general pairs before the special ones.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use slog::{KV, Key, Record, SerdeValue, Serializer};

/// How many pairs stand without their keys at the begin of a line: time, level, message.
const BARE: usize = 3;

/// Writes one line.
pub(super) fn write_line(
    out: &mut impl Write,
    record: &Record<'_>,
    line: &dyn KV,
) -> io::Result<()> {
    let mut pairs = Pairs(Vec::with_capacity(16));
    line.serialize(record, &mut pairs)?;
    let bare = pairs.0.len().min(BARE);
    for (place, (_, value)) in pairs.0.iter().take(bare).enumerate() {
        let gap = if place == 0 { "" } else { " " };
        write!(out, "{gap}{}", one_line(value))?;
    }
    // slog gives the pairs last to first, the logger's own after the record's.
    for (key, value) in pairs.0.iter().skip(bare).rev() {
        if is_plain(value) {
            write!(out, " {key}={value}")?;
        } else {
            write!(out, " {key}={value:?}")?;
        }
    }
    writeln!(out)
}

/// A message may quote what came from outside; that must not look like another line of the log.
fn one_line(value: &str) -> Cow<'_, str> {
    if !value.contains(char::is_control) {
        return Cow::Borrowed(value);
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    Cow::Owned(value.chars().map(escape).collect())
}

fn is_plain(value: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=';
    !value.is_empty() && value.chars().all(plain)
}

/// Every pair in its text form.
struct Pairs(Vec<(Key, String)>);

impl Serializer for Pairs {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.0.push((key, value.to_string()));
        Ok(())
    }

    fn emit_none(&mut self, key: Key) -> slog::Result {
        self.0.push((key, "null".to_owned()));
        Ok(())
    }

    fn emit_unit(&mut self, key: Key) -> slog::Result {
        self.emit_none(key)
    }

    fn emit_serde(&mut self, key: Key, value: &dyn SerdeValue) -> slog::Result {
        let json = serde_json::to_string(value.as_serde()).map_err(io::Error::from)?;
        self.0.push((key, json));
        Ok(())
    }
}
