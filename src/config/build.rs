//! The keys: their ranges, their defaults, and what must fit together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use serde_json::Value as Json;
use toml::Value;

use super::error::{ConfigError, Place};
use super::layers::Settings;
use super::reader::Reader;
use super::{
    Config, HttpConfig, LogConfig, LogFormat, PoolConfig, QueueConfig, Sources, StoreConfig,
    TypeConfig, WorkerConfig, WorkerKind,
};
use crate::domain::{PerType, TaskType};

const DAY_S: f64 = 86_400.0;
const HOUR_S: f64 = 3_600.0;
/// The longest that a task may run: 30 days.
const TASK_TIMEOUT_MAX_S: f64 = 30.0 * DAY_S;

/// Turns settings into the configuration, or says what is wrong.
pub(super) fn config(settings: Settings, sources: &Sources) -> Result<Config, ConfigError> {
    let defaults = Config::default();
    let mut reader = Reader::new(settings);
    let config = Config {
        http: http(&mut reader, defaults.http)?,
        pool: pool(&mut reader, defaults.pool)?,
        queue: queue(&mut reader, defaults.queue)?,
        worker: worker(&mut reader, defaults.worker)?,
        store: store(&mut reader, defaults.store)?,
        log: log(&mut reader, defaults.log)?,
        types: types(&mut reader)?,
        state_dir: resolve(&state_dir(sources, defaults.state_dir))?,
    };
    reader.finish()?;
    Ok(config)
}

fn http(reader: &mut Reader, default: HttpConfig) -> Result<HttpConfig, ConfigError> {
    let address = |text: &str| text.parse::<SocketAddr>().ok();
    let base_path = |text: &str| is_base_path(text).then(|| text.to_owned());
    Ok(HttpConfig {
        bind: reader.text(
            "http.bind",
            "an IP address and a port such as \"127.0.0.1:8420\" or \"[::1]:8420\"",
            address,
            default.bind,
        )?,
        base_path: reader.text(
            "http.base_path",
            "empty, or begin with \"/\" and not end with it, of letters, digits and -._~/",
            base_path,
            default.base_path,
        )?,
        max_body_bytes: reader.integer(
            "http.max_body_bytes",
            1024..=1 << 28,
            default.max_body_bytes,
        )?,
        workers: reader.integer("http.workers", 0..=256, default.workers)?,
        max_in_flight: reader.integer("http.max_in_flight", 1..=1 << 20, default.max_in_flight)?,
        call_timeout: reader.seconds("http.call_timeout_s", 0.01..=HOUR_S, default.call_timeout)?,
    })
}

fn is_base_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    text.is_empty()
        || (text.starts_with('/')
            && !text.ends_with('/')
            && !text.contains("//")
            && text.chars().all(plain))
}

fn pool(reader: &mut Reader, default: PoolConfig) -> Result<PoolConfig, ConfigError> {
    let max_size = reader.integer("pool.max_size", 1..=1024, default.max_size)?;
    // A smaller `max_size` alone is no contradiction: nobody asked for more.
    let size = reader.integer("pool.size", 0..=max_size, default.size.min(max_size))?;
    Ok(PoolConfig {
        autostart: reader.boolean("pool.autostart", default.autostart)?,
        size,
        max_size,
        restarts_max: reader.integer("pool.restarts_max", 0..=1000, default.restarts_max)?,
        restart_window: reader.seconds(
            "pool.restart_window_s",
            0.1..=DAY_S,
            default.restart_window,
        )?,
        drain: reader.seconds("pool.drain_s", 0.0..=DAY_S, default.drain)?,
    })
}

fn queue(reader: &mut Reader, default: QueueConfig) -> Result<QueueConfig, ConfigError> {
    let target_ms = u64::try_from(default.assignment_latency_target.as_millis());
    let queue = QueueConfig {
        max_depth: reader.integer("queue.max_depth", 1..=10_000_000, default.max_depth)?,
        max_attempts: reader.integer("queue.max_attempts", 1..=100, default.max_attempts)?,
        backoff_first: reader.seconds(
            "queue.backoff_first_s",
            0.0..=HOUR_S,
            default.backoff_first,
        )?,
        backoff_max: reader.seconds("queue.backoff_max_s", 0.0..=DAY_S, default.backoff_max)?,
        affinity_window: reader.integer(
            "queue.affinity_window",
            1..=1000,
            default.affinity_window,
        )?,
        exclusion_relax: reader.seconds(
            "queue.exclusion_relax_s",
            0.0..=DAY_S,
            default.exclusion_relax,
        )?,
        assignment_latency_target: Duration::from_millis(reader.integer(
            "queue.assignment_latency_target_ms",
            1..=3_600_000,
            target_ms.unwrap_or(u64::MAX),
        )?),
    };
    let (first, max) = (queue.backoff_first.as_secs_f64(), queue.backoff_max.as_secs_f64());
    reader.check(
        first <= max,
        "queue.backoff_max_s",
        "queue.backoff_first_s",
        format!("must be at least queue.backoff_first_s ({first}), found {max}"),
    )?;
    Ok(queue)
}

fn worker(reader: &mut Reader, default: WorkerConfig) -> Result<WorkerConfig, ConfigError> {
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
        task_timeout: task_timeout(reader, "worker.task_timeout_s")?
            .unwrap_or(default.task_timeout),
        cancel_grace: reader.seconds(
            "worker.cancel_grace_s",
            0.0..=HOUR_S,
            default.cancel_grace,
        )?,
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
        let folder = match reader.place("worker.command") {
            Some(Place::Line(file, _)) => file.parent(),
            Some(Place::Env(_) | Place::Flag(_) | Place::Default) | None => None,
        };
        let path = resolve(&folder.unwrap_or_else(|| Path::new("")).join(&*program))?;
        *program = path.to_string_lossy().into_owned();
    }
    Ok(command)
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

/// The same value in JSON. A date becomes its text.
fn json(value: &Value) -> Result<Json, String> {
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

fn task_timeout(reader: &mut Reader, key: &str) -> Result<Option<Duration>, ConfigError> {
    reader.optional_seconds(key, 0.01..=TASK_TIMEOUT_MAX_S)
}

fn store(reader: &mut Reader, default: StoreConfig) -> Result<StoreConfig, ConfigError> {
    let memory = |text: &str| (text == StoreConfig::MEMORY).then(|| text.to_owned());
    let allowed = "\":memory:\" (this version keeps tasks in memory, a store on disk comes later)";
    Ok(StoreConfig { path: reader.text("store.path", allowed, memory, default.path)? })
}

fn log(reader: &mut Reader, default: LogConfig) -> Result<LogConfig, ConfigError> {
    Ok(LogConfig {
        level: reader.choice(
            "log.level",
            &LogConfig::LEVELS,
            LogConfig::level_name,
            default.level,
        )?,
        format: reader.choice("log.format", &LogFormat::ALL, LogFormat::name, default.format)?,
    })
}

fn types(reader: &mut Reader) -> Result<PerType<TypeConfig>, ConfigError> {
    let mut types = PerType::<TypeConfig>::default();
    for kind in TaskType::ALL {
        let key = format!("types.{kind}.timeout_s");
        types[kind.index()] = TypeConfig { timeout: task_timeout(reader, &key)? };
    }
    Ok(types)
}

/// The flag, else the daemon's own variable, else what the service manager set up.
fn state_dir(sources: &Sources, default: PathBuf) -> PathBuf {
    let variable = |wanted: &str| {
        let found = sources.env.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };
    let managed = || variable("STATE_DIRECTORY").and_then(|list| list.split(':').next());
    let from_env = || variable("DAEDALUS_STATE_DIR").or_else(managed).map(PathBuf::from);
    sources.state_dir.clone().or_else(from_env).unwrap_or(default)
}

fn resolve(path: &Path) -> Result<PathBuf, ConfigError> {
    absolute(path).map_err(|cause| ConfigError::Path { path: path.to_owned(), cause })
}
