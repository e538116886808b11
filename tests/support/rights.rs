//! What this process may do, as the kernel says.

use std::fs;

/// Whether it has all these capabilities, by their numbers, on the whole machine. Those of another
/// user namespace than the first mean less.
pub(crate) fn has(capabilities: &[u32]) -> bool {
    let set = u64::from_str_radix(&own("CapEff"), 16).unwrap();
    let has_all = capabilities.iter().all(|bit| set & 1 << bit != 0);
    has_all && maps_all_ids("uid")
}

/// Whether each `uid` or `gid` is the same here and on the machine.
pub(crate) fn maps_all_ids(kind: &str) -> bool {
    let map = fs::read_to_string(format!("/proc/self/{kind}_map")).unwrap();
    map.split_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"]
}

/// A field of the status of this process.
pub(crate) fn own(field: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let named = |line: &str| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned);
    status.lines().find_map(named).unwrap_or_default().trim().to_owned()
}
