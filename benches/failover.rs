//! How long it takes from `kill -9` of a worker to its task started elsewhere, beside what a machine
//! takes for the least of that, and from submit to start on an idle pool, with real processes.
//! `cargo bench --bench failover`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

mod load;
mod machine;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use load::{Server, until};
use machine::{Probe, percentile};
use serde_json::{Value, json};

const KILLS: usize = 200;
const STARTS: usize = 500;

/// Sixteen agents that may die as often as they like.
const CONFIG: &str = "[pool]\nsize = 16\nrestarts_max = 1000\nrestart_window_s = 1\n\
                      [queue]\nmax_attempts = 100\n[log]\nlevel = \"warning\"\n";

fn main() {
    machine::show();
    let probe = machine::show_disk();
    let (kills, starts) =
        if machine::quick() { (KILLS / 10, STARTS / 10) } else { (KILLS, STARTS) };
    let server = Server::daemon("failover", CONFIG, 16);
    let mut bare = Bare::new(probe);
    // In turn, so that both meet the same machine.
    let both = (0..kills).map(|_| (failover(&server), bare.failover()));
    let (mut failovers, mut bares): (Vec<_>, Vec<_>) = both.unzip();
    show("kill -9 to started elsewhere (reach: p99 <= 10 ms)", &mut failovers);
    show("bare: a shell sees its child die and ends, T, a line to a process and back", &mut bares);
    let mut starts: Vec<_> = (0..starts).map(|_| start(&server)).collect();
    show("submit to start, idle pool", &mut starts);
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let [p50, p99] = [0.5, 0.99].map(|share| percentile(times, share));
    let worst = times[times.len() - 1];
    println!("{what}: p50 {p50:?}  p99 {p99:?}  worst {worst:?}  ({} times)", times.len());
}

/// The same without a daemon: a shell in place of the launcher, a write that lasts, and a process
/// that answers a line in place of the next worker. What the kernel takes for it, nobody can spare.
struct Bare {
    probe: Probe,
    next: Child,
    to_next: ChildStdin,
    from_next: BufReader<ChildStdout>,
}

impl Bare {
    fn new(probe: Probe) -> Self {
        let mut next =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to_next, from_next) = (next.stdin.take().unwrap(), next.stdout.take().unwrap());
        Self { probe, next, to_next, from_next: BufReader::new(from_next) }
    }

    fn failover(&mut self) -> Duration {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 600 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let killed = Instant::now();
        kill(line.trim());
        shell.wait().unwrap();
        self.probe.time();
        self.to_next.write_all(b"start\n").unwrap();
        self.from_next.read_line(&mut line).unwrap();
        killed.elapsed()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.next.kill();
        let _ = self.next.wait();
    }
}

/// Kills the worker of a running task and reads when its next attempt started.
fn failover(server: &Server) -> Duration {
    let task = submit(server, &json!({"action": "sleep", "seconds": 600}));
    let path = format!("/tasks/{task}");
    let running = until(|| {
        let shown = server.get(&path);
        shown["attempts"][0]["started_at"].is_f64().then_some(shown)
    });
    let agent = running["assigned_agent_id"].as_str().unwrap();
    let pid = server.get(&format!("/agents/{agent}"))["agent"]["pid"].to_string();
    let killed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    kill(&pid);
    let started = until(|| server.get(&path)["attempts"][1]["started_at"].as_f64());
    let took = Duration::from_secs_f64((started - killed.as_secs_f64()).max(0.0));
    ureq::post(server.url(&format!("{path}/cancel"))).send_empty().unwrap();
    until(|| (server.get("/metrics")["agents"]["idle"] == 16).then_some(()));
    took
}

fn kill(pid: &str) {
    let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn start(server: &Server) -> Duration {
    let task = submit(server, &json!({"action": "echo", "value": 1}));
    let shown = server.get(&format!("/tasks/{task}?wait_s=10"));
    Duration::from_secs_f64(shown["assignment_latency_ms"].as_f64().unwrap() / 1e3)
}

fn submit(server: &Server, payload: &Value) -> String {
    let answer = server.post("/tasks", &json!({"payload": payload}));
    answer["task_id"].as_str().unwrap().to_owned()
}
