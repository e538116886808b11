//! The keys: their ranges, their defaults, and what must fit together.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::error::ConfigError;
use super::follow_up::follow_ups;
use super::gate::gates;
use super::layers::Settings;
use super::reader::Reader;
use super::sandbox::spare_own_port;
use super::schedule::schedules;
use super::span;
use super::worker::{resolve, task_timeout, worker};
use super::{
    Config, HttpConfig, LogConfig, LogFormat, PoolConfig, QueueConfig, Sources, StoreConfig,
    TypeConfig,
};
use crate::domain::{PerType, TaskType};

pub(super) const DAY_S: f64 = 86_400.0;
pub(super) const HOUR_S: f64 = 3_600.0;

/// How long an ended task may be kept.
const RETENTION: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(3650 * 86_400);

/// Turns settings into the configuration, or says what is wrong.
pub(super) fn config(settings: Settings, sources: &Sources) -> Result<Config, ConfigError> {
    let defaults = Config::default();
    let mut reader = Reader::new(settings);
    let state_dir = resolve(&state_dir(sources, defaults.state_dir))?;
    let http = http(&mut reader, defaults.http)?;
    let config = Config {
        pool: pool(&mut reader, defaults.pool)?,
        queue: queue(&mut reader, defaults.queue)?,
        worker: worker(&mut reader, defaults.worker)?,
        store: store(&mut reader, defaults.store, &state_dir)?,
        log: log(&mut reader, defaults.log)?,
        types: types(&mut reader)?,
        gates: gates(&mut reader)?,
        follow_ups: follow_ups(&mut reader)?,
        schedules: schedules(&mut reader, http.max_body_bytes)?,
        http,
        state_dir,
    };
    spare_own_port(&reader, &config.worker.sandbox, config.http.bind.port())?;
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
        allowed_hosts: reader.list(
            "http.allowed_hosts",
            "a list of names of this machine without a port, or of \"*\" for any",
            is_host,
            default.allowed_hosts,
        )?,
        call_timeout: reader.seconds("http.call_timeout_s", 0.01..=HOUR_S, default.call_timeout)?,
    })
}

fn is_host(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name == "*" || (!name.is_empty() && name.chars().all(plain))
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

fn store(
    reader: &mut Reader,
    default: StoreConfig,
    state_dir: &Path,
) -> Result<StoreConfig, ConfigError> {
    let path = |text: &str| is_store_path(text, state_dir).then(|| text.to_owned());
    let retention = |text: &str| span::parse(text).filter(|span| RETENTION.contains(span));
    Ok(StoreConfig {
        path: reader.text(
            "store.path",
            "\":memory:\" or a file, relative to the state directory, that is neither \"lock\" \
             nor in \"agents\" there, without \"..\", whose name does not end in \".lock\", \
             \".new\", \"-wal\" or \"-shm\"",
            path,
            default.path,
        )?,
        retention: reader.text(
            "store.retention",
            "a time such as \"90s\", \"15m\", \"12h\" or \"7d\" between 1m and 3650d",
            retention,
            default.retention,
        )?,
        min_free_mb: reader.integer("store.min_free_mb", 0..=1 << 20, default.min_free_mb)?,
    })
}

/// How the names end of what is beside a store and belongs to it.
const BESIDE_A_STORE: [&str; 4] = [".lock", ".new", "-wal", "-shm"];

/// A file of its own. Anything else that begins with ":" is a ":memory:" with a slip in it, and the
/// daemon empties its "agents" at every start.
fn is_store_path(text: &str, state_dir: &Path) -> bool {
    let file = state_dir.join(text);
    let is_taken = file == state_dir.join("lock") || file.starts_with(state_dir.join("agents"));
    let is_dir = text.is_empty() || text.ends_with('/') || state_dir.starts_with(&file);
    let is_plain = !text.contains('\0') && Path::new(text).components().all(is_down);
    let is_beside = BESIDE_A_STORE.iter().any(|end| text.ends_with(end));
    let is_own = !is_dir && !is_taken && !is_beside && !text.starts_with(':');
    text == StoreConfig::MEMORY || (is_plain && is_own)
}

const fn is_down(component: Component<'_>) -> bool {
    !matches!(component, Component::ParentDir)
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
