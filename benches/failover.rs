//! How long it takes from `kill -9` of a worker to its task started elsewhere, and from submit to
//! start on an idle pool, with real processes. `cargo bench --bench failover`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

mod load;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use load::{Server, percentile};
use serde_json::{Value, json};

const KILLS: usize = 200;
const STARTS: usize = 500;

/// Sixteen agents that may die as often as they like.
const CONFIG: &str = "[pool]\nsize = 16\nrestarts_max = 1000\nrestart_window_s = 1\n\
                      [queue]\nmax_attempts = 100\n[log]\nlevel = \"warning\"\n";

fn main() {
    let server = Server::daemon("failover", CONFIG);
    while get(&server, "/metrics")["agents"]["idle"] != 16 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut failovers: Vec<_> = (0..KILLS).map(|_| failover(&server)).collect();
    show("kill -9 to started elsewhere (reach: p99 <= 10 ms)", &mut failovers);
    let mut starts: Vec<_> = (0..STARTS).map(|_| start(&server)).collect();
    show("submit to start, idle pool", &mut starts);
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let [p50, p99] = [0.5, 0.99].map(|share| percentile(times, share));
    let worst = times[times.len() - 1];
    println!("{what}: p50 {p50:?}  p99 {p99:?}  worst {worst:?}  ({} times)", times.len());
}

/// Kills the worker of a running task and reads when its next attempt started.
fn failover(server: &Server) -> Duration {
    let task = submit(server, &json!({"action": "sleep", "seconds": 600}));
    let path = format!("/tasks/{task}");
    let running = until(|| {
        let shown = get(server, &path);
        shown["attempts"][0]["started_at"].is_f64().then_some(shown)
    });
    let agent = running["assigned_agent_id"].as_str().unwrap();
    let pid = get(server, &format!("/agents/{agent}"))["agent"]["pid"].to_string();
    let killed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid.parse().unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let started = until(|| get(server, &path)["attempts"][1]["started_at"].as_f64());
    let took = Duration::from_secs_f64((started - killed.as_secs_f64()).max(0.0));
    post(server, &format!("{path}/cancel"));
    until(|| (get(server, "/metrics")["agents"]["idle"] == 16).then_some(()));
    took
}

fn start(server: &Server) -> Duration {
    let task = submit(server, &json!({"action": "echo", "value": 1}));
    let shown = get(server, &format!("/tasks/{task}?wait_s=10"));
    Duration::from_secs_f64(shown["assignment_latency_ms"].as_f64().unwrap() / 1e3)
}

fn submit(server: &Server, payload: &Value) -> String {
    let body = json!({"payload": payload});
    let answer = ureq::post(server.url("/tasks")).send_json(&body).unwrap();
    let answer: Value = answer.into_body().read_json().unwrap();
    answer["task_id"].as_str().unwrap().to_owned()
}

fn post(server: &Server, path: &str) {
    ureq::post(server.url(path)).send_empty().unwrap();
}

fn get(server: &Server, path: &str) -> Value {
    ureq::get(server.url(path)).call().unwrap().into_body().read_json().unwrap()
}

fn until<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    for _ in 0..10_000 {
        if let Some(value) = condition() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("nothing came within 10 s");
}
