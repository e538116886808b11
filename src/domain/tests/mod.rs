//! The rules of the pool as scenarios, and storms of events under which they must hold.

#![expect(clippy::wildcard_enum_match_arm, reason = "a scenario looks for one effect among all")]

mod attempts;
mod backlog;
mod children;
mod clock;
mod daemon;
mod deadlines;
mod disk;
mod durability;
mod exclusion;
mod fair_share;
mod fair_share_storm;
mod families;
mod follow_up_plans;
mod follow_up_storm;
mod follow_ups;
mod gate_holds;
mod gate_waits;
mod gates;
mod gating;
mod happens;
mod idempotency;
mod indexes;
mod invariants;
mod jobs;
mod leases;
mod leaving;
mod outside;
mod over;
mod phases;
mod queueing;
mod reading;
mod restarts;
mod results;
mod retrying;
mod routing;
mod schedule_times;
mod schedules;
mod stopping;
mod stops;
mod storm;
mod watching;
mod words;
mod world;
