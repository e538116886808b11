//! What holds when nobody says otherwise.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use slog::Level;

use super::{
    Config, GateConfig, HttpConfig, LogConfig, LogFormat, PoolConfig, QueueConfig, SandboxConfig,
    StoreConfig, WorkerConfig, WorkerKind,
};
use crate::domain::{FollowUpRule, PerType, TaskType, TaskTypes};

impl Default for Config {
    fn default() -> Self {
        Self {
            http: HttpConfig {
                bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 8420)),
                base_path: String::new(),
                max_body_bytes: 1 << 20,
                workers: 0,
                max_in_flight: 1024,
                allowed_hosts: Vec::new(),
                call_timeout: Duration::from_secs(10),
            },
            pool: PoolConfig {
                autostart: true,
                size: 4,
                max_size: 16,
                restarts_max: 5,
                restart_window: Duration::from_secs(60),
                drain: Duration::ZERO,
            },
            queue: QueueConfig {
                max_depth: 100,
                max_attempts: 3,
                backoff_first: Duration::from_secs(1),
                backoff_max: Duration::from_secs(60),
                affinity_window: 20,
                exclusion_relax: Duration::from_secs(10),
                assignment_latency_target: Duration::from_millis(500),
            },
            worker: WorkerConfig {
                kind: WorkerKind::Process,
                command: Vec::new(),
                env: BTreeMap::new(),
                pass_env: ["OPENAI_BASE_URL", "OPENAI_API_KEY"].map(String::from).into(),
                agent: Value::Object(serde_json::Map::new()),
                start_timeout: Duration::from_secs(30),
                heartbeat: Duration::from_secs(5),
                heartbeat_misses_max: 3,
                stuck: Duration::from_secs(60),
                phase_limits: BTreeMap::new(),
                memory_limit_mb: 0,
                task_timeout: Duration::from_secs(3600),
                cancel_grace: Duration::from_secs(5),
                isolation_check: Duration::from_secs(60),
                sandbox: SandboxConfig {
                    enabled: true,
                    require: Vec::new(),
                    read: Vec::new(),
                    connect: vec![443],
                    max_files: 1024,
                    max_processes: 512,
                    max_file_mb: 1024,
                    max_address_space_mb: 0,
                    max_cpu_s: 0,
                    first_uid: 1_900_000_000,
                    cgroup: SandboxConfig::AUTO.to_owned(),
                },
            },
            types: PerType::default(),
            store: StoreConfig {
                path: "daedalus.db".to_owned(),
                retention: Duration::from_secs(7 * 24 * 3600),
                min_free_mb: 64,
            },
            gates: Vec::new(),
            follow_ups: Vec::new(),
            schedules: Vec::new(),
            log: LogConfig { level: Level::Info, format: LogFormat::Json },
            state_dir: PathBuf::from(".daedalus"),
        }
    }
}

/// A gate of which nothing else was said.
pub(super) const fn gate(name: String, task_types: TaskTypes) -> GateConfig {
    GateConfig {
        name,
        task_types,
        health_url: None,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        failures_to_close: 2,
        start_grace: Duration::from_secs(5),
        max_wait: None,
    }
}

/// A rule of which nothing else was said: it takes what a discovery recommends.
pub(super) fn follow_up(name: String) -> FollowUpRule {
    FollowUpRule {
        name,
        of: TaskType::Discovery,
        task_type: TaskType::Migration,
        items: "/components".to_owned(),
        filter: BTreeMap::from([("migration_recommended".to_owned(), Value::Bool(true))]),
        id: "component_id".to_owned(),
        order_by: "composite_score".to_owned(),
        top: 20,
    }
}
