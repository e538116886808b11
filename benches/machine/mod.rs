//! What the benchmarks say of the machine before any number, and T: what its disk takes for the
//! smallest thing that lasts.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many pages the file of the probe has; they are written in turn.
const PAGES: u64 = 1_024;
const PAGE: [u8; 4_096] = [7; 4_096];

/// Whether short rounds are wanted: to see that a benchmark works, not what it finds.
pub(crate) fn quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}

/// What follows `name` on the command line.
pub(crate) fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// Prints what the numbers below depend on. `cargo bench --bench NAME`
pub(crate) fn show() {
    let cores = std::thread::available_parallelism().unwrap();
    let cpu = line("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = line("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    println!("machine: {cores} cores, {cpu}; {memory}; Linux {}; load {load}", kernel.trim());
    if quick() {
        println!("--quick: these rounds are too short for numbers to keep");
    }
}

/// Prints T and returns the probe, to be asked again in between.
pub(crate) fn show_disk() -> Probe {
    let mut probe = Probe::new();
    let mut times = probe.times(200);
    times.sort_unstable();
    println!(
        "T: 4 KiB write + fdatasync on {}: p50 {:?}  p99 {:?}",
        file_system(&scratch()),
        percentile(&times, 0.5),
        percentile(&times, 0.99),
    );
    probe
}

/// Writes a page and syncs it, on the file system of the stores.
pub(crate) struct Probe {
    file: File,
    path: PathBuf,
    page: u64,
}

impl Probe {
    fn new() -> Self {
        let path = scratch().join(format!("probe-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        for page in 0..PAGES {
            file.write_all_at(&PAGE, page * PAGE.len() as u64).unwrap();
        }
        file.sync_all().unwrap();
        Self { file, path, page: 0 }
    }

    /// How long one write took.
    pub(crate) fn time(&mut self) -> Duration {
        let begun = Instant::now();
        self.file.write_all_at(&PAGE, self.page * PAGE.len() as u64).unwrap();
        self.file.sync_data().unwrap();
        self.page = (self.page + 1) % PAGES;
        begun.elapsed()
    }

    pub(crate) fn times(&mut self, count: usize) -> Vec<Duration> {
        (0..count).map(|_| self.time()).collect()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Where the stores of the benchmarks are: not in a folder that may be in memory.
pub(crate) fn scratch() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&path).unwrap();
    path
}

/// What a process has in memory, in MB: all of it, and what no file stands behind.
pub(crate) fn resident(pid: u32) -> (f64, f64) {
    let status = format!("/proc/{pid}/status");
    let mb = |name| {
        let text = line(&status, name).expect("a process that lives");
        let kb: f64 = text.trim_end_matches(" kB").parse().unwrap();
        kb * 1_024.0 / 1e6
    };
    (mb("VmRSS"), mb("RssAnon"))
}

/// The value of the first line `name: value`.
fn line(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
    values.next().map(str::to_owned)
}

/// The type of the file system that `path` is on.
fn file_system(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let here = mounts.filter(|(point, _)| path.starts_with(point));
    here.max_by_key(|(point, _)| point.len()).map_or("?", |(_, kind)| kind).to_owned()
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}
