//! One file per group of routes.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests measure time, and their helpers stand outside of test functions"
)]

mod agents;
mod bad_input;
mod canary;
mod canary_tasks;
mod children;
mod conflicts;
mod external;
mod follow_ups;
mod gate_orders;
mod gates;
mod idempotency;
mod isolation;
mod limits;
mod lists;
mod mcp;
mod mcp_limits;
mod mcp_protocol;
mod mcp_schemas;
mod openapi;
mod pool;
mod prometheus;
mod reports;
mod retry;
mod sandbox;
mod schedules;
mod shutdown;
mod store;
mod tasks;
mod trace;
