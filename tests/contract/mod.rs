//! One file per group of routes.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests measure time, and their helpers stand outside of test functions"
)]

mod agents;
mod bad_input;
mod conflicts;
mod external;
mod limits;
mod pool;
mod reports;
mod shutdown;
mod tasks;
mod trace;
