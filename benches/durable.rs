//! What the disk costs a daemon that has little to do, what a long history costs one that starts,
//! and what either costs in memory. `cargo bench --bench durable`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

mod load;
mod machine;
mod stored;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use daedalus::domain::TaskId;
use load::{Connection, Folder, SUBMIT, Server, submit_and_complete, task_id, until};
use machine::{Probe, percentile, quick, resident};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde_json::{Value, json};

/// So long nothing happens between two calls of a daemon that is at rest.
const PAUSE: Duration = Duration::from_millis(4);
/// Nobody is refused for the length of the queue.
const DEEP: &str = "[queue]\nmax_depth = 1000000\n[log]\nlevel = \"warning\"\n";
const EXTERNAL: &str = "[worker]\nkind = \"external\"\n";

fn main() {
    machine::show();
    let mut probe = machine::show_disk();
    submit_at_rest(&mut probe);
    submit_to_start(&mut probe);
    start_with_a_past();
    a_long_life();
}

fn config(store: &str, agents: usize) -> String {
    format!("[pool]\nsize = {agents}\nmax_size = 64\n[store]\npath = \"{store}\"\n{DEEP}")
}

fn show(what: &str, times: &mut [Duration], sync: Option<Duration>) -> Duration {
    times.sort_unstable();
    let (p50, p99) = (percentile(times, 0.5), percentile(times, 0.99));
    print!("  {what:<34} p50 {p50:>9.1?}  p99 {p99:>9.1?}");
    if let Some(sync) = sync {
        print!("  p50 - T {:>7.3} ms", (p50.as_secs_f64() - sync.as_secs_f64()) * 1e3);
    }
    println!();
    p50
}

/// One submit after the other, with a pause before each; a synced write of the probe in between,
/// so that both see the same disk.
fn submit_at_rest(probe: &mut Probe) {
    let calls = if quick() { 40 } else { 500 };
    println!("submit at rest, one connection, {calls} calls");
    let none = Server::daemon("none", &config("daedalus.db", 0), 0);
    let busy = config("daedalus.db", 4) + EXTERNAL;
    let busy = Server::daemon("busy", &busy, 4);
    for _ in 0..4 {
        busy.post("/tasks", &json!({"payload": {}}));
    }
    let memory = Server::daemon("memory", &config(":memory:", 0), 0);
    let servers =
        [("memory, no agents", memory), ("disk, no agents", none), ("disk, 4 busy", busy)];
    let mut times = [(); 3].map(|()| Vec::new());
    let mut syncs = Vec::new();
    block_on(async {
        let mut connections = Vec::new();
        for (_, server) in &servers {
            connections.push(Connection::open(&server.addr).await);
        }
        for call in 0..calls + 10 {
            let mut took = Vec::new();
            for connection in &mut connections {
                std::thread::sleep(PAUSE);
                let begun = Instant::now();
                connection.post("/tasks", SUBMIT).await;
                took.push(begun.elapsed());
            }
            std::thread::sleep(PAUSE);
            let sync = probe.time();
            if call >= 10 {
                syncs.push(sync); // the first ones warm up
                times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
            }
        }
    });
    let sync = show("T", &mut syncs, None);
    for ((name, _), times) in servers.iter().zip(&mut times) {
        show(name, times, name.starts_with("disk").then_some(sync));
    }
}

/// From a submit to the start of the task in an idle worker process, as the daemon measured it.
fn submit_to_start(probe: &mut Probe) {
    let calls = if quick() { 40 } else { 500 };
    println!("submit to start, 4 idle processes, {calls} calls");
    println!("reach on a quiet disk: p50 <= T + 0.4 ms, p99 <= 2 ms");
    let memory = Server::daemon("memory", &config(":memory:", 4), 4);
    let disk = Server::daemon("disk", &config("daedalus.db", 4), 4);
    let servers = [("memory", memory), ("disk", disk)];
    let mut times = [(); 2].map(|()| Vec::new());
    let mut syncs = Vec::new();
    block_on(async {
        let mut connections = Vec::new();
        for (_, server) in &servers {
            connections.push(Connection::open(&server.addr).await);
        }
        for call in 0..calls + 10 {
            for (connection, times) in connections.iter_mut().zip(&mut times) {
                std::thread::sleep(PAUSE);
                let body = r#"{"payload":{"action":"echo","value":1}}"#;
                let id = task_id(connection.post("/tasks", body).await).to_owned();
                let task = connection.get(&format!("/tasks/{id}?wait_s=20")).await;
                let task: Value = serde_json::from_slice(task).unwrap();
                let ms = task["assignment_latency_ms"].as_f64().unwrap();
                if call >= 10 {
                    times.push(Duration::from_secs_f64(ms / 1e3)); // the first ones warm up
                }
            }
            std::thread::sleep(PAUSE);
            syncs.push(probe.time());
        }
    });
    let sync = show("T", &mut syncs, None);
    for ((name, _), times) in servers.iter().zip(&mut times) {
        show(name, times, (*name == "disk").then_some(sync));
    }
}

/// Starts on a store with a long history, with nothing of it in the page cache and then with all.
fn start_with_a_past() {
    let (tasks, pending) = if quick() { (50_000, 500) } else { (1_000_000, 10_000) };
    println!(
        "start with {tasks} stored tasks, {pending} of them pending, every {}th",
        tasks / pending
    );
    println!(
        "reach: <= 1 s to the first acknowledged submit; resident <= 15 MB idle, <= 40 MB then"
    );
    let empty = Server::daemon("empty", "", 4);
    std::thread::sleep(Duration::from_secs(1));
    show_memory("idle, empty store, 4 processes", &empty);
    drop(empty);

    let folder = Folder::new("past");
    let store = folder.path().join("daedalus.db");
    let begun = Instant::now();
    let ended = stored::write(&store, tasks, tasks / pending, |done| {
        if done % (tasks / 10) == 0 {
            print!("\r  writing: {done} tasks, {:.0} s ", begun.elapsed().as_secs_f64());
            let _ = std::io::stdout().flush();
        }
    });
    let bytes = std::fs::metadata(&store).unwrap().len();
    println!("\r  written in {:.0} s, {:.0} MB", begun.elapsed().as_secs_f64(), bytes as f64 / 1e6);
    let config = config("daedalus.db", 4) + EXTERNAL;
    for cached in [false, true, true, true] {
        if !cached {
            forget_pages(&store);
        }
        let begun = Instant::now();
        let server = Server::begin(&folder, &config);
        submit_when_it_listens(&server);
        let took = begun.elapsed();
        let pages = if cached { "page cache warm" } else { "page cache cold" };
        println!("  first submit acknowledged after {took:.1?} ({pages})");
    }
    let server = Server::begin(&folder, &config);
    submit_when_it_listens(&server);
    show_memory("after the start", &server);
    let metrics = server.get("/metrics");
    assert!(metrics["tasks_pending"].as_u64().unwrap() >= pending - 4, "{metrics}");
    read_around(&server, &ended);
    show_memory("after 200 pages and 1000 tasks", &server);
    block_on(async {
        let mut connection = Connection::open(&server.addr).await;
        for _ in 0..500 {
            connection.post("/tasks", SUBMIT).await;
        }
    });
    show_memory("after 500 submits", &server);
}

fn submit_when_it_listens(server: &Server) {
    until(|| std::net::TcpStream::connect(&server.addr).ok());
    block_on(async {
        Connection::open(&server.addr).await.post("/tasks", SUBMIT).await;
    });
}

/// Reads lists and single tasks of all ages.
fn read_around(server: &Server, ended: &[TaskId]) {
    block_on(async {
        let mut connection = Connection::open(&server.addr).await;
        let mut path = "/tasks?limit=100".to_owned();
        for _ in 0..200 {
            let page: Value = serde_json::from_slice(connection.get(&path).await).unwrap();
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/tasks?limit=100&cursor={cursor}");
        }
        for id in ended {
            connection.get(&format!("/tasks/{id}")).await;
        }
    });
}

/// What ended tasks leave behind in the memory of the daemon that ran them.
fn a_long_life() {
    let tasks = if quick() { 4_000 } else { 200_000 };
    println!("{tasks} tasks in one life, 16 external agents and connections, on disk");
    let config = config("daedalus.db", 16) + EXTERNAL;
    let server = Server::daemon("life", &config, 16);
    show_memory("at the start", &server);
    let (begun, mut done) = (Instant::now(), 0);
    for quarter in 1..=4 {
        while done < tasks * quarter / 4 {
            done +=
                submit_and_complete(&server.addr, 16, Duration::from_millis(500)).latencies.len();
        }
        show_memory(
            &format!("after {done} tasks, {:.0} s", begun.elapsed().as_secs_f64()),
            &server,
        );
    }
}

fn show_memory(when: &str, server: &Server) {
    let (all, anonymous) = resident(server.pid());
    println!("  {when:<34} resident {all:>5.1} MB, {anonymous:>5.1} MB of it anonymous");
}

/// Takes a file out of the page cache, as after a boot.
fn forget_pages(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}
