//! User ids for the agents of tests.

use std::sync::atomic::{AtomicU32, Ordering};

/// The highest number of a process on 64 bits is 2^22, and ids go up to 4 000 000 000.
const PER_PROCESS: u32 = 500;
/// More than a full pool has.
const PER_POOL: u32 = 20;

/// The first of the ids of one pool. The processes of a user are counted on the whole machine, so
/// pools that run at the same time, in this process or beside it, must not share any.
pub(crate) fn first_uid() -> u32 {
    static POOLS: AtomicU32 = AtomicU32::new(0);
    let pool = POOLS.fetch_add(1, Ordering::Relaxed) % (PER_PROCESS / PER_POOL);
    1_900_000_000 + std::process::id() % (1 << 22) * PER_PROCESS + pool * PER_POOL
}
