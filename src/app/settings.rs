//! The configuration, as each part of the daemon wants it.

use std::path::PathBuf;
use std::time::Duration;

use slog::{Logger, o};

use super::AGENTS_DIR;
use crate::actors::{
    ActorSettings, GateProbeSettings, Patience, PhaseLimits, PoolSettings, WorkerSettings,
};
use crate::config::{Config, GateConfig, WorkerKind};
use crate::domain::{AgentKind, GateSpec, Gates, Limits, TaskType};
use crate::http::HttpSettings;

/// Room for what stands around a payload or result in a frame.
const FRAME_EXTRA_BYTES: usize = 64 * 1024;

pub(super) fn agents_dir(config: &Config) -> PathBuf {
    config.state_dir.join(AGENTS_DIR)
}

pub(super) fn actor_settings(config: &Config, log: &Logger) -> ActorSettings {
    let (pool, queue, worker) = (&config.pool, &config.queue, &config.worker);
    let timeout =
        |kind: TaskType| micros(config.types[kind.index()].timeout.unwrap_or(worker.task_timeout));
    let passed =
        worker.pass_env.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)));
    let own = worker.env.iter().map(|(name, value)| (name.clone(), value.clone()));
    ActorSettings {
        limits: Limits {
            max_depth: queue.max_depth,
            max_attempts: queue.max_attempts,
            backoff_first_us: micros(queue.backoff_first),
            backoff_max_us: micros(queue.backoff_max),
            affinity_window: queue.affinity_window,
            exclusion_relax_us: micros(queue.exclusion_relax),
            assignment_latency_target_us: micros(queue.assignment_latency_target),
            cancel_grace_us: micros(worker.cancel_grace),
            start_timeout_us: micros(worker.start_timeout),
            timeout_us: TaskType::ALL.map(timeout),
        },
        gates: Gates::new(config.gates.iter().map(gate_spec).collect()),
        probes: config.gates.iter().filter_map(gate_probe).collect(),
        schedules: config.schedules.clone(),
        follow_ups: config.follow_ups.clone(),
        pool: PoolSettings {
            size: pool.size,
            max_size: pool.max_size,
            kind: default_kind(config),
            restarts_max: usize::try_from(pool.restarts_max).unwrap_or(usize::MAX),
            restart_window_us: micros(pool.restart_window),
        },
        patience: Patience {
            heartbeat_us: micros(worker.heartbeat),
            silence_us: micros(worker.heartbeat * worker.heartbeat_misses_max),
            stuck_us: micros(worker.stuck),
        },
        memory_limit: (worker.memory_limit_mb > 0).then_some(worker.memory_limit_mb << 20),
        worker: WorkerSettings {
            command: worker.command.clone(),
            env: passed.chain(own).collect(),
            agents_dir: agents_dir(config),
            agent: worker.agent.clone(),
            max_frame_bytes: config.http.max_body_bytes + FRAME_EXTRA_BYTES,
            start_timeout: worker.start_timeout,
            heartbeat: worker.heartbeat,
            phase_limits: PhaseLimits::new(worker.phase_limits.clone()),
            cancel_grace: worker.cancel_grace,
            log: log.new(o!("component" => "worker")),
        },
        call_timeout: config.http.call_timeout,
        drain: pool.drain,
        isolation_check: (!worker.isolation_check.is_zero()).then_some(worker.isolation_check),
    }
}

fn gate_spec(gate: &GateConfig) -> GateSpec {
    GateSpec {
        name: gate.name.as_str().into(),
        types: gate.task_types,
        is_probed: gate.health_url.is_some(),
        start_grace_us: micros(gate.start_grace),
        hold_us: micros(gate.interval),
        max_wait_us: gate.max_wait.map(micros),
    }
}

fn gate_probe(gate: &GateConfig) -> Option<GateProbeSettings> {
    Some(GateProbeSettings {
        name: gate.name.as_str().into(),
        url: gate.health_url.as_deref()?.into(),
        interval: gate.interval,
        timeout: gate.timeout,
        failures_to_close: gate.failures_to_close,
    })
}

pub(super) fn http_settings(config: &Config) -> HttpSettings {
    HttpSettings {
        base_path: config.http.base_path.clone(),
        max_body_bytes: config.http.max_body_bytes,
        max_in_flight: config.http.max_in_flight,
        call_timeout: config.http.call_timeout,
        max_pool_size: config.pool.max_size,
        allowed_hosts: config.http.allowed_hosts.clone(),
        default_kind: default_kind(config),
    }
}

fn default_kind(config: &Config) -> AgentKind {
    match config.worker.kind {
        WorkerKind::Process => AgentKind::Process,
        WorkerKind::External => AgentKind::External { lease_us: None },
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
