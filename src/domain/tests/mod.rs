//! The rules of the pool as scenarios, and storms of events under which they must hold.

mod invariants;
mod over;
mod world;
