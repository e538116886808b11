//! Whether something grew: the last third of the looks against the first third, after a while in
//! which everything comes to its size.

use std::time::Duration;

use super::look::Look;

/// The share of the looks that comes before the daemon has its size.
const WARM_UP: f64 = 0.2;
/// What the memory may grow by in a long run: the pieces of the allocator and the pages of SQLite come
/// to their size slowly. What ends leaves memory for the disk; were 40 bytes of each task left, this
/// would be over after 100 000 of them, which is half an hour at 60 a second.
const MEMORY_KIB: usize = 4 * 1024;
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
