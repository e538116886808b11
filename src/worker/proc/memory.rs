//! What `/proc` says of the memory of a process tree.

use std::fs;

use super::{descendants, hides, rss_bytes};

/// The resident memory of everything under `root` without `root` itself. What two of them share
/// counts twice.
#[must_use]
pub fn tree_rss_bytes(root: u32) -> u64 {
    descendants(root).into_iter().filter_map(rss_bytes).sum()
}

/// The memory that everything under `root` maps, in RAM and in swap, in bytes: what several
/// processes share counts several times. So it is never less than [`tree_own_bytes`], and cheap: some
/// ten microseconds per process. Memory that nobody maps at the moment is in neither: a `memfd`, a
/// detached System V segment, a file in a tmpfs.
#[must_use]
pub fn tree_mapped_bytes(root: u32) -> u64 {
    descendants(root).into_iter().filter_map(mapped_bytes).sum()
}

/// The memory of a process tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnMemory {
    /// How much, in bytes.
    pub bytes: u64,
    /// Whether every process counts, and what several of them share counts once. Else it counts
    /// several times for some of them, because the exact figure is not for this process to read, or
    /// there is one of which nothing is (`hidepid`).
    pub is_exact: bool,
}

/// The memory that everything under `root` maps, in RAM and in swap: what several processes share
/// counts once, in parts. The kernel looks at every page for that: it takes some 70 ms per gigabyte,
/// and some 2 ms per process.
#[must_use]
pub fn tree_own_bytes(root: u32) -> OwnMemory {
    own_of(descendants(root), own_bytes, mapped_bytes, hides)
}

fn own_of(
    pids: Vec<u32>,
    own: impl Fn(u32) -> Option<u64>,
    mapped: impl Fn(u32) -> Option<u64>,
    hides: impl Fn(u32) -> bool,
) -> OwnMemory {
    let mut memory = OwnMemory { bytes: 0, is_exact: true };
    for pid in pids {
        if let Some(own) = own(pid) {
            memory.bytes += own;
        } else if let Some(mapped) = mapped(pid) {
            memory.bytes += mapped;
            memory.is_exact = false;
        } else if hides(pid) {
            memory.is_exact = false;
        }
    }
    memory
}

fn mapped_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // A process that has ended has none of these lines.
    sum_of(&status, &["VmRSS:", "VmSwap:"])
}

fn own_bytes(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    sum_of(&rollup, &["Pss:", "SwapPss:"])
}

/// The sum of these lines of a file with lines such as `VmRSS:   1024 kB`, in bytes; `None` when it
/// has none of them.
fn sum_of(text: &str, names: &[&str]) -> Option<u64> {
    let bytes = |line: &str| {
        let (name, rest) = line.split_once(char::is_whitespace)?;
        let kilobytes = rest.trim().strip_suffix("kB").filter(|_| names.contains(&name))?;
        Some(kilobytes.trim().parse::<u64>().ok()? * 1024)
    };
    text.lines().filter_map(bytes).reduce(|sum, bytes| sum + bytes)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::worker::proc::parent;
    use crate::worker::spawner_thread::now;

    #[test]
    fn the_lines_that_count_are_added_up() {
        let status = "Name:\tVmRSS: 7 kB\nVmHWM:\t  99 kB\nVmRSS:\t  12 kB\nVmSwap:\t   3 kB\n";
        assert_eq!(sum_of(status, &["VmRSS:", "VmSwap:"]), Some(15 * 1024));
        assert_eq!(sum_of("Name:\tx\nState:\tZ (zombie)\n", &["VmRSS:", "VmSwap:"]), None);
        let rollup = "0-1 ---p 0 00:00 0    [rollup]\nRss:  9 kB\nPss:  5 kB\nPss_Anon: 4 kB\n";
        assert_eq!(sum_of(rollup, &["Pss:", "SwapPss:"]), Some(5 * 1024));
    }

    #[test]
    fn what_is_shared_counts_once_in_the_exact_figure() {
        // Of another process: that of the tests does other things meanwhile.
        let mut sleep = Command::new("sleep").arg("1000").spawn().unwrap();
        let figures = || Some((own_bytes(sleep.id())?, mapped_bytes(sleep.id())?));
        let begun = now();
        // Its libraries are those of others, too, as soon as it has begun.
        while !figures().is_some_and(|(exact, mapped)| exact > 0 && exact < mapped / 2) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", figures());
        }
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        let own = std::process::id();
        assert!(own_bytes(own).unwrap() > 100_000);
        assert!(tree_mapped_bytes(parent(own).unwrap()) > 100_000);
    }

    #[test]
    fn what_may_not_be_read_exactly_makes_the_sum_no_exact_one() {
        let memory = |own: [Option<u64>; 2], mapped: [Option<u64>; 2], hides: bool| {
            let of = |figures: [Option<u64>; 2]| move |pid: u32| figures[pid as usize];
            let memory = own_of(vec![0, 1], of(own), of(mapped), |_| hides);
            (memory.bytes, memory.is_exact)
        };
        assert_eq!(memory([Some(1), Some(2)], [Some(10), Some(20)], false), (3, true));
        assert_eq!(memory([Some(1), None], [Some(10), Some(20)], false), (21, false));
        assert_eq!(memory([Some(1), None], [Some(10), None], false), (1, true), "it has ended");
        assert_eq!(memory([Some(1), None], [Some(10), None], true), (1, false), "it is not seen");
    }

    #[test]
    fn a_tree_that_is_not_there_has_no_memory() {
        let none = OwnMemory { bytes: 0, is_exact: true };
        assert_eq!((tree_mapped_bytes(u32::MAX), tree_own_bytes(u32::MAX)), (0, none));
    }
}
