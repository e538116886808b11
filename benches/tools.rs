//! A tool call over MCP beside the same call over plain HTTP. `cargo bench --bench tools`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

mod load;
mod machine;

use std::time::{Duration, Instant};

use load::{Connection, SUBMIT, Server, task_id};
use machine::{percentile, quick};
use serde_json::{Value, json};

/// One call in both forms.
struct Call {
    what: &'static str,
    /// The method, the path and the body.
    plain: (&'static str, String, String),
    /// The body for `POST /mcp`.
    tool: String,
}

fn main() {
    machine::show();
    let calls = if quick() { 50 } else { 2_000 };
    println!(
        "a tool call beside the same call over plain HTTP, one connection each, {calls} calls"
    );
    let config = "[pool]\nautostart = false\n[worker]\nkind = \"external\"\n\
                  [queue]\nmax_depth = 1000000\n[store]\npath = \":memory:\"\n[log]\nlevel = \"warning\"\n";
    let server = Server::daemon("tools", config, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&server, calls));
}

async fn measure(server: &Server, calls: usize) {
    let mut plain = Connection::open(&server.addr).await;
    let mut tools = Connection::open(&server.addr).await;
    let id = task_id(plain.post("/tasks", SUBMIT).await).to_owned();
    let submit: Value = serde_json::from_str(SUBMIT).unwrap();
    let both = [
        Call {
            what: "submit a task",
            plain: ("POST", "/tasks".to_owned(), SUBMIT.to_owned()),
            tool: tool("submit_coordination_task", &submit),
        },
        Call {
            what: "read a task",
            plain: ("GET", format!("/tasks/{id}"), String::new()),
            tool: tool("get_coordination_task", &json!({"task_id": id})),
        },
        Call {
            what: "read the metrics",
            plain: ("GET", "/metrics".to_owned(), String::new()),
            tool: tool("coordination_metrics", &json!({})),
        },
    ];
    for call in &both {
        let (method, path, body) = &call.plain;
        let mut times = [Vec::new(), Vec::new()];
        for number in 0..calls + 20 {
            let begun = Instant::now();
            plain.call(method, path, body).await;
            let plainly = begun.elapsed();
            let begun = Instant::now();
            let answer = tools.call("POST", "/mcp", &call.tool).await;
            let as_tool = begun.elapsed();
            if number == 0 {
                let answer: Value = serde_json::from_slice(answer).unwrap();
                assert!(answer["result"]["structuredContent"].is_object(), "{answer}");
            } else if number >= 20 {
                times[0].push(plainly); // the first ones warm up
                times[1].push(as_tool);
            }
        }
        show(call.what, &mut times);
    }
}

/// The body of a call of this tool.
fn tool(name: &str, arguments: &Value) -> String {
    let params = json!({"name": name, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string()
}

fn show(what: &str, times: &mut [Vec<Duration>; 2]) {
    print!("  {what:<18}");
    let mut middles = Vec::new();
    for (name, times) in ["plain", "tool"].iter().zip(times) {
        times.sort_unstable();
        let (p50, p99) = (percentile(times, 0.5), percentile(times, 0.99));
        print!("  {name} p50 {p50:>8.1?} p99 {p99:>8.1?}");
        middles.push(p50.as_secs_f64());
    }
    println!("  {:.2} x plain", middles[1] / middles[0]);
}
