//! What runs on an external agent while the daemon is away: a lease tells how long the agent was
//! silent, a time-out goes on, a cancel is not forgotten.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::client::{Client, World};
use super::os::{let_pass, now, try_to_send, until};
use super::site::Site;

const NO_AGENTS: &str = "[pool]\nautostart = false\n[queue]\nexclusion_relax_s = 0\n";
/// In seconds: what a start and a call may take on a busy machine.
const LEASE: u64 = 8;
/// Longer than a lease.
const AWAY: Duration = Duration::from_millis(8_500);

/// The only agent, which has fetched the only task.
struct Busy<'a> {
    client: Client<'a>,
    agent: String,
    task: String,
}

impl<'a> Busy<'a> {
    fn new(world: &'a World) -> Self {
        Self::with_lease(world, json!(LEASE))
    }

    fn with_lease(world: &'a World, lease_s: Value) -> Self {
        let client = world.client();
        let body = json!({"kind": "external", "lease_s": lease_s});
        let agent = client.spawn(Some(&body)).expect("there is room");
        let task = client.submit("t", true, &json!({"token": "t"})).expect("it is accepted");
        let work = until("the task is fetched", || client.fetch(&agent));
        assert_eq!(work["task_id"], *task);
        Self { client, agent, task }
    }

    fn heartbeat(&self, incarnation: u64) -> (u16, Value) {
        let path = format!("/agents/{}/heartbeat?incarnation={incarnation}", self.agent);
        self.client.call("POST", &path, None).1.expect("the daemon is there")
    }

    /// The first life of the agent goes on, and its result is taken.
    fn is_still_at_it(&self) {
        let (status, said) = self.heartbeat(1);
        assert_eq!(
            (status, &said["task_id"], &said["attempt"]),
            (200, &json!(self.task), &json!(1))
        );
        let path = format!("/tasks/{}/complete?attempt=1", self.task);
        self.client.ok("POST", &path, Some(&json!({"result": "done"})));
        let shown = self.client.ok("GET", &format!("/tasks/{}", self.task), None);
        assert_eq!((&shown["attempt_count"], &shown["failures"]), (&json!(1), &json!(0)));
    }

    /// The task once an attempt has failed.
    fn task_that_failed(&self) -> Value {
        until("the attempt is over", || {
            let shown = self.client.ok("GET", &format!("/tasks/{}", self.task), None);
            (shown["failures"] == 1).then_some(shown)
        })
    }
}

/// How long the first attempt took, in seconds.
fn held_s(task: &Value) -> f64 {
    let at = |name: &str| task["attempts"][0][name].as_f64().expect("a time");
    at("ended_at") - at("assigned_at")
}

#[test]
fn a_lease_does_not_end_while_there_is_no_daemon() {
    let mut sites = [Site::new(NO_AGENTS), Site::new(NO_AGENTS)];
    let worlds = [World::new(sites[0].line.clone()), World::new(sites[1].line.clone())];
    sites.iter_mut().for_each(|site| drop(site.start()));
    let busy = worlds.each_ref().map(Busy::new);
    let [killed, stopped] = &mut sites;
    killed.kill();
    assert_eq!(stopped.stop().code(), Some(0), "{}", stopped.tail());
    let_pass(AWAY);
    sites.iter_mut().for_each(|site| drop(site.start()));
    busy.iter().for_each(Busy::is_still_at_it);
}

#[test]
fn a_lease_does_not_end_while_the_daemon_stops() {
    // A worker that does not end when it is asked to: the stop takes longer than the lease.
    let script = r#"
        echo '{"type":"hello","proto":[1,1],"pid":1}'; read -r init; echo '{"type":"ready"}'
        while :; do sleep 1000; done
    "#;
    let command = json!(["sh", "-c", script]);
    let config = format!("{NO_AGENTS}[worker]\ncommand = {command}\n");
    // A lease that is short enough may also end because the machine stands still: then it says nothing.
    let said_something = (0..20).any(|_| outlasted_a_stop(&config));
    assert!(said_something, "this machine does nothing within half a second");
}

/// Whether a lease of a second was seen to outlast a longer stop; fails when it did not.
fn outlasted_a_stop(config: &str) -> bool {
    const SOON: Duration = Duration::from_millis(500);
    let mut site = Site::new(config);
    let world = World::new(site.line.clone());
    site.start();
    let stubborn = json!({"kind": "process", "task_types": ["ingest"]});
    world.client().spawn(Some(&stubborn)).expect("there is room");
    let busy = Busy::with_lease(&world, json!(1));
    let begun = now();
    try_to_send(site.pid(), Signal::SIGTERM);
    until("it stops", || site.log().contains("\"stopping\"").then_some(()));
    let stopped_soon = begun.elapsed() < SOON;
    assert_eq!(site.ended().code(), Some(0), "{}", site.tail());
    assert!(begun.elapsed() > Duration::from_secs(1), "it stopped in {:?}", begun.elapsed());
    let begun = now();
    site.start();
    let (status, _) = busy.heartbeat(1);
    let back_soon = begun.elapsed() < 2 * SOON;
    assert!(status == 200 || !stopped_soon || !back_soon, "{}", site.tail());
    stopped_soon && back_soon
}

#[test]
fn a_lease_does_not_end_while_the_daemon_stands_still() {
    // The watch notices a standstill that is longer than the time between two signs of life.
    let mut site = Site::new(&format!("{NO_AGENTS}[worker]\nheartbeat_s = 0.5\n"));
    let world = World::new(site.line.clone());
    site.start();
    let busy = Busy::new(&world);
    try_to_send(site.pid(), Signal::SIGSTOP);
    let_pass(AWAY);
    try_to_send(site.pid(), Signal::SIGCONT);
    busy.is_still_at_it();
}

#[test]
fn a_lease_begins_anew_with_the_daemon_and_ends_in_its_time() {
    let mut site = Site::new(NO_AGENTS);
    let world = World::new(site.line.clone());
    site.start();
    let busy = Busy::new(&world);
    site.kill();
    let_pass(AWAY);
    site.start();
    let shown = busy.task_that_failed();
    let held = held_s(&shown);
    assert!(held >= AWAY.as_secs_f64() + LEASE as f64, "lost after {held} s");
    assert_eq!(shown["attempts"][0]["outcome"], "agent_failed", "{shown}");
    assert_eq!(shown["attempts"][0]["failure"]["cause"], "lease_lost", "{shown}");
    assert_eq!(busy.heartbeat(1).1["code"], "stale_incarnation");
}

#[test]
fn a_drain_goes_on_with_the_next_daemon() {
    let mut site = Site::new("[pool]\nautostart = false\nmax_size = 2\n");
    let world = World::new(site.line.clone());
    site.start();
    let busy = Busy::with_lease(&world, Value::Null);
    let (client, external) = (world.client(), json!({"kind": "external"}));
    let other = client.spawn(Some(&external)).expect("there is room");
    let gone = format!("/agents/{}", busy.agent);
    thread::scope(|scope| {
        let removal = scope.spawn(|| client.ask("DELETE", &format!("{gone}?drain_s=3600"), None));
        until("it is being removed", || {
            let (_, said) = busy.client.ask("POST", &format!("{gone}/recover"), None)?;
            said["detail"].as_str()?.contains("being removed").then_some(())
        });
        site.kill();
        assert_eq!(removal.join().expect("no panic"), None);
    });
    site.start();
    assert_eq!(busy.client.fetch(&other), None, "nobody else gets its task");
    let pool = busy.client.ok("POST", "/pool/initialize", Some(&json!({"size": 1})));
    assert_eq!((&pool["agent_ids"], &pool["spawned_agents"]), (&json!([other]), &json!(0)));
    busy.client.spawn(Some(&external)).expect("it takes no place any more");
    busy.is_still_at_it();
    until("it is gone", || {
        busy.client.ask("GET", &gone, None).filter(|(status, _)| *status == 404)
    });
}

#[test]
fn a_time_out_goes_on_while_there_is_no_daemon() {
    let config = format!("{NO_AGENTS}[worker]\ntask_timeout_s = 10\ncancel_grace_s = 600\n");
    let mut site = Site::new(&config);
    let world = World::new(site.line.clone());
    site.start();
    let busy = Busy::with_lease(&world, Value::Null);
    site.kill();
    let_pass(AWAY);
    site.start();
    until("it is asked to stop", || {
        (busy.heartbeat(1).1["cancel_requested"] == true).then_some(())
    });
    let path = format!("/tasks/{}/complete?attempt=1&success=false", busy.task);
    let stopped = json!({"error": {"code": "stopped", "message": "as asked", "retryable": true}});
    busy.client.ok("POST", &path, Some(&stopped));
    let shown = busy.task_that_failed();
    assert_eq!(shown["attempts"][0]["outcome"], "timed_out", "{shown}");
    // Not ten seconds after the start.
    let held = held_s(&shown);
    assert!(held >= 10.0 && held < AWAY.as_secs_f64() + 10.0, "timed out after {held} s");
}

#[test]
fn a_cancel_is_not_forgotten_while_there_is_no_daemon() {
    let mut site = Site::new(&format!("{NO_AGENTS}[worker]\ncancel_grace_s = 60\n"));
    let world = World::new(site.line.clone());
    site.start();
    let busy = Busy::with_lease(&world, Value::Null);
    busy.client.cancel(&busy.task);
    site.kill();
    site.start();
    let next = busy.client.submit("next", true, &json!({"token": "next"})).expect("accepted");
    let said = busy.heartbeat(1).1;
    assert_eq!((&said["task_id"], &said["cancel_requested"]), (&json!(busy.task), &json!(true)));
    assert_eq!(busy.client.ok("GET", &format!("/tasks/{next}"), None)["status"], "pending");
    // Its answer comes too late for the task, and frees the agent.
    let path = format!("/tasks/{}/complete?attempt=1", busy.task);
    let (status, said) = busy.client.ask("POST", &path, Some(&json!({}))).expect("an answer");
    assert_eq!((status, &said["code"]), (409, &json!("already_finished")));
    let work = until("the next one is fetched", || busy.client.fetch(&busy.agent));
    assert_eq!(work["task_id"], *next);
}
