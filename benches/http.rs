//! Submit + complete over HTTP, as many external agents as connections: on disk beside in memory
//! beside actix-web alone reading and writing the same bytes with as many workers.
//! `cargo bench --bench http`, or with `-- --connections 64` for some of it.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

mod load;
mod machine;

use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use load::{Server, submit_and_complete};
use machine::{median, percentile};

const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(2);
/// How often T is measured anew in each round.
const PROBES: usize = 40;

/// The store of a daemon that keeps nothing, and that of one by default.
const MEMORY: &str = ":memory:";
const DISK: &str = "daedalus.db";

fn daemon(name: &str, agents: usize, path: &str, level: &str) -> Server {
    let config = format!(
        "[pool]\nsize = {agents}\nmax_size = {agents}\n[worker]\nkind = \"external\"\n\
         [store]\npath = \"{path}\"\n[log]\nlevel = \"{level}\"\n"
    );
    Server::daemon(name, &config, agents)
}

/// What one server did in all rounds.
struct Row {
    name: &'static str,
    server: Server,
    rates: Vec<f64>,
    latencies: Vec<Duration>,
    commit_rates: Vec<f64>,
    turns_per_commit: Vec<f64>,
}

impl Row {
    const fn new(name: &'static str, server: Server) -> Self {
        Self {
            name,
            server,
            rates: Vec::new(),
            latencies: Vec::new(),
            commit_rates: Vec::new(),
            turns_per_commit: Vec::new(),
        }
    }

    fn is_on_disk(&self) -> bool {
        self.name.starts_with("disk")
    }

    /// The commits and the turns until now.
    fn commits(&self) -> Option<[f64; 2]> {
        self.is_on_disk().then(|| {
            let store = &self.server.get("/metrics")["store"];
            ["commits", "turns"].map(|name| store[name].as_f64().unwrap())
        })
    }

    fn round(&mut self, connections: usize, time: Duration) {
        let before = self.commits();
        let load = submit_and_complete(&self.server.addr, connections, time);
        let seconds = load.latencies.len() as f64 / load.per_second;
        self.rates.push(load.per_second);
        self.latencies.extend(load.latencies);
        if let (Some(before), Some(after)) = (before, self.commits()) {
            let commits = after[0] - before[0];
            self.commit_rates.push(commits / seconds);
            self.turns_per_commit.push((after[1] - before[1]) / commits);
        }
    }

    fn rate(&self) -> f64 {
        median(&mut self.rates.clone())
    }

    fn show(mut self, connections: usize, base: f64) {
        self.latencies.sort_unstable();
        let rate = self.rate();
        print!(
            "{connections:>3} connections  {:<16} {rate:>8.0}/s  {:.2} of bare  p50 {:>9.1?}  p99 {:>9.1?}",
            self.name,
            rate / base,
            percentile(&self.latencies, 0.5),
            percentile(&self.latencies, 0.99),
        );
        if self.is_on_disk() {
            print!(
                "  {:.0} commits/s, {:.1} acknowledged by each",
                median(&mut self.commit_rates),
                median(&mut self.turns_per_commit),
            );
        }
        println!();
    }
}

fn main() {
    if let Some(addr) = machine::argument("--bare") {
        return bare(&addr);
    }
    machine::show();
    let mut probe = machine::show_disk();
    let (rounds, time) = if machine::quick() { (1, TIME / 4) } else { (ROUNDS, TIME) };
    println!(
        "submit + complete over HTTP, as many external agents as connections, pairs per second"
    );
    println!("reach at 64 connections: in memory >= 0.75 of bare, on disk >= 0.5 of bare, or");
    println!("0.7 x 64 / T where the disk is the limit");
    let wanted = machine::argument("--connections").map(|text| text.parse().unwrap());
    for connections in [1, 16, 64] {
        if wanted.is_some_and(|wanted: usize| wanted != connections) {
            continue;
        }
        let mut rows = [
            Row::new("bare", Server::own("--bare")),
            Row::new("memory", daemon("memory", connections, MEMORY, "warning")),
            Row::new("memory, log info", daemon("talking", connections, MEMORY, "info")),
            Row::new("disk", daemon("disk", connections, DISK, "warning")),
            Row::new("disk, log info", daemon("disk-talking", connections, DISK, "info")),
        ];
        for row in &mut rows {
            submit_and_complete(&row.server.addr, connections, time / 2); // warms up
        }
        let mut syncs = Vec::new();
        for _ in 0..rounds {
            for row in &mut rows {
                row.round(connections, time);
            }
            syncs.extend(probe.times(PROBES));
        }
        syncs.sort_unstable();
        let sync = percentile(&syncs, 0.5);
        println!(
            "{connections:>3} connections  T p50 {sync:.1?}  p99 {:.1?}  0.7 x {connections} / T: {:.0}/s",
            percentile(&syncs, 0.99),
            0.7 * connections as f64 / sync.as_secs_f64(),
        );
        let base = rows[0].rate();
        for row in rows {
            row.show(connections, base);
        }
    }
}

/// actix-web alone: the same requests, answers of the same bytes.
fn bare(addr: &str) {
    const SUBMITTED: &str = r#"{"task_id":"01a2049e-4ef8-7760-be14-b1750dea0315","status":"in_progress","assigned_agent_id":"63758d4b-5f3f-44ce-aab1-89cf099a70f0","queue_position":null}"#;
    const COMPLETED: &str =
        r#"{"task_id":"01a2049e-4ef8-7760-be14-b1750dea0315","status":"completed"}"#;
    async fn answer(_body: web::Bytes, text: &'static str) -> HttpResponse {
        HttpResponse::Ok()
            .content_type("application/json")
            .insert_header(("x-trace-id", "66d32f42d29c43dc8497f77d7d3adf25"))
            .body(text)
    }
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(|| {
            App::new()
                .route("/tasks", web::post().to(|body| answer(body, SUBMITTED)))
                .route("/tasks/{id}/complete", web::post().to(|body| answer(body, COMPLETED)))
        })
        .bind(addr)
        .unwrap();
        let workers = std::thread::available_parallelism().unwrap().get();
        server.workers(workers).run().await.unwrap();
    });
}
