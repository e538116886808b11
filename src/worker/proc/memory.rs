//! The memory of a process tree.

use super::{descendants, rss_bytes};

/// The resident memory of everything under `root` without `root` itself. What two of them share
/// counts twice.
#[must_use]
pub fn tree_rss_bytes(root: u32) -> u64 {
    descendants(root).into_iter().filter_map(rss_bytes).sum()
}
