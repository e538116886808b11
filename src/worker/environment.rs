//! The environment of a worker. It is built and never inherited: what the daemon was started with
//! may hold secrets that are no agent's business.

use std::path::Path;

use crate::domain::AgentId;

/// Says that a process was started by this daemon.
pub const WORKER: &str = "DAEDALUS_WORKER";
/// Carries the store's id, by which a start finds what an earlier life left.
pub const STORE_ID: &str = "DAEDALUS_STORE_ID";
/// Carries the id of the agent.
pub const AGENT_ID: &str = "DAEDALUS_AGENT_ID";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a worker that is given `extra` finds its programs.
#[must_use]
pub fn path(extra: &[(String, String)]) -> &str {
    let path = extra.iter().rev().find(|(name, _)| name == "PATH");
    path.map_or(PATH, |(_, value)| value)
}

/// What a worker of `agent` gets. The entries of `extra` come last, so a configuration may replace
/// `PATH`; the daemon's own marks cannot be replaced.
#[must_use]
pub fn build(
    store_id: &str,
    agent: AgentId,
    workdir: &Path,
    extra: &[(String, String)],
) -> Vec<(String, String)> {
    let home = workdir.to_string_lossy();
    let mut environment: Vec<(String, String)> = [
        ("PATH", PATH),
        ("LANG", "C.UTF-8"),
        ("HOME", &home),
        ("TMPDIR", &home),
        // Libraries of workers load any `.env` that they find above them unless told otherwise.
        ("PYTHON_DOTENV_DISABLED", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    environment.extend_from_slice(extra);
    let agent = agent.to_string();
    for (name, value) in [(WORKER, "1"), (STORE_ID, store_id), (AGENT_ID, &agent)] {
        environment.push((name.to_owned(), value.to_owned()));
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    #[test]
    fn the_configuration_adds_and_replaces_but_not_the_marks() {
        let agent = AgentId::from_uuid(Uuid::nil());
        let extra = [("PATH", "/opt/bin"), ("KEY", "k"), (STORE_ID, "forged")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let built: BTreeMap<String, String> =
            build("s1", agent, Path::new("/w/a"), &extra).into_iter().collect();
        let expected = [
            ("DAEDALUS_AGENT_ID", "00000000-0000-0000-0000-000000000000"),
            ("DAEDALUS_STORE_ID", "s1"),
            ("DAEDALUS_WORKER", "1"),
            ("HOME", "/w/a"),
            ("KEY", "k"),
            ("LANG", "C.UTF-8"),
            ("PATH", "/opt/bin"),
            ("PYTHON_DOTENV_DISABLED", "1"),
            ("TMPDIR", "/w/a"),
        ];
        let expected: BTreeMap<String, String> =
            expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(built, expected);
    }
}
