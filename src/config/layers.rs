//! The layers of the configuration, laid over each other: every dotted key with the value that
//! wins and the place where it was set. Nothing is checked here but the syntax.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table, Value};

use super::error::{ConfigError, Place};
use super::{DEFAULT_FILE, Sources};

/// Keys whose value is a table with names of the user's own.
pub(super) const FREE_TABLES: [&str; 3] = ["worker.env", "worker.agent", "worker.phase_limit_s"];

/// Sections that stand in the file any number of times, each under `[[gate]]`. The first one's
/// keys are `gate[0].name` and so on; `gate[0]` itself is an empty table, with its place. Tables in
/// it are values.
pub(super) const LISTS: [&str; 3] = ["gate", "follow_up", "schedule"];

/// The value of one key.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// The value as it was written.
    pub(super) value: Value,
    /// Where.
    pub(super) at: Place,
}

/// Every key that was set, dotted.
pub(super) type Settings = BTreeMap<String, Setting>;

/// Reads the layers, the weakest first.
pub(super) fn collect(sources: &Sources) -> Result<Settings, ConfigError> {
    let mut settings = Settings::new();
    if let Some((path, text)) = read_file(sources.file.as_deref())? {
        add_file(&mut settings, &path, &text)?;
    }
    // Sorted, so that a table as a whole comes before its single entries.
    let mut env: Vec<_> = sources.env.iter().collect();
    env.sort();
    for (name, value) in env {
        add_variable(&mut settings, name, value);
    }
    if let Some(bind) = &sources.bind {
        let value = Value::String(bind.clone());
        settings.insert("http.bind".to_owned(), Setting { value, at: Place::Flag("--bind") });
    }
    Ok(settings)
}

fn read_file(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let path = named.unwrap_or_else(|| Path::new(DEFAULT_FILE));
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ConfigError::Read { path: path.to_owned(), cause }),
    }
}

fn add_file(settings: &mut Settings, path: &Path, text: &str) -> Result<(), ConfigError> {
    let place = |byte: usize| {
        let before = text.as_bytes().iter().take(byte);
        Place::Line(path.to_owned(), 1 + before.filter(|&&byte| byte == b'\n').count())
    };
    let syntax = |error: &toml::de::Error, fallback: usize| ConfigError::Syntax {
        at: place(error.span().map_or(fallback, |span| span.start)),
        problem: error.message().to_owned(),
    };
    let root = DeTable::parse(text).map_err(|error| syntax(&error, 0))?;
    let mut open = vec![(String::new(), root.into_inner())];
    while let Some((section, table)) = open.pop() {
        for (name, value) in table {
            let at = name.span().start;
            let key = dotted(&section, name.get_ref());
            let (span, value) = (value.span(), value.into_inner());
            match value {
                DeValue::Table(inner) if is_section(&section, &key, &inner) => {
                    open.push((key, inner));
                }
                DeValue::Array(entries) if is_list(&key, &entries) => {
                    for (index, entry) in entries.into_iter().enumerate() {
                        let at = place(entry.span().start);
                        let DeValue::Table(inner) = entry.into_inner() else { continue };
                        let key = format!("{key}[{index}]");
                        let value = Value::Table(Table::new());
                        settings.insert(key.clone(), Setting { value, at });
                        open.push((key, inner));
                    }
                }
                DeValue::Table(_)
                | DeValue::Array(_)
                | DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_) => {
                    let value = ValueDeserializer::from(Spanned::new(span, value));
                    let value = Value::deserialize(value).map_err(|error| syntax(&error, at))?;
                    settings.insert(key, Setting { value, at: place(at) });
                }
            }
        }
    }
    Ok(())
}

/// Whether a table is looked into. An empty one is kept, so that an unknown section is found.
fn is_section(parent: &str, key: &str, table: &DeTable<'_>) -> bool {
    let is_entry = parent.ends_with(']');
    !table.is_empty() && !is_entry && !FREE_TABLES.contains(&key)
}

fn is_list(key: &str, entries: &DeArray<'_>) -> bool {
    LISTS.contains(&key) && entries.iter().all(|entry| entry.get_ref().is_table())
}

/// The key of `name` in `section`. A name that TOML would quote stays quoted: `"pool.size"` at the
/// top of a file is not the key `size` of `[pool]`.
fn dotted(section: &str, name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_bare = !name.is_empty() && name.bytes().all(bare);
    let name = if is_bare { name.to_owned() } else { format!("{name:?}") };
    if section.is_empty() { name } else { format!("{section}.{name}") }
}

/// Takes a variable of the form `DAEDALUS_SECTION__KEY`; any other is none of ours.
fn add_variable(settings: &mut Settings, name: &str, text: &str) {
    let Some(key) = name.strip_prefix("DAEDALUS_").filter(|rest| rest.contains("__")) else {
        return;
    };
    let at = Place::Env(name.to_owned());
    for table in FREE_TABLES {
        let prefix = table.to_ascii_uppercase().replace('.', "__") + "__";
        if let Some(entry) = key.strip_prefix(&prefix) {
            // The name of a variable is kept as it is and its value is a text; what a worker reads
            // follows the rules of the other keys.
            let (entry, value) = if table == "worker.env" {
                (entry.to_owned(), Value::String(text.to_owned()))
            } else {
                (entry.to_ascii_lowercase(), plain(text))
            };
            let empty = Setting { value: Value::Table(Table::new()), at };
            let setting = settings.entry(table.to_owned()).or_insert(empty);
            if let Value::Table(entries) = &mut setting.value {
                entries.insert(entry, value);
            }
            return;
        }
    }
    // An entry of a list has no name that a variable could have: the brackets get quoted.
    let names = key.to_ascii_lowercase();
    let key = names.split("__").fold(String::new(), |section, name| dotted(&section, name));
    settings.insert(key, Setting { value: plain(text), at });
}

/// Reads a text as a TOML value; what is none is taken as a plain word.
fn plain(text: &str) -> Value {
    let value = ValueDeserializer::parse(text).and_then(Value::deserialize);
    value.unwrap_or_else(|_| Value::String(text.to_owned()))
}
