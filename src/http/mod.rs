//! HTTP in and out: takes requests in, parses them into the types of the domain, asks the pool,
//! and shows its answers. Nothing here decides anything about tasks.
//!
//! A handler is a few lines: it gets a `Call`, reads its body, parses that and the query, asks the
//! handle of the pool and shows the answer. What can go wrong is a `Problem`; `around` gives every
//! answer its trace and every request its log line.

mod agent_show;
mod agents;
mod answer;
mod around;
mod body;
mod call;
mod canary;
mod complete;
mod external;
mod fields;
mod gates;
mod health;
mod inside;
mod isolation;
mod mcp;
mod meter;
mod openapi;
mod pool;
mod problem;
mod prometheus;
mod query;
mod reports;
mod retry;
mod routes;
mod schedules;
mod server;
mod task_show;
mod tasks;
mod trace;

pub use inside::desk;
pub use server::{HttpSettings, server};
