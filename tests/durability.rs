//! Nothing accepted is ever lost, through deaths of the daemon, of agents and of disks: the real
//! daemon with its store on disk, and a checker of everything that was ever asked and answered.

#[path = "durability/mod.rs"]
mod durability;
#[path = "support/place.rs"]
mod place;
