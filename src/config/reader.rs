//! Typed reads of single keys. Each checks its range and says what is allowed.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Value;

use super::error::{ConfigError, Place};
use super::layers::{LISTS, Setting, Settings};
use crate::domain::TaskType;

/// Reads keys from the settings and remembers which were asked for: all others do not exist.
pub(super) struct Reader {
    settings: Settings,
    known: Vec<String>,
}

impl Reader {
    pub(super) const fn new(settings: Settings) -> Self {
        Self { settings, known: Vec::new() }
    }

    /// A whole number.
    pub(super) fn integer<T>(
        &mut self,
        key: &str,
        allowed: RangeInclusive<T>,
        default: T,
    ) -> Result<T, ConfigError>
    where
        T: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let Some(setting) = self.get(key) else { return Ok(default) };
        let (from, to) = (allowed.start(), allowed.end());
        let Value::Integer(found) = setting.value else {
            let problem = format!("must be a whole number between {from} and {to}");
            return Err(unfit(key, setting, &problem));
        };
        match T::try_from(found) {
            Ok(number) if allowed.contains(&number) => Ok(number),
            _ => Err(unfit(key, setting, &format!("must be between {from} and {to}"))),
        }
    }

    /// A time in seconds, with a fraction or without.
    pub(super) fn seconds(
        &mut self,
        key: &str,
        allowed: RangeInclusive<f64>,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        Ok(self.optional_seconds(key, allowed)?.unwrap_or(default))
    }

    /// A time in seconds that may be left out.
    pub(super) fn optional_seconds(
        &mut self,
        key: &str,
        allowed: RangeInclusive<f64>,
    ) -> Result<Option<Duration>, ConfigError> {
        let Some(setting) = self.get(key) else { return Ok(None) };
        let seconds = match &setting.value {
            Value::Float(seconds) => Some(*seconds),
            Value::Integer(seconds) => i32::try_from(*seconds).ok().map(f64::from),
            Value::String(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_)
            | Value::Table(_) => None,
        };
        match seconds {
            Some(seconds) if allowed.contains(&seconds) => {
                Ok(Some(Duration::from_secs_f64(seconds)))
            }
            _ => {
                let (from, to) = (allowed.start(), allowed.end());
                let problem = format!("must be between {from} and {to} (seconds)");
                Err(unfit(key, setting, &problem))
            }
        }
    }

    /// Yes or no.
    pub(super) fn boolean(&mut self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(key) {
            None => Ok(default),
            Some(Setting { value: Value::Boolean(found), .. }) => Ok(*found),
            Some(setting) => Err(unfit(key, setting, "must be true or false")),
        }
    }

    /// A text that `parse` understands; `allowed` says what that is.
    pub(super) fn text<T>(
        &mut self,
        key: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
        default: T,
    ) -> Result<T, ConfigError> {
        Ok(self.optional_text(key, allowed, parse)?.unwrap_or(default))
    }

    /// A text that may be left out.
    pub(super) fn optional_text<T>(
        &mut self,
        key: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(setting) = self.get(key) else { return Ok(None) };
        let parsed = setting.value.as_str().and_then(parse);
        parsed.map(Some).ok_or_else(|| unfit(key, setting, &format!("must be {allowed}")))
    }

    /// One word of a list.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &str,
        choices: &[T],
        name: impl Fn(T) -> &'static str,
        default: T,
    ) -> Result<T, ConfigError> {
        let allowed = format!("one of {}", quoted(choices.iter().map(|&choice| name(choice))));
        let parse = |text: &str| choices.iter().copied().find(|&choice| name(choice) == text);
        self.text(key, &allowed, parse, default)
    }

    /// A list of texts, each of which passes `check`; `allowed` says what that asks. Entries are
    /// never shown: a secret may have come among them.
    pub(super) fn list(
        &mut self,
        key: &str,
        allowed: &str,
        check: impl Fn(&str) -> bool,
        default: Vec<String>,
    ) -> Result<Vec<String>, ConfigError> {
        let check = |text: &str| check(text).then(|| text.to_owned());
        Ok(self.optional_list(key, allowed, check)?.unwrap_or(default))
    }

    /// A list of what `parse` understands, that may be left out.
    pub(super) fn optional_list<T>(
        &mut self,
        key: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        let Some(setting) = self.get(key) else { return Ok(None) };
        let Value::Array(list) = &setting.value else {
            return Err(bad(key, setting.at.clone(), format!("must be {allowed}")));
        };
        let one = |(place, value): (usize, &Value)| {
            let problem = || format!("must be {allowed}; entry {} is none", place + 1);
            let parsed = value.as_str().and_then(&parse);
            parsed.ok_or_else(|| bad(key, setting.at.clone(), problem()))
        };
        list.iter().enumerate().map(one).collect::<Result<_, _>>().map(Some)
    }

    /// A list of whole numbers in a range, that may be left out; `allowed` says what that asks.
    pub(super) fn integers<T>(
        &mut self,
        key: &str,
        allowed: &str,
        range: RangeInclusive<T>,
    ) -> Result<Option<Vec<T>>, ConfigError>
    where
        T: TryFrom<i64> + PartialOrd,
    {
        let Some(setting) = self.get(key) else { return Ok(None) };
        let number = |value: &Value| {
            let number = T::try_from(value.as_integer()?).ok()?;
            range.contains(&number).then_some(number)
        };
        let list = setting.value.as_array();
        let numbers = list.and_then(|list| list.iter().map(number).collect::<Option<_>>());
        numbers.map(Some).ok_or_else(|| unfit(key, setting, &format!("must be {allowed}")))
    }

    /// A table with names of the user's own, each entry turned by `entry` into what it means or
    /// the sentence that says why not. Values are never shown: they may be secrets.
    pub(super) fn table<T>(
        &mut self,
        key: &str,
        entry: impl Fn(&str, &Value) -> Result<T, String>,
    ) -> Result<BTreeMap<String, T>, ConfigError> {
        Ok(self.optional_table(key, entry)?.unwrap_or_default())
    }

    /// The same, told from an empty one when it was left out.
    pub(super) fn optional_table<T>(
        &mut self,
        key: &str,
        entry: impl Fn(&str, &Value) -> Result<T, String>,
    ) -> Result<Option<BTreeMap<String, T>>, ConfigError> {
        let Some(setting) = self.get(key) else { return Ok(None) };
        let Value::Table(table) = &setting.value else {
            let problem = "must be a table such as { name = \"value\" }".to_owned();
            return Err(bad(key, setting.at.clone(), problem));
        };
        let read = |(name, value): (&String, &Value)| match entry(name, value) {
            Ok(read) => Ok((name.clone(), read)),
            Err(problem) => Err(bad(&format!("{key}.{name}"), setting.at.clone(), problem)),
        };
        table.iter().map(read).collect::<Result<_, _>>().map(Some)
    }

    /// What was found for a key that an entry of a list must have; its place is the entry's.
    pub(super) fn required<T>(
        &self,
        key: &str,
        allowed: &str,
        found: Option<T>,
    ) -> Result<T, ConfigError> {
        let (entry, _) = key.rsplit_once('.').unwrap_or_default();
        let at = || self.place(entry).cloned().unwrap_or(Place::Default);
        found.ok_or_else(|| bad(key, at(), format!("is missing; it must be {allowed}")))
    }

    /// Refuses `key` unless `holds`; the place is the key's, else `other`'s, because one of the
    /// two was set.
    pub(super) fn check(
        &self,
        holds: bool,
        key: &str,
        other: &str,
        problem: String,
    ) -> Result<(), ConfigError> {
        if holds {
            return Ok(());
        }
        let at = self.place(key).or_else(|| self.place(other));
        Err(bad(key, at.cloned().unwrap_or(Place::Default), problem))
    }

    /// The refusal of `key` as it was set.
    pub(super) fn refusal(&self, key: &str, problem: String) -> ConfigError {
        bad(key, self.place(key).cloned().unwrap_or(Place::Default), problem)
    }

    /// Where `key` was set.
    pub(super) fn place(&self, key: &str) -> Option<&Place> {
        self.settings.get(key).map(|setting| &setting.at)
    }

    /// Refuses what was set but never asked for.
    pub(super) fn finish(&self) -> Result<(), ConfigError> {
        let unknown = |(key, setting): &(&String, &Setting)| {
            let is_empty = setting.value.as_table().is_some_and(toml::Table::is_empty);
            !(self.known.contains(key) || is_empty && self.is_section(key))
        };
        let line = |(_, setting): &(&String, &Setting)| match setting.at {
            Place::Line(_, line) => line,
            Place::Env(_) | Place::Flag(_) | Place::Default => usize::MAX,
        };
        match self.settings.iter().filter(unknown).min_by_key(line) {
            None => Ok(()),
            Some((key, setting)) => Err(ConfigError::UnknownKey {
                at: setting.at.clone(),
                key: key.clone(),
                allowed: self.allowed_instead_of(key, &setting.at),
            }),
        }
    }

    fn get(&mut self, key: &str) -> Option<&Setting> {
        self.known.push(key.to_owned());
        self.settings.get(key)
    }

    fn is_section(&self, key: &str) -> bool {
        self.known.iter().any(|known| known.strip_prefix(key).is_some_and(|k| k.starts_with('.')))
    }

    fn allowed_instead_of(&self, key: &str, at: &Place) -> String {
        let (top, _) = key.split_once('.').unwrap_or((key, ""));
        if LISTS.contains(&top) {
            return match at {
                Place::Env(_) => format!("[[{top}]] can be set in the file only"),
                Place::Line(..) | Place::Flag(_) | Place::Default => {
                    format!("every {top} begins with [[{top}]]")
                }
            };
        }
        if self.is_section(key) {
            return format!("{key} is a section, [{key}]");
        }
        let split =
            |known: &String| known.rsplit_once('.').map(|(s, k)| (s.to_owned(), k.to_owned()));
        let known: Vec<(String, String)> = self.known.iter().filter_map(split).collect();
        let (section, _) = key.rsplit_once('.').unwrap_or_default();
        let here: Vec<&str> =
            known.iter().filter(|(of, _)| of == section).map(|(_, name)| name.as_str()).collect();
        if !here.is_empty() {
            let header = match section.split_once('[') {
                Some((list, _)) => format!("[[{list}]]"),
                None => format!("[{section}]"),
            };
            return format!("{header} has {}", here.join(", "));
        }
        if key.starts_with("types.") {
            return format!("the task types are {}", TaskType::ALL.map(TaskType::name).join(", "));
        }
        let mut sections: Vec<&str> = known.iter().map(|(of, _)| of.as_str()).collect();
        sections.retain(|section| !section.contains(['.', '[']));
        sections.dedup();
        let lists = LISTS.map(|list| format!("[[{list}]]")).join(", ");
        format!("the sections are {}, types.<task type> and the lists {lists}", sections.join(", "))
    }
}

/// Words of a choice, as they are told.
pub(super) fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| format!("{word:?}")).collect();
    words.join(", ")
}

fn bad(key: &str, at: Place, problem: String) -> ConfigError {
    ConfigError::BadValue { at, key: key.to_owned(), problem }
}

fn unfit(key: &str, setting: &Setting, allowed: &str) -> ConfigError {
    bad(key, setting.at.clone(), format!("{allowed}, found {}", setting.value))
}
