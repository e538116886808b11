//! A worker that tries what it is told to, for tests of what it can and cannot do.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "this is test code, shared by several files, outside of any test function"
)]

use daedalus::domain::{Confinement, Guard};
use daedalus::worker::protocol::FromWorker;
use serde_json::{Value, json};

use super::support::{Agent, Pool};

const PROGRAM: &str = include_str!("probe.py");

/// A process that runs Python.
pub struct Probe {
    pub agent: Agent,
    /// What its launcher said of it.
    pub confinement: Confinement,
}

impl Probe {
    pub async fn start(pool: &Pool) -> Self {
        let agent = pool.process(&["python3", "-I", "-c", PROGRAM]).await;
        let confinement = agent.confinement().clone();
        Self { agent, confinement }
    }

    /// Runs some Python: the value of its last expression, or the name of the error.
    pub async fn run(&mut self, code: &str) -> Result<Value, String> {
        let line = format!("{}\n", json!({ "run": code }));
        assert!(self.agent.writer.as_ref().unwrap().send(line.into_bytes()));
        let said = match self.agent.frame().await {
            FromWorker::Log(log) => serde_json::from_str::<Value>(&log.text).unwrap(),
            other => panic!("{other:?} instead of an answer"),
        };
        match said["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(said["ok"].clone()),
        }
    }

    pub fn enforces(&self, guard: Guard) -> bool {
        self.confinement.enforces(guard)
    }

    /// Where it works.
    pub fn workdir(&self) -> String {
        self.agent.spec.workdir.display().to_string()
    }
}
