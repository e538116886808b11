//! The HTTP contract, tested against the real daemon: every row of the table of routes and every
//! refusal.

#[path = "support/daemon.rs"]
mod daemon;

#[path = "support/dependency.rs"]
mod dependency;

#[path = "contract/mod.rs"]
mod contract;
