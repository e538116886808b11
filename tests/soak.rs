//! Mixed work for as long as `DAEDALUS_SOAK_S` says, and nothing of the daemon grows.

#[path = "failover/daemon.rs"]
#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod daemon;
#[path = "failover/log.rs"]
#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod log;
#[path = "failover/os.rs"]
#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod os;
#[path = "support/place.rs"]
mod place;
#[path = "failover/pool.rs"]
#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod pool;
#[path = "soak/mod.rs"]
mod soak;
