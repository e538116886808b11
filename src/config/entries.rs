//! What the lists of the file have in common: `[[gate]]` and the others.

use super::error::ConfigError;
use super::reader::{Reader, quoted};
use crate::domain::TaskType;

const NAME: &str = "1 to 64 characters of a-z, 0-9, \"_\" and \"-\"";
const NAME_LENGTH_MAX: usize = 64;

/// Reads every entry of `list`, by `read` from its section, `gate[0]`, and its name, which no other
/// entry has.
pub(super) fn entries<T>(
    reader: &mut Reader,
    list: &str,
    max: usize,
    read: impl Fn(&mut Reader, &str, String) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    let (mut names, mut entries) = (Vec::new(), Vec::new());
    loop {
        let section = format!("{list}[{}]", entries.len());
        if reader.place(&section).is_none() {
            return Ok(entries);
        }
        if entries.len() == max {
            let problem = format!("is one too many; there can be {max} at most");
            return Err(reader.refusal(&section, problem));
        }
        let name = name(reader, &format!("{section}.name"), list, &names)?;
        names.push(name.clone());
        entries.push(read(reader, &section, name)?);
    }
}

fn name(
    reader: &mut Reader,
    key: &str,
    list: &str,
    others: &[String],
) -> Result<String, ConfigError> {
    let name = reader.optional_text(key, NAME, |text| is_name(text).then(|| text.to_owned()))?;
    let name = reader.required(key, NAME, name)?;
    if let Some(same) = others.iter().position(|other| *other == name) {
        let problem = format!("must be its own, but {list}[{same}] is called {name:?}, too");
        return Err(reader.refusal(key, problem));
    }
    Ok(name)
}

fn is_name(text: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=NAME_LENGTH_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// The names of the task types, as they are told.
pub(super) fn type_names() -> String {
    quoted(TaskType::ALL.map(TaskType::name))
}

/// What `key` of an entry says or, without a default, must say.
pub(super) fn task_type(
    reader: &mut Reader,
    key: &str,
    default: Option<TaskType>,
) -> Result<TaskType, ConfigError> {
    let allowed = format!("one of {}", type_names());
    let found = reader.optional_text(key, &allowed, TaskType::parse)?;
    reader.required(key, &allowed, found.or(default))
}
