//! The keys of `[[schedule]]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::DateTime;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::build::HOUR_S;
use super::entries::{entries, task_type};
use super::error::ConfigError;
use super::reader::Reader;
use super::span;
use super::worker::json;
use crate::domain::{Json, Overlap, Priority, ScheduleSpec, When};

const SCHEDULES_MAX: usize = 256;

const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3650 * 86_400);
const EVERY_TEXT: &str = "a time such as \"30s\", \"15m\", \"12h\" or \"7d\" between 1s and 3650d";
const CRON_TEXT: &str =
    "5 fields, \"minute hour day month weekday\", or 6 with the seconds before them";

/// Every `[[schedule]]`. A payload can be as long as that of a request.
pub(super) fn schedules(
    reader: &mut Reader,
    max_payload_bytes: usize,
) -> Result<Vec<ScheduleSpec>, ConfigError> {
    entries(reader, "schedule", SCHEDULES_MAX, |reader, section, name| {
        let key = |name: &str| format!("{section}.{name}");
        let when = when(reader, section)?;
        Ok(ScheduleSpec {
            name: name.into(),
            task_type: task_type(reader, &key("task_type"), None)?,
            payload: payload(reader, &key("payload"), max_payload_bytes)?,
            priority: priority(reader, &key("priority"))?,
            overlap: reader.choice(
                &key("overlap"),
                &Overlap::ALL,
                Overlap::name,
                Overlap::default(),
            )?,
            jitter_us: jitter_us(reader, section, &when)?,
            when,
        })
    })
}

fn when(reader: &mut Reader, section: &str) -> Result<When, ConfigError> {
    let (every_key, cron_key) = (format!("{section}.every"), format!("{section}.cron"));
    let every = |text: &str| span::parse(text).filter(|span| EVERY.contains(span));
    let every = reader.optional_text(&every_key, EVERY_TEXT, every)?;
    let cron = reader.optional_text(&cron_key, CRON_TEXT, |text| Some(text.to_owned()))?;
    match (every, cron) {
        (Some(_), Some(_)) => {
            let problem = "cannot stand beside every; one of the two says when".to_owned();
            Err(reader.refusal(&cron_key, problem))
        }
        (None, Some(text)) => {
            let cron = parse_cron(&text).map_err(|problem| reader.refusal(&cron_key, problem))?;
            Ok(When::Cron(Box::new(cron)))
        }
        (every, None) => {
            let allowed = format!("{EVERY_TEXT}, or cron must say when");
            Ok(When::Every(micros(reader.required(&every_key, &allowed, every)?)))
        }
    }
}

fn parse_cron(text: &str) -> Result<Cron, String> {
    let unfit = |reason: &str| {
        let reason = reason.trim_end_matches('.');
        format!("must be {CRON_TEXT}, found {text:?}: {reason}")
    };
    // The parser takes a field of nothing, and then looks for a minute through thousands of years.
    if text.split_whitespace().flat_map(|field| field.split(',')).any(str::is_empty) {
        return Err(unfit("a comma stands between two numbers"));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let cron = parser.parse(text).map_err(|error| match error {
        CronError::InvalidPattern(reason)
        | CronError::IllegalCharacters(reason)
        | CronError::ComponentError(reason) => unfit(&reason),
        CronError::EmptyPattern
        | CronError::InvalidDate
        | CronError::InvalidTime
        | CronError::TimeSearchLimitExceeded => unfit(&error.to_string()),
    })?;
    // No field names a year: what matches at all does so again and again, after any time.
    let next = cron.find_next_occurrence(&DateTime::UNIX_EPOCH, true);
    next.map_err(|_| format!("must match some time, and {text:?} never does"))?;
    Ok(cron)
}

fn payload(reader: &mut Reader, key: &str, max_bytes: usize) -> Result<Json, ConfigError> {
    let table = reader.table(key, |_, value| json(value))?;
    let object = Value::Object(table.into_iter().collect());
    let payload = to_raw_value(&object).and_then(Json::checked).map_err(|error| {
        reader.refusal(key, format!("must be a table that is JSON, too: {error}"))
    })?;
    let found = payload.as_str().len();
    let problem =
        format!("must be at most http.max_body_bytes ({max_bytes}) long as JSON, found {found}");
    reader.check(found <= max_bytes, key, key, problem)?;
    Ok(payload)
}

fn priority(reader: &mut Reader, key: &str) -> Result<Priority, ConfigError> {
    let number = reader.integer(key, Priority::MIN..=Priority::MAX, 0)?;
    Ok(Priority::new(number).unwrap_or_default())
}

/// A run may be late, but never so late that it is the next one's turn.
fn jitter_us(reader: &mut Reader, section: &str, when: &When) -> Result<u64, ConfigError> {
    let key = format!("{section}.jitter_s");
    let jitter = reader.seconds(&key, 0.0..=HOUR_S, Duration::ZERO)?;
    if let When::Every(every_us) = *when {
        let every = span::show(Duration::from_micros(every_us));
        let problem = format!("must be less than every ({every}), found {}", jitter.as_secs_f64());
        reader.check(micros(jitter) < every_us, &key, &key, problem)?;
    }
    Ok(micros(jitter))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
