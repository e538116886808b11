//! The HTTP contract, tested against the real daemon: every row of the table of routes and every
//! refusal.

#[path = "support/daemon.rs"]
mod daemon;

#[path = "contract/mod.rs"]
mod contract;
