//! The keys of `[[gate]]`.

use actix_web::http::Uri;

use super::build::{DAY_S, HOUR_S};
use super::entries::{entries, type_names};
use super::error::ConfigError;
use super::reader::Reader;
use super::{GateConfig, defaults};
use crate::domain::{TaskType, TaskTypes};

/// The scheduler keeps sets of gates in small words.
const GATES_MAX: usize = 16;

const URL: &str = "an address such as \"http://127.0.0.1:8000/health\"";

/// Every `[[gate]]`.
pub(super) fn gates(reader: &mut Reader) -> Result<Vec<GateConfig>, ConfigError> {
    entries(reader, "gate", GATES_MAX, gate)
}

fn gate(reader: &mut Reader, section: &str, name: String) -> Result<GateConfig, ConfigError> {
    let key = |name: &str| format!("{section}.{name}");
    let default = defaults::gate(name, task_types(reader, &key("task_types"))?);
    Ok(GateConfig {
        health_url: health_url(reader, &key("health_url"))?,
        interval: reader.seconds(&key("interval_s"), 0.05..=HOUR_S, default.interval)?,
        timeout: reader.seconds(&key("timeout_s"), 0.01..=60.0, default.timeout)?,
        failures_to_close: reader.integer(
            &key("failures_to_close"),
            1..=100,
            default.failures_to_close,
        )?,
        start_grace: reader.seconds(&key("start_grace_s"), 0.0..=HOUR_S, default.start_grace)?,
        max_wait: reader.optional_seconds(&key("max_wait_s"), 0.1..=30.0 * DAY_S)?,
        ..default
    })
}

fn task_types(reader: &mut Reader, key: &str) -> Result<TaskTypes, ConfigError> {
    let allowed = format!("a list of one or more of {}", type_names());
    let types = reader.optional_list(key, &allowed, TaskType::parse)?;
    let types = reader.required(key, &allowed, types)?;
    reader.check(!types.is_empty(), key, key, format!("must be {allowed}, found none"))?;
    Ok(types.into_iter().collect())
}

/// An address that is refused is not repeated: there may be a password in it.
fn health_url(reader: &mut Reader, key: &str) -> Result<Option<String>, ConfigError> {
    let url = reader.optional_text(key, URL, |text| Some(text.to_owned()))?;
    if let Some(problem) = url.as_deref().and_then(problem_of) {
        return Err(reader.refusal(key, problem));
    }
    Ok(url)
}

fn problem_of(url: &str) -> Option<String> {
    let uri = url.parse::<Uri>().ok();
    let scheme = uri.as_ref().and_then(Uri::scheme_str);
    if scheme == Some("https") {
        return Some(format!(
            "must be {URL}; TLS is not spoken here, so \"https\" cannot be asked"
        ));
    }
    let authority = uri.as_ref().and_then(Uri::authority);
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Some(format!("must be {URL}, without a name and password before the host"));
    }
    let is_whole = authority.is_some_and(|authority| {
        let port = authority.port_u16().filter(|port| *port > 0);
        let whole = port.map(|port| format!("{}:{port}", authority.host()));
        let host = authority.host();
        !host.is_empty() && authority.as_str() == whole.as_deref().unwrap_or(host)
    });
    let is_good = scheme == Some("http") && is_whole && !url.contains('#');
    (!is_good).then(|| format!("must be {URL}"))
}
