//! User ids for the agents of tests.

use uuid::Uuid;

/// More than a full pool has.
const PER_POOL: u128 = 20;
/// So many pools have room below the highest id that may be configured.
const POOLS: u128 = 100_000_000;

/// The first of the ids of one pool. The processes of a user are counted on the whole machine, so
/// pools that run at the same time, in this process or beside it, must not share any.
pub(crate) fn first_uid() -> u32 {
    let pool = Uuid::new_v4().as_u128() % POOLS;
    u32::try_from(1_900_000_000 + pool * PER_POOL).expect("below 4 000 000 000")
}
