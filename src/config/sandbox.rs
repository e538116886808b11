//! The keys of `[worker.sandbox]`.

use std::path::{Path, PathBuf};

use super::SandboxConfig;
use super::error::ConfigError;
use super::reader::{Reader, quoted};
use super::worker::{folder_of, resolve};
use crate::domain::Guard;

/// Ids below this one belong to people and services.
const FIRST_UID_MIN: u32 = 1000;
/// Room above it for more agents than a pool can have.
const FIRST_UID_MAX: u32 = 4_000_000_000;
/// With less than this a program cannot even be loaded, and the launcher has the same limit.
const ADDRESS_SPACE_MIN_MB: u64 = 256;

/// Section `[worker.sandbox]`.
pub(super) fn sandbox(
    reader: &mut Reader,
    default: SandboxConfig,
) -> Result<SandboxConfig, ConfigError> {
    let guards = quoted(Guard::ALL.map(Guard::name));
    let guard = |text: &str| Guard::ALL.into_iter().find(|guard| guard.name() == text);
    let folders = "a list of paths such as [\"/opt/python\", \"../models\"]";
    let sandbox = SandboxConfig {
        enabled: reader.boolean("worker.sandbox.enabled", default.enabled)?,
        require: reader
            .optional_list("worker.sandbox.require", &format!("a list of {guards}"), guard)?
            .unwrap_or(default.require),
        read: read(reader, folders)?.unwrap_or(default.read),
        connect: reader
            .integers("worker.sandbox.connect", "a list of ports (1..65535)", 1..=u16::MAX)?
            .unwrap_or(default.connect),
        max_files: reader.integer("worker.sandbox.max_files", 32..=1 << 20, default.max_files)?,
        max_processes: reader.integer(
            "worker.sandbox.max_processes",
            1..=1 << 20,
            default.max_processes,
        )?,
        max_file_mb: reader.integer(
            "worker.sandbox.max_file_mb",
            1..=1 << 30,
            default.max_file_mb,
        )?,
        max_address_space_mb: reader.integer(
            "worker.sandbox.max_address_space_mb",
            0..=1 << 30,
            default.max_address_space_mb,
        )?,
        max_cpu_s: reader.integer("worker.sandbox.max_cpu_s", 0..=1 << 30, default.max_cpu_s)?,
        first_uid: reader.integer(
            "worker.sandbox.first_uid",
            0..=FIRST_UID_MAX,
            default.first_uid,
        )?,
        cgroup: reader.text(
            "worker.sandbox.cgroup",
            "\"auto\", empty, or the absolute path of a folder below a cgroup2 file system",
            cgroup,
            default.cgroup,
        )?,
    };
    check(reader, &sandbox)?;
    Ok(sandbox)
}

fn check(reader: &Reader, sandbox: &SandboxConfig) -> Result<(), ConfigError> {
    let SandboxConfig { enabled, require, max_address_space_mb, first_uid, .. } = sandbox;
    reader.check(
        *enabled || require.is_empty(),
        "worker.sandbox.require",
        "worker.sandbox.enabled",
        "must be empty when worker.sandbox.enabled is false".to_owned(),
    )?;
    reader.check(
        *first_uid == 0 || *first_uid >= FIRST_UID_MIN,
        "worker.sandbox.first_uid",
        "worker.sandbox.first_uid",
        format!("must be 0 or at least {FIRST_UID_MIN}, found {first_uid}"),
    )?;
    reader.check(
        *max_address_space_mb == 0 || *max_address_space_mb >= ADDRESS_SPACE_MIN_MB,
        "worker.sandbox.max_address_space_mb",
        "worker.sandbox.max_address_space_mb",
        format!("must be 0 or at least {ADDRESS_SPACE_MIN_MB}, found {max_address_space_mb}"),
    )
}

/// Refuses the daemon's own port among those that workers are said to connect to. Among the
/// defaults it is only left out, when the sandbox is made.
pub(super) fn spare_own_port(
    reader: &Reader,
    sandbox: &SandboxConfig,
    own: u16,
) -> Result<(), ConfigError> {
    let is_asked_for = reader.place("worker.sandbox.connect").is_some();
    reader.check(
        !(sandbox.enabled && is_asked_for && sandbox.connect.contains(&own)),
        "worker.sandbox.connect",
        "http.bind",
        format!("must not have {own}, the port of http.bind: an agent must not reach the daemon"),
    )
}

/// Relative paths are found from the folder of the file, as that of the program is.
fn read(reader: &mut Reader, allowed: &str) -> Result<Option<Vec<PathBuf>>, ConfigError> {
    const KEY: &str = "worker.sandbox.read";
    let is_path = |text: &str| {
        let is_path = !text.is_empty() && !text.contains('\0');
        is_path.then(|| PathBuf::from(text))
    };
    let Some(paths) = reader.optional_list(KEY, allowed, is_path)? else { return Ok(None) };
    let folder = folder_of(reader, KEY);
    let absolute = |path: &PathBuf| resolve(&folder.join(path));
    paths.iter().map(absolute).collect::<Result<_, _>>().map(Some)
}

fn cgroup(text: &str) -> Option<String> {
    let is_path = Path::new(text).is_absolute() && !text.contains('\0');
    (text.is_empty() || text == SandboxConfig::AUTO || is_path).then(|| text.to_owned())
}
