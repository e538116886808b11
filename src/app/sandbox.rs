//! What keeps the workers apart: what the configuration asks for, and what this machine can do.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use slog::{Logger, info, o, warn};

use super::AppError;
use super::settings::agents_dir;
use crate::actors::WorkerSettings;
use crate::config::{Config, SandboxConfig};
use crate::domain::{Confinement, Guard};
use crate::store;
use crate::worker::environment;
use crate::worker::sandbox::{Limits, Sandbox, ports_of_texts, unconfined};

/// What workers may do in this configuration of a daemon that listens on the port `own`; `None`
/// when the sandbox is off. Says what of it this machine enforces, and fails without what the
/// configuration requires.
pub(super) fn prepare(
    config: &Config,
    worker: &WorkerSettings,
    launcher: &Path,
    own: u16,
    log: &Logger,
) -> Result<Option<Sandbox>, AppError> {
    let sandbox = plan(config, worker, own, log);
    if sandbox.as_ref().is_some_and(Sandbox::gives_uids) {
        open_the_way(config).map_err(|cause| {
            let path = config.state_dir.clone();
            AppError::StateDir { path, cause }
        })?;
    }
    check(config, sandbox.as_ref(), worker, launcher, log)?;
    Ok(sandbox)
}

/// Says which of the ports that follow from URLs had to be left out, and which paths are not there.
fn plan(config: &Config, worker: &WorkerSettings, own: u16, log: &Logger) -> Option<Sandbox> {
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
    } = config.worker.sandbox.clone();
    if !enabled {
        return None;
    }
    let mut texts: Vec<&str> = worker.env.iter().map(|(_, value)| value.as_str()).collect();
    add_texts(&worker.agent, &mut texts);
    let mut ports = ports_of_texts(texts);
    ports.extend(connect);
    if ports.remove(&own) {
        warn!(log, "sandbox_port_refused"; "component" => "app", "port" => own);
    }
    for path in read.iter().filter(|path| !path.exists()) {
        warn!(log, "sandbox_path_missing"; "component" => "app", "path" => %path.display());
    }
    let limits = Limits {
        files: max_files,
        processes: max_processes,
        file_mb: max_file_mb,
        address_space_mb: max_address_space_mb,
        cpu_s: max_cpu_s,
    };
    Some(Sandbox { require, read, connect: ports.into_iter().collect(), limits, first_uid, cgroup })
}

fn check(
    config: &Config,
    sandbox: Option<&Sandbox>,
    worker: &WorkerSettings,
    launcher: &Path,
    log: &Logger,
) -> Result<(), AppError> {
    let found = match sandbox {
        Some(sandbox) => {
            let builtin = || vec![launcher.display().to_string(), "worker".to_owned()];
            let command =
                if worker.command.is_empty() { builtin() } else { worker.command.clone() };
            sandbox.foresee(&command, environment::path(&worker.env), &agents_dir(config))
        }
        None => unconfined(),
    };
    let Confinement { landlock_abi, enforced, missing, .. } = &found;
    let why: Vec<_> = missing
        .iter()
        .map(|missing| format!("{}: {}", missing.guard.name(), missing.why))
        .collect();
    let is_exposed = is_exposed(enforced);
    let enforced: Vec<_> = enforced.iter().map(|guard| guard.name()).collect();
    let log = log.new(o!("component" => "app", "missing" => why.join("; "),
        "enforced" => enforced.join(" "), "landlock_abi" => *landlock_abi));
    if is_exposed {
        warn!(log, "sandbox");
    } else {
        info!(log, "sandbox");
    }
    let required = |guard: &Guard| config.worker.sandbox.require.contains(guard);
    match missing.iter().find(|missing| required(&missing.guard)) {
        None => Ok(()),
        Some(missing) => {
            Err(AppError::Sandbox { guard: missing.guard.name(), why: missing.why.clone() })
        }
    }
}

/// Whether a worker can get at the files or processes of others, or at the API of the daemon.
fn is_exposed(enforced: &[Guard]) -> bool {
    let has = |guard| enforced.contains(&guard);
    !has(Guard::Files) || !has(Guard::Tcp) || !(has(Guard::Signals) || has(Guard::Uid))
}

/// Lets agents with user ids of their own pass to their directories, and closes what else is in the
/// state directory: what an earlier version made there may be open to all.
fn open_the_way(config: &Config) -> io::Result<()> {
    let mode = fs::metadata(&config.state_dir)?.permissions().mode() & 0o7777;
    // One that others can pass already may not be the daemon's own.
    if mode & 0o001 == 0 {
        fs::set_permissions(&config.state_dir, Permissions::from_mode(mode | 0o011))?;
    }
    for file in config.store_path().iter().flat_map(|path| store::files(path)) {
        match fs::set_permissions(file, Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn add_texts<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(list) => list.iter().for_each(|value| add_texts(value, texts)),
        Value::Object(object) => object.values().for_each(|value| add_texts(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::actor_settings;
    use super::*;

    const OWN: u16 = 8420;

    fn planned(config: &Config) -> Option<Sandbox> {
        let log = Logger::root(slog::Discard, slog::o!());
        plan(config, &actor_settings(config, &log).worker, OWN, &log)
    }

    #[test]
    fn what_leaves_the_daemon_or_others_open_is_worth_a_warning() {
        use Guard::{Files, Processes, Signals, Tcp, Truncate, Uid};
        assert!(is_exposed(&[]));
        assert!(is_exposed(&[Files, Processes, Truncate, Signals]), "the API");
        assert!(is_exposed(&[Files, Processes, Tcp]), "the processes");
        assert!(is_exposed(&[Processes, Tcp, Uid]), "the files");
        assert!(!is_exposed(&[Files, Tcp, Signals]));
        assert!(!is_exposed(&[Files, Tcp, Uid]));
    }

    #[test]
    fn the_ports_of_urls_are_open_and_that_of_the_daemon_is_not() {
        let mut config = Config::default();
        let env = [("A", "http://127.0.0.1:11434/v1"), ("B", "http://127.0.0.1:8420/"), ("C", "9")];
        config.worker.env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        config.worker.pass_env = Vec::new();
        config.worker.agent = serde_json::json!({
            "model": {"api_base": "http://localhost:8080", "timeout_s": 60},
            "tools": ["http://localhost:8081", "http://localhost:8420"],
        });
        assert_eq!(planned(&config).unwrap().connect, [443, 8080, 8081, 11434]);
        config.worker.sandbox.connect = vec![OWN];
        config.worker.env.clear();
        config.worker.agent = Value::Null;
        assert_eq!(planned(&config).unwrap().connect, [0_u16; 0]);
        config.worker.sandbox.enabled = false;
        assert_eq!(planned(&config), None);
    }
}
