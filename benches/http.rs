//! Submit + complete over HTTP with 64 external agents, beside actix-web alone reading and writing
//! the same bytes with as many workers. `cargo bench --bench http`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

mod load;

use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use load::{Server, median, percentile, submit_and_complete};

const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(2);
const AGENTS: usize = 64;

fn config(level: &str) -> String {
    format!(
        "[pool]\nsize = {AGENTS}\nmax_size = {AGENTS}\n[worker]\nkind = \"external\"\n\
         [store]\npath = \":memory:\"\n[log]\nlevel = \"{level}\"\n"
    )
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--bare");
    if let Some(addr) = arguments.nth(1) {
        return bare(&addr);
    }
    println!("submit + complete over HTTP, {AGENTS} external agents, pairs of requests per second");
    println!("reach: >= 0.75 of bare at 64 connections");
    for connections in [1, 16, 64] {
        let bare = Server::own("--bare");
        let quiet = Server::daemon("quiet", &config("warning"));
        let talking = Server::daemon("talking", &config("info"));
        let servers = [("bare", &bare), ("log warning", &quiet), ("log info", &talking)];
        let mut rates = servers.map(|_| Vec::new());
        let mut latencies = servers.map(|_| Vec::new());
        for round in 0..=ROUNDS {
            for (index, (_, server)) in servers.iter().enumerate() {
                let load = submit_and_complete(&server.addr, connections, TIME);
                if round > 0 {
                    rates[index].push(load.per_second); // the first one warms up
                    latencies[index].extend(load.latencies);
                }
            }
        }
        let base = median(&mut rates[0].clone());
        for (index, (name, _)) in servers.iter().enumerate() {
            let rate = median(&mut rates[index]);
            latencies[index].sort_unstable();
            println!(
                "{connections:>3} connections  {name:<12} {rate:>8.0}/s  {:.2} of bare  p50 {:?}  p99 {:?}",
                rate / base,
                percentile(&latencies[index], 0.5),
                percentile(&latencies[index], 0.99),
            );
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
