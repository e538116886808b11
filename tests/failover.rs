//! Fail-over of real processes, through the real daemon and its HTTP interface.

#[path = "failover/mod.rs"]
mod failover;
#[path = "support/place.rs"]
mod place;
