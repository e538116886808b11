//! The pool and its tasks, as a client sees them, and what must hold of them after everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use daedalus::worker::proc;
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::os::{alive_below, mark_of, marked, until};

/// An agent, as the daemon shows it.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) status: String,
    /// Empty when it is not degraded.
    pub(crate) reason: String,
    pub(crate) detail: String,
    pub(crate) incarnation: u64,
    pub(crate) task: Option<String>,
    /// The worker.
    pub(crate) pid: Option<u32>,
}

impl Agent {
    fn read(shown: &Value) -> Self {
        let agent = &shown["agent"];
        let text = |key: &str| agent[key].as_str().unwrap_or_default().to_owned();
        Self {
            id: text("agent_id"),
            status: text("status"),
            reason: text("status_reason"),
            detail: text("status_detail"),
            incarnation: agent["incarnation"].as_u64().expect("a number"),
            task: agent["current_task_id"].as_str().map(str::to_owned),
            pid: agent["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()),
        }
    }

    /// The process of an agent that has one.
    pub(crate) fn worker(&self) -> u32 {
        self.pid.unwrap_or_else(|| panic!("no process: {self:?}"))
    }

    /// The parent of its process.
    pub(crate) fn launcher(&self) -> u32 {
        proc::parent(self.worker()).unwrap_or_else(|| panic!("no launcher: {self:?}"))
    }
}

impl Daemon {
    pub(crate) fn agents(&self) -> Vec<Agent> {
        let agents = self.ok("GET", "/agents", None);
        agents.as_array().expect("a list").iter().map(Agent::read).collect()
    }

    pub(crate) fn agent(&self, id: &str) -> Agent {
        Agent::read(&self.ok("GET", &format!("/agents/{id}"), None))
    }

    /// Waits until the agent is as wanted.
    pub(crate) fn agent_when(&self, id: &str, what: &str, is: impl Fn(&Agent) -> bool) -> Agent {
        until(what, || Some(self.agent(id)).filter(|agent| is(agent)))
    }

    /// Waits until there are `count` agents and all of them have nothing to do.
    pub(crate) fn all_idle(&self, count: usize) -> Vec<Agent> {
        until(&format!("{count} agents are idle"), || {
            let agents = self.agents();
            let idle = agents.iter().filter(|agent| agent.status == "idle").count();
            (idle == count && agents.len() == count).then_some(agents)
        })
    }

    /// Submits a task with this payload; its id.
    pub(crate) fn submit(&self, payload: Value) -> String {
        self.submit_whole(&json!({ "payload": payload }))
    }

    pub(crate) fn submit_whole(&self, body: &Value) -> String {
        let accepted = self.ok("POST", "/tasks", Some(body));
        accepted["task_id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn task(&self, id: &str) -> Value {
        self.ok("GET", &format!("/tasks/{id}"), None)
    }

    /// Waits for the end of the task.
    pub(crate) fn ended(&self, id: &str) -> Value {
        let task = self.ok("GET", &format!("/tasks/{id}?wait_s=30"), None);
        let ended = ["completed", "failed", "cancelled"].iter().any(|end| task["status"] == *end);
        assert!(ended, "the task did not end: {task}");
        task
    }

    /// Waits until the task runs, and returns its agent.
    pub(crate) fn executor(&self, task: &str) -> Agent {
        until("the task is executed", || {
            let runs =
                |agent: &Agent| agent.task.as_deref() == Some(task) && agent.status == "executing";
            self.agents().into_iter().find(runs)
        })
    }

    /// Submits a task and waits until it runs.
    pub(crate) fn begin(&self, payload: Value) -> (String, Agent) {
        let task = self.submit(payload);
        let agent = self.executor(&task);
        (task, agent)
    }

    /// Every living process of this daemon but itself, by its mark and by its parents.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        let below = alive_below(self.pid);
        let mark = below.iter().find_map(|pid| mark_of(*pid));
        let marked = mark.map(|mark| marked(&mark)).unwrap_or_default();
        below.union(&marked).copied().collect()
    }

    /// Once all `count` agents are idle: they are all there is, a launcher and a worker each.
    pub(crate) fn assert_no_orphans(&self, count: usize) {
        let agents = self.all_idle(count);
        let known: BTreeSet<u32> =
            agents.iter().flat_map(|agent| [agent.worker(), agent.launcher()]).collect();
        assert_eq!(self.processes(), known, "left over by some agent; {agents:?}");
        self.assert_nothing_overlapped();
    }

    /// No run of a task began before the one before it was over: by the record that the workers
    /// write, and by the log, where the end of a tree stands before the next assignment.
    pub(crate) fn assert_nothing_overlapped(&self) {
        let record = fs::read_to_string(self.place.join("record/runs")).unwrap_or_default();
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for line in record.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [task, attempt, what] = words[..] else { panic!("{line}") };
            let attempt: u64 = attempt.parse().expect("a number");
            let newest = newest.entry(task).or_default();
            if what == "start" {
                assert!(attempt > *newest, "started twice:\n{record}");
                *newest = attempt;
            } else {
                assert_eq!(attempt, *newest, "ran beside its successor:\n{record}");
            }
        }
        for moved in self.logged("task_requeued") {
            let (task, attempt) = (&moved["task_id"], moved["attempt"].as_u64());
            let assigned = |wanted: Option<u64>| {
                self.log.position(move |line| {
                    line["msg"] == "task_assigned"
                        && line["task_id"] == *task
                        && line["attempt"].as_u64() == wanted
                })
            };
            let given = assigned(attempt).expect("it was assigned");
            let Some(next) = assigned(attempt.map(|attempt| attempt + 1)) else { continue };
            if moved["outcome"] != "agent_failed" {
                continue; // a worker that answers has ended its run and lives on
            }
            let incarnation = self.log.nth(given)["incarnation"].clone();
            let gone = self.log.position(|line| {
                line["msg"] == "process tree gone"
                    && line["agent_id"] == moved["agent_id"]
                    && line["incarnation"] == incarnation
            });
            assert!(gone.is_some_and(|gone| gone < next), "moved before its run was over: {moved}");
        }
    }

    /// How often each attempt of the task was begun.
    pub(crate) fn starts(&self, task: &str) -> usize {
        let record = fs::read_to_string(self.place.join("record/runs")).unwrap_or_default();
        record.lines().filter(|line| line.starts_with(task) && line.ends_with(" start")).count()
    }

    /// Asserts that the first attempt of the task failed with its agent, for this cause, and that
    /// the second completed elsewhere.
    pub(crate) fn assert_moved(&self, task: &str, cause: &str, detail: &str) {
        let task = self.ended(task);
        let whole = &task;
        assert_eq!(task["status"], "completed", "{whole}");
        let [first, second] = &task["attempts"].as_array().expect("a list")[..] else {
            panic!("not two attempts: {whole}");
        };
        assert_eq!((&first["attempt"], &first["outcome"]), (&json!(1), &json!("agent_failed")));
        assert_eq!(first["failure"]["cause"], cause, "{whole}");
        let said = first["failure"]["detail"].as_str().unwrap_or_default();
        assert!(said.contains(detail), "{said:?} does not say {detail:?}");
        assert_eq!((&second["attempt"], &second["outcome"]), (&json!(2), &json!("completed")));
        assert_ne!(first["agent_id"], second["agent_id"], "{whole}");
        assert_eq!(second["decision"]["excluded"], json!([first["agent_id"]]), "{whole}");
        assert_eq!(task["failed_agent_ids"], json!([first["agent_id"]]), "{whole}");
        assert_eq!(task["failures"], 1, "{whole}");
        assert_eq!(first["overlap_possible"], false, "{whole}");
        let id = task["task_id"].as_str().expect("an id");
        let completed = self.logged("task_completed");
        let times = completed.iter().filter(|line| line["task_id"] == id).count();
        assert_eq!(times, 1, "completed exactly once");
    }
}
