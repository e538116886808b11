//! Single values of bodies and queries, turned into what the domain takes. What is not allowed is
//! refused with its name, what would be allowed, and what was found.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use serde_json::value::RawValue;

use super::problem::Problem;
use crate::domain::{Attempt, Incarnation, Json, TaskType, TaskTypes};

/// How much of a wrong value is shown.
const SHOWN_CHARS: usize = 60;
/// From here on not every integer is a number of 64 bits with a fraction.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// The problem of a value that is not allowed.
pub(super) fn not_allowed(name: &str, allowed: impl fmt::Display, found: &str) -> Problem {
    let mut shown: String = found.chars().take(SHOWN_CHARS).collect();
    if shown.len() < found.len() {
        shown.push_str("...");
    }
    Problem::invalid(format!("`{name}` must be {allowed}, found {shown}"))
}

/// The problem of a value that is needed and absent.
pub(super) fn missing(name: &str, allowed: impl fmt::Display) -> Problem {
    Problem::invalid(format!("`{name}` is missing; it must be {allowed}"))
}

/// An integer of `range`. As in JSON Schema, `4.0` is one.
pub(super) fn integer(name: &str, text: &str, range: RangeInclusive<i64>) -> Result<i64, Problem> {
    let whole = |number: &f64| number.fract() == 0.0 && number.abs() < EXACT_FLOAT;
    let number = text.parse().ok().or_else(|| {
        let float = text.parse().ok().filter(whole);
        float.map(|float| float as i64)
    });
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let allowed = format_args!("an integer from {} to {}", range.start(), range.end());
        not_allowed(name, allowed, text)
    })
}

/// A number of `range`.
pub(super) fn number(name: &str, text: &str, range: RangeInclusive<f64>) -> Result<f64, Problem> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let allowed = format_args!("a number from {} to {}", range.start(), range.end());
        not_allowed(name, allowed, text)
    })
}

/// A number above zero and at most `most`, in microseconds when it was seconds.
pub(super) fn positive_us(name: &str, text: &str, most: u32) -> Result<u64, Problem> {
    let fits = |&seconds: &f64| seconds > 0.0 && seconds <= f64::from(most);
    let seconds = text.parse().ok().filter(fits).ok_or_else(|| {
        not_allowed(name, format_args!("a number above 0 and at most {most}"), text)
    })?;
    Ok(micros(seconds).max(1))
}

/// Seconds as microseconds.
pub(super) fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

/// `true` or `false`.
pub(super) fn boolean(name: &str, text: &str) -> Result<bool, Problem> {
    match text {
        "true" | "True" | "1" => Ok(true),
        "false" | "False" | "0" => Ok(false),
        _ => Err(not_allowed(name, "true or false", text)),
    }
}

/// The number of an attempt.
pub(super) fn attempt(text: &str) -> Result<Attempt, Problem> {
    counter("attempt", text).map(Attempt::new)
}

/// The number of an incarnation.
pub(super) fn incarnation(text: &str) -> Result<Incarnation, Problem> {
    counter("incarnation", text).map(Incarnation::new)
}

fn counter(name: &str, text: &str) -> Result<u32, Problem> {
    let number = integer(name, text, 1..=i64::from(u32::MAX))?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A string of a body.
pub(super) fn string<'a>(name: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, Problem> {
    let quoted = raw.get();
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner.filter(|inner| !inner.contains('\\')) {
        Some(inner) => Ok(Cow::Borrowed(inner)),
        None => serde_json::from_str::<String>(quoted)
            .map(Cow::Owned)
            .map_err(|_| not_allowed(name, "a string", quoted)),
    }
}

/// The type of this name.
pub(super) fn task_type(name: &str, text: &str) -> Result<TaskType, Problem> {
    let allowed = format_args!("one of {}", Names(TaskType::ALL.map(TaskType::name)));
    TaskType::parse(text).ok_or_else(|| not_allowed(name, allowed, text))
}

/// A set of types, as a list of their names.
pub(super) fn task_types(name: &str, raw: &RawValue) -> Result<TaskTypes, Problem> {
    let names = serde_json::from_str::<Vec<String>>(raw.get()).ok();
    let types = names.filter(|names| !names.is_empty()).and_then(|names| {
        names.iter().map(|name| TaskType::parse(name)).collect::<Option<TaskTypes>>()
    });
    let known = Names(TaskType::ALL.map(TaskType::name));
    let allowed = format_args!("a list of one or more of {known}");
    types.ok_or_else(|| not_allowed(name, allowed, raw.get()))
}

/// Names as a list for a person.
pub(super) struct Names<const N: usize>(pub(super) [&'static str; N]);

impl<const N: usize> fmt::Display for Names<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

/// Any JSON that every reader can take.
pub(super) fn json(name: &str, raw: &RawValue) -> Result<Json, Problem> {
    Json::checked(raw.to_owned()).map_err(|error| {
        let detail = format!("`{name}` must be JSON that every reader can take: {error}");
        Problem::invalid(detail)
    })
}

/// A JSON object that every reader can take.
pub(super) fn object(name: &str, raw: &RawValue) -> Result<Json, Problem> {
    if raw.get().starts_with('{') {
        json(name, raw)
    } else {
        Err(not_allowed(name, "a JSON object", raw.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_of_the_range_is_taken_and_nothing_else() {
        for (text, number) in [("1", 1), ("16", 16), ("4.0", 4), ("1e1", 10)] {
            assert_eq!(integer("size", text, 1..=16), Ok(number));
        }
        for bad in ["0", "-1", "17", "1.5", "\"4\"", "x", "true", "null", "", "1e99", "NaN", " 4"] {
            let problem = integer("size", bad, 1..=16).unwrap_err().to_string();
            assert!(problem.contains("`size` must be an integer from 1 to 16"), "{problem}");
        }
    }

    #[test]
    fn a_number_of_the_range_is_taken_and_nothing_else() {
        assert_eq!(number("wait_s", "0", 0.0..=60.0), Ok(0.0));
        assert_eq!(number("wait_s", "60", 0.0..=60.0), Ok(60.0));
        for bad in ["-0.1", "60.001", "NaN", "inf", "", "\"1\"", "ten"] {
            assert!(number("wait_s", bad, 0.0..=60.0).is_err(), "{bad}");
        }
        assert_eq!(positive_us("timeout_s", "0.5", 10), Ok(500_000));
        assert_eq!(positive_us("timeout_s", "1e-9", 10), Ok(1));
        for bad in ["0", "-1", "10.1", "NaN", "inf"] {
            assert!(positive_us("timeout_s", bad, 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_string_may_have_escapes() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(string("kind", &raw(r#""external""#)).unwrap(), "external");
        assert_eq!(string("kind", &raw(r#""ext\u0065rnal""#)).unwrap(), "external");
        for bad in ["1", "null", "[]", r#""\ud800""#] {
            assert!(string("kind", &raw(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_of_types_has_at_least_one_and_knows_them_all() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let types = task_types("task_types", &raw(r#"["ingest", "research", "ingest"]"#)).unwrap();
        assert_eq!(types.iter().collect::<Vec<_>>(), [TaskType::Ingest, TaskType::Research]);
        for bad in ["[]", r#"["nope"]"#, r#""ingest""#, "[1]", "{}"] {
            let problem = task_types("task_types", &raw(bad)).unwrap_err().to_string();
            assert!(problem.contains("discovery, migration, heartbeat, ingest"), "{problem}");
        }
    }

    #[test]
    fn a_long_value_is_shown_in_part() {
        let problem = not_allowed("kind", "short", &"é".repeat(500)).to_string();
        assert!(problem.ends_with("..."));
        assert!(problem.chars().count() < 150);
    }
}
