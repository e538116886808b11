//! The effective configuration as a file, for people to read and for the daemon to load again.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value as Json;
use toml::{Table, Value};

use super::{
    Config, GateConfig, HttpConfig, LogConfig, PoolConfig, QueueConfig, SandboxConfig, StoreConfig,
    TypeConfig, WorkerConfig, span,
};
use crate::domain::{FollowUpRule, ScheduleSpec, TaskType, When};

/// What stands for a secret.
const HIDDEN: &str = "***";

/// A name with one of these in it names a secret.
const SECRET_NAMES: [&str; 7] =
    ["key", "token", "secret", "password", "passwd", "credential", "authorization"];

/// Writes the effective configuration as TOML with every key, secrets hidden.
#[must_use]
pub fn render(config: &Config) -> String {
    let mut text = String::from("# The effective configuration.\n");
    let state_dir = config.state_dir.display().to_string();
    let _ = writeln!(text, "# --state-dir {state_dir:?}");
    for (header, keys) in sections(config) {
        let _ = writeln!(text, "\n{header}");
        for (key, value) in keys {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text
}

/// The keys of one section, in the order of the shipped file.
type Keys = Vec<(&'static str, Value)>;

/// Every header with its keys and their values. The patterns name every field, so that a new one cannot be missed.
pub(super) fn sections(config: &Config) -> Vec<(String, Keys)> {
    let Config {
        http,
        pool,
        queue,
        worker,
        types,
        store,
        log,
        gates,
        follow_ups,
        schedules,
        state_dir: _,
    } = config;
    let mut sections = vec![
        ("[http]".to_owned(), http_keys(http)),
        ("[pool]".to_owned(), pool_keys(pool)),
        ("[queue]".to_owned(), queue_keys(queue)),
        ("[worker]".to_owned(), worker_keys(worker)),
        ("[worker.sandbox]".to_owned(), sandbox_keys(&worker.sandbox)),
    ];
    for kind in TaskType::ALL {
        let TypeConfig { timeout } = types[kind.index()];
        if let Some(timeout) = timeout {
            sections.push((format!("[types.{kind}]"), vec![("timeout_s", seconds(timeout))]));
        }
    }
    let StoreConfig { path, retention, min_free_mb } = store;
    let store = vec![
        ("path", text(path)),
        ("retention", text(&span::show(*retention))),
        ("min_free_mb", number(*min_free_mb)),
    ];
    sections.push(("[store]".to_owned(), store));
    let LogConfig { level, format } = *log;
    let log = vec![("level", text(LogConfig::level_name(level))), ("format", text(format.name()))];
    sections.push(("[log]".to_owned(), log));
    sections.extend(gates.iter().map(|gate| ("[[gate]]".to_owned(), gate_keys(gate))));
    sections
        .extend(follow_ups.iter().map(|rule| ("[[follow_up]]".to_owned(), follow_up_keys(rule))));
    sections.extend(schedules.iter().map(|job| ("[[schedule]]".to_owned(), schedule_keys(job))));
    sections
}

fn http_keys(http: &HttpConfig) -> Keys {
    let HttpConfig {
        bind,
        base_path,
        max_body_bytes,
        workers,
        max_in_flight,
        allowed_hosts,
        call_timeout,
    } = http;
    vec![
        ("bind", text(&bind.to_string())),
        ("base_path", text(base_path)),
        ("max_body_bytes", count(*max_body_bytes)),
        ("workers", count(*workers)),
        ("max_in_flight", count(*max_in_flight)),
        ("allowed_hosts", Value::from(allowed_hosts.clone())),
        ("call_timeout_s", seconds(*call_timeout)),
    ]
}

fn pool_keys(pool: &PoolConfig) -> Keys {
    let PoolConfig { autostart, size, max_size, restarts_max, restart_window, drain } = pool;
    vec![
        ("autostart", Value::Boolean(*autostart)),
        ("size", count(*size)),
        ("max_size", count(*max_size)),
        ("restarts_max", Value::from(*restarts_max)),
        ("restart_window_s", seconds(*restart_window)),
        ("drain_s", seconds(*drain)),
    ]
}

fn queue_keys(queue: &QueueConfig) -> Keys {
    let QueueConfig {
        max_depth,
        max_attempts,
        backoff_first,
        backoff_max,
        affinity_window,
        exclusion_relax,
        assignment_latency_target,
    } = queue;
    let target_ms = i64::try_from(assignment_latency_target.as_millis()).unwrap_or(i64::MAX);
    vec![
        ("max_depth", count(*max_depth)),
        ("max_attempts", Value::from(*max_attempts)),
        ("backoff_first_s", seconds(*backoff_first)),
        ("backoff_max_s", seconds(*backoff_max)),
        ("affinity_window", count(*affinity_window)),
        ("exclusion_relax_s", seconds(*exclusion_relax)),
        ("assignment_latency_target_ms", Value::Integer(target_ms)),
    ]
}

fn worker_keys(worker: &WorkerConfig) -> Keys {
    let WorkerConfig {
        kind,
        command,
        env,
        pass_env,
        agent,
        start_timeout,
        heartbeat,
        heartbeat_misses_max,
        stuck,
        phase_limits,
        memory_limit_mb,
        task_timeout,
        cancel_grace,
        isolation_check,
        sandbox: _,
    } = worker;
    let phase_limits =
        phase_limits.iter().map(|(name, limit)| (name.clone(), seconds(*limit))).collect();
    let hidden: Table = env.keys().map(|name| (name.clone(), text(HIDDEN))).collect();
    vec![
        ("kind", text(kind.name())),
        ("command", Value::from(command.clone())),
        ("env", Value::Table(hidden)),
        ("pass_env", Value::from(pass_env.clone())),
        ("agent", visible(agent)),
        ("start_timeout_s", seconds(*start_timeout)),
        ("heartbeat_s", seconds(*heartbeat)),
        ("heartbeat_misses_max", Value::from(*heartbeat_misses_max)),
        ("stuck_s", seconds(*stuck)),
        ("phase_limit_s", Value::Table(phase_limits)),
        ("memory_limit_mb", Value::Integer(i64::try_from(*memory_limit_mb).unwrap_or(i64::MAX))),
        ("task_timeout_s", seconds(*task_timeout)),
        ("cancel_grace_s", seconds(*cancel_grace)),
        ("isolation_check_s", seconds(*isolation_check)),
    ]
}

fn sandbox_keys(sandbox: &SandboxConfig) -> Keys {
    let SandboxConfig {
        enabled,
        require,
        read,
        connect,
        max_files,
        max_processes,
        max_file_mb,
        max_address_space_mb,
        max_cpu_s,
        first_uid,
        cgroup,
    } = sandbox;
    let require: Vec<_> = require.iter().map(|guard| guard.name()).collect();
    let read: Vec<_> = read.iter().map(|path| path.display().to_string()).collect();
    let connect: Vec<_> = connect.iter().map(|port| i64::from(*port)).collect();
    vec![
        ("enabled", Value::Boolean(*enabled)),
        ("require", Value::from(require)),
        ("read", Value::from(read)),
        ("connect", Value::from(connect)),
        ("max_files", Value::from(*max_files)),
        ("max_processes", Value::from(*max_processes)),
        ("max_file_mb", number(*max_file_mb)),
        ("max_address_space_mb", number(*max_address_space_mb)),
        ("max_cpu_s", number(*max_cpu_s)),
        ("first_uid", Value::from(*first_uid)),
        ("cgroup", text(cgroup)),
    ]
}

fn gate_keys(gate: &GateConfig) -> Keys {
    let GateConfig {
        name,
        task_types,
        health_url,
        interval,
        timeout,
        failures_to_close,
        start_grace,
        max_wait,
    } = gate;
    let types: Vec<_> = task_types.iter().map(TaskType::name).collect();
    let mut keys = vec![("name", text(name)), ("task_types", Value::from(types))];
    keys.extend(health_url.as_ref().map(|url| ("health_url", text(url))));
    keys.extend([
        ("interval_s", seconds(*interval)),
        ("timeout_s", seconds(*timeout)),
        ("failures_to_close", Value::from(*failures_to_close)),
        ("start_grace_s", seconds(*start_grace)),
    ]);
    keys.extend(max_wait.map(|max_wait| ("max_wait_s", seconds(max_wait))));
    keys
}

fn follow_up_keys(rule: &FollowUpRule) -> Keys {
    let FollowUpRule { name, of, task_type, items, filter, id, order_by, top } = rule;
    // What results are compared with: no secret, whatever a member is called.
    let filter = Value::try_from(filter).unwrap_or_else(|_| Value::Table(Table::new()));
    vec![
        ("name", text(name)),
        ("of", text(of.name())),
        ("task_type", text(task_type.name())),
        ("items", text(items)),
        ("filter", filter),
        ("id", text(id)),
        ("order_by", text(order_by)),
        ("top", count(*top)),
    ]
}

fn schedule_keys(schedule: &ScheduleSpec) -> Keys {
    let ScheduleSpec { name, when, task_type, payload, priority, overlap, jitter_us } = schedule;
    let when = match when {
        When::Every(us) => ("every", text(&span::show(Duration::from_micros(*us)))),
        When::Cron(cron) => ("cron", text(cron.pattern.as_str())),
    };
    let payload: Json = serde_json::from_str(payload.as_str()).unwrap_or_default();
    vec![
        ("name", text(name)),
        when,
        ("task_type", text(task_type.name())),
        ("payload", visible(&payload)),
        ("priority", Value::Integer(priority.get().into())),
        ("overlap", text(overlap.name())),
        ("jitter_s", seconds(Duration::from_micros(*jitter_us))),
    ]
}

/// The same value in TOML, without what is named like a secret.
fn visible(value: &Json) -> Value {
    match value {
        // TOML has no null, so none came in.
        Json::Null => text(""),
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(string) => text(string),
        Json::Array(list) => Value::Array(list.iter().map(visible).collect()),
        Json::Object(object) => {
            let entry = |(name, value): (&String, &Json)| {
                let shown = if is_secret(name, value) { text(HIDDEN) } else { visible(value) };
                (name.clone(), shown)
            };
            Value::Table(object.iter().map(entry).collect())
        }
    }
}

/// Whether `name` names a secret. A number or a flag is none: `max_tokens` is to be seen.
fn is_secret(name: &str, value: &Json) -> bool {
    let name = name.to_lowercase();
    !value.is_number() && !value.is_boolean() && SECRET_NAMES.iter().any(|word| name.contains(word))
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn count(count: usize) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

fn number(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Seconds, as a whole number where they are one.
fn seconds(duration: Duration) -> Value {
    match i64::try_from(duration.as_secs()) {
        Ok(seconds) if duration.subsec_nanos() == 0 => Value::Integer(seconds),
        _ => Value::Float(duration.as_secs_f64()),
    }
}
