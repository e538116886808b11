//! Whether something grew: the last third of the looks against the first third, after a while in
//! which everything comes to its size.

use std::time::Duration;

use super::look::Look;

/// The share of the looks that comes before the daemon has its size.
const WARM_UP: f64 = 0.2;
/// What the memory may grow by: caches of the allocator and of SQLite fill up to a bound in the
/// first minutes. What ends leaves memory for the disk, so that a task that is kept costs nothing:
/// at ten tasks a second 100 bytes of each would be 3.6 MB in an hour.
const MEMORY_KIB: usize = 2 * 1024;
/// The same for a short run, which is over while it warms up.
const MEMORY_AT_FIRST_KIB: usize = 12 * 1024;
/// From here on a run is long.
const LONG: Duration = Duration::from_secs(600);
/// What is there at one moment and not at another: calls under way, lives that begin and end.
const IN_FLUX: usize = 24;

type Number = fn(&Look) -> usize;

/// Panics when something is larger at the end than at first, by the median of each.
#[expect(clippy::print_stdout, reason = "it is what a soak is read for")]
pub(crate) fn assert_none(looks: &[Look], length: Duration) {
    let warm = &looks[(looks.len() as f64 * WARM_UP) as usize..];
    let third = warm.len() / 3;
    assert!(third > 0, "too short to see anything");
    let (first, last) = (&warm[..third], &warm[warm.len() - third..]);
    let memory = if length >= LONG { MEMORY_KIB } else { MEMORY_AT_FIRST_KIB };
    let numbers: [(&str, Number, usize); 5] = [
        ("KiB of resident memory", |look| look.rss_kib, memory),
        ("open files", |look| look.files, IN_FLUX),
        ("threads", |look| look.threads, 2),
        ("processes", |look| look.processes, IN_FLUX),
        ("working directories", |look| look.workdirs, 4),
    ];
    for (what, number, allowed) in numbers {
        let (before, after) = (median(first, number), median(last, number));
        println!("{what}: {before}, then {after} (at most {allowed} more)");
        assert!(after <= before + allowed, "{what} grew from {before} to {after}");
    }
}

fn median(looks: &[Look], number: Number) -> usize {
    let mut numbers: Vec<_> = looks.iter().map(number).collect();
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}
