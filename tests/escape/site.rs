//! A pool whose agents try to get out.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use daedalus::domain::Guard;
use serde_json::{Value, json};

use super::daemon::{Daemon, text, wait_until};
use super::rights;

/// No agent has it.
const OTHER_UID: u32 = 1_999_999_999;

/// Whether this is a root who may become anybody, open raw sockets and make devices.
pub(crate) fn is_mighty() -> bool {
    rights::has(&[7, 13, 27])
}

/// Whether a send that connects is worth a try. An older kernel without rules for TCP has the
/// filter of system calls all the same, and there the report promises less than holds.
pub(crate) fn has_fast_open(enforced: &BTreeSet<Guard>) -> bool {
    let is_told = enforced.is_empty() || enforced.contains(&Guard::Tcp);
    let settings = fs::read_to_string("/proc/sys/net/ipv4/tcp_fastopen").unwrap_or_default();
    is_told && settings.trim().parse().is_ok_and(|bits: u32| bits & 1 != 0)
}

/// A daemon with agents that have planted what the others must not reach.
pub(crate) struct Site {
    pub(crate) daemon: Daemon,
    agents: Vec<String>,
    victims: Vec<Value>,
    allowed: TcpListener,
    forbidden: TcpListener,
}

impl Site {
    /// A pool of so many agents; `sandbox` are lines of `[worker.sandbox]`.
    pub(crate) fn new(sandbox: &str, agents: usize) -> Self {
        let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (allowed, forbidden) = (listener(), listener());
        let worker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/escape/worker.py");
        let port = allowed.local_addr().unwrap().port();
        let config = format!(
            "[pool]\nautostart = false\n[worker]\ncommand = [\"python3\", \"-I\", {worker:?}]\n\
             [worker.sandbox]\nconnect = [{port}]\n{sandbox}"
        );
        let (daemon, agents) = Daemon::with_agents(&config, agents);
        let mut site = Self { daemon, agents, victims: Vec::new(), allowed, forbidden };
        let tasks: Vec<_> =
            site.agents.iter().map(|agent| site.give(agent, json!({ "do": "plant" }))).collect();
        site.victims = tasks.iter().map(|task| site.result(task)).collect();
        site
    }

    /// The guards that are in force for every agent, as the report says.
    pub(crate) fn enforced(&self) -> BTreeSet<Guard> {
        let report = self.daemon.get("/isolation-report").ok();
        let of = |detail: &Value| -> BTreeSet<Guard> {
            serde_json::from_value(detail["measured"]["confinement"]["enforced"].clone()).unwrap()
        };
        let details = report["details"].as_array().unwrap();
        let first = of(&details[0]);
        for detail in details {
            assert_eq!(of(detail), first, "all are confined alike");
        }
        first
    }

    /// Lets each agent attack all the others and the daemon, one after the other.
    pub(crate) fn attack_all(&self) -> Vec<Value> {
        let payload = json!({
            "do": "attack",
            "victims": self.victims,
            "daemon": {
                "pid": self.daemon.pid(),
                "port": self.daemon.addr.rsplit(':').next().unwrap().parse::<u16>().unwrap(),
                "store": self.daemon.state_dir().join("daedalus.db"),
                "configuration": self.daemon.state_dir().with_file_name("daedalus.toml"),
                "allowed_port": self.allowed.local_addr().unwrap().port(),
                "forbidden_port": self.forbidden.local_addr().unwrap().port(),
                "has_fast_open": has_fast_open(&self.enforced()),
                "is_mighty": is_mighty(),
                "other_uid": OTHER_UID,
            },
        });
        let attack = |agent: &String| self.result(&self.give(agent, payload.clone()));
        self.agents.iter().map(attack).collect()
    }

    fn give(&self, agent: &str, payload: Value) -> String {
        wait_until("the agent is idle", || {
            (self.daemon.agent(agent)["status"] == "idle").then_some(())
        });
        self.daemon.submit(&json!({ "payload": payload, "preferred_agent_id": agent }))
    }

    fn result(&self, task: &str) -> Value {
        let task = self.daemon.get(&format!("/tasks/{task}?wait_s=60")).ok();
        assert_eq!(task["status"], "completed", "{task}");
        let result = &task["result"];
        assert_eq!(text(&task["assigned_agent_id"]), text(&result["agent"]), "by its agent");
        result.clone()
    }
}
