//! The keys of `[worker]`: their ranges, and what must fit together.

use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use serde_json::Value as Json;
use toml::Value;

use super::build::{DAY_S, HOUR_S};
use super::error::{ConfigError, Place};
use super::reader::Reader;
use super::sandbox::sandbox;
use super::{WorkerConfig, WorkerKind};
use crate::domain::MAX_CODE_BYTES;

/// The longest that a task may run: 30 days.
const TASK_TIMEOUT_MAX_S: f64 = 30.0 * DAY_S;

/// Section `[worker]`.
pub(super) fn worker(
    reader: &mut Reader,
    default: WorkerConfig,
) -> Result<WorkerConfig, ConfigError> {
    let kinds = WorkerKind::ALL;
    let command = reader.list(
        "worker.command",
        "a list of strings such as [\"python3\", \"-m\", \"worker\"]",
        |text| !text.contains('\0'),
        default.command,
    )?;
    let worker = WorkerConfig {
        kind: reader.choice("worker.kind", &kinds, WorkerKind::name, default.kind)?,
        command: program(reader, command)?,
        env: reader.table("worker.env", variable)?,
        pass_env: reader.list(
            "worker.pass_env",
            "a list of names of variables",
            is_variable_name,
            default.pass_env,
        )?,
        agent: Json::Object(
            reader.table("worker.agent", |_, value| json(value))?.into_iter().collect(),
        ),
        start_timeout: reader.seconds(
            "worker.start_timeout_s",
            0.1..=HOUR_S,
            default.start_timeout,
        )?,
        heartbeat: reader.seconds("worker.heartbeat_s", 0.01..=HOUR_S, default.heartbeat)?,
        heartbeat_misses_max: reader.integer(
            "worker.heartbeat_misses_max",
            1..=1000,
            default.heartbeat_misses_max,
        )?,
        stuck: reader.seconds("worker.stuck_s", 0.01..=DAY_S, default.stuck)?,
        phase_limits: reader.table("worker.phase_limit_s", phase_limit)?,
        memory_limit_mb: reader.integer(
            "worker.memory_limit_mb",
            0..=1 << 24,
            default.memory_limit_mb,
        )?,
        task_timeout: task_timeout(reader, "worker.task_timeout_s")?
            .unwrap_or(default.task_timeout),
        cancel_grace: reader.seconds(
            "worker.cancel_grace_s",
            0.0..=HOUR_S,
            default.cancel_grace,
        )?,
        isolation_check: reader.seconds(
            "worker.isolation_check_s",
            0.0..=DAY_S,
            default.isolation_check,
        )?,
        sandbox: sandbox(reader, default.sandbox)?,
    };
    let (stuck, heartbeat) = (worker.stuck.as_secs_f64(), worker.heartbeat.as_secs_f64());
    reader.check(
        heartbeat <= stuck,
        "worker.stuck_s",
        "worker.heartbeat_s",
        format!("must be at least worker.heartbeat_s ({heartbeat}), found {stuck}"),
    )?;
    Ok(worker)
}

/// The command with a relative path of its program made absolute: it refers to the folder of the
/// file that says so, else to the current one. A bare name is looked up when it is run.
fn program(reader: &Reader, mut command: Vec<String>) -> Result<Vec<String>, ConfigError> {
    let Some(program) = command.first_mut() else { return Ok(command) };
    let is_named = !program.is_empty();
    let problem = "must begin with the name of a program, found an empty text".to_owned();
    reader.check(is_named, "worker.command", "worker.command", problem)?;
    if program.contains('/') {
        let path = resolve(&folder_of(reader, "worker.command").join(&*program))?;
        *program = path.to_string_lossy().into_owned();
    }
    Ok(command)
}

/// To where relative paths in the value of `key` refer: the folder of the file that says so, else
/// the current one.
pub(super) fn folder_of<'a>(reader: &'a Reader, key: &str) -> &'a Path {
    let folder = match reader.place(key) {
        Some(Place::Line(file, _)) => file.parent(),
        Some(Place::Env(_) | Place::Flag(_) | Place::Default) | None => None,
    };
    folder.unwrap_or_else(|| Path::new(""))
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn variable(name: &str, value: &Value) -> Result<String, String> {
    if !is_variable_name(name) {
        return Err("must be named as a variable, without \"=\"".to_owned());
    }
    let text = value.as_str().filter(|text| !text.contains('\0'));
    text.map(str::to_owned).ok_or_else(|| "must be a string".to_owned())
}

/// How long one phase may last.
fn phase_limit(name: &str, value: &Value) -> Result<Duration, String> {
    if !(1..=MAX_CODE_BYTES).contains(&name.len()) {
        return Err(format!("must have a name of 1 to {MAX_CODE_BYTES} bytes"));
    }
    let seconds = match value {
        Value::Integer(seconds) => i32::try_from(*seconds).ok().map(f64::from),
        Value::Float(seconds) => Some(*seconds),
        Value::String(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => None,
    };
    let allowed = 0.0..=TASK_TIMEOUT_MAX_S;
    let limit = seconds.filter(|seconds| allowed.contains(seconds)).map(Duration::from_secs_f64);
    limit.ok_or_else(|| format!("must be between 0 and {TASK_TIMEOUT_MAX_S} (seconds)"))
}

/// The same value in JSON. A date becomes its text.
pub(super) fn json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::String(text) => Json::from(text.as_str()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) if number.is_finite() => Json::from(*number),
        Value::Float(_) => return Err("must be a finite number".to_owned()),
        Value::Boolean(flag) => Json::from(*flag),
        Value::Datetime(date) => Json::from(date.to_string()),
        Value::Array(list) => Json::Array(list.iter().map(json).collect::<Result<_, _>>()?),
        Value::Table(table) => {
            let entry = |(name, value): (&String, &Value)| Ok((name.clone(), json(value)?));
            Json::Object(table.iter().map(entry).collect::<Result<_, String>>()?)
        }
    })
}

/// How long tasks may run, as one of the keys says that mean it.
pub(super) fn task_timeout(
    reader: &mut Reader,
    key: &str,
) -> Result<Option<Duration>, ConfigError> {
    reader.optional_seconds(key, 0.01..=TASK_TIMEOUT_MAX_S)
}

/// A path that stays the same when the current directory changes.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, ConfigError> {
    absolute(path).map_err(|cause| ConfigError::Path { path: path.to_owned(), cause })
}
