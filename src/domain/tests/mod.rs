//! The rules of the pool as scenarios, and storms of events under which they must hold.

#![expect(clippy::wildcard_enum_match_arm, reason = "a scenario looks for one effect among all")]

mod attempts;
mod disk;
mod exclusion;
mod gates;
mod idempotency;
mod indexes;
mod invariants;
mod leases;
mod leaving;
mod outside;
mod over;
mod queueing;
mod reading;
mod results;
mod routing;
mod storm;
mod watching;
mod words;
mod world;
