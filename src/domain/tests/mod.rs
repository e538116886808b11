//! The rules of the pool as scenarios, and storms of events under which they must hold.

mod invariants;
mod leases;
mod leaving;
mod over;
mod results;
mod storm;
mod world;
