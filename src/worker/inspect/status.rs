//! Who a process is, what it may use and where it lives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rustix::thread::CapabilitySet;
use serde::Serialize;
use utoipa::ToSchema;

/// How much of something a process may use; `None` is no limit. The units are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProcessLimit)]
pub struct Limit {
    /// What holds.
    pub soft: Option<u64>,
    /// How far it may raise that by itself.
    pub hard: Option<u64>,
}

/// What is used here of `/proc/PID/status`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) no_new_privs: Option<bool>,
    pub(super) seccomp: Option<u8>,
    pub(super) capabilities: Option<BTreeSet<String>>,
}

impl Status {
    pub(super) fn of(pid: u32) -> Self {
        fs::read(format!("/proc/{pid}/status"))
            .map(|status| Self::parse(&String::from_utf8_lossy(&status)))
            .unwrap_or_default()
    }

    fn parse(status: &str) -> Self {
        let mut found = Self::default();
        for line in status.lines() {
            let Some((name, values)) = line.split_once(':') else { continue };
            let mut values = values.split_whitespace();
            // Of real, effective, saved and that of files the second is the one that acts.
            match name {
                "Uid" => found.uid = values.nth(1).and_then(|id| id.parse().ok()),
                "Gid" => found.gid = values.nth(1).and_then(|id| id.parse().ok()),
                "NoNewPrivs" => found.no_new_privs = values.next().map(|flag| flag == "1"),
                // What it may take up; what it uses is a part of that.
                "CapPrm" => found.capabilities = values.next().and_then(capabilities),
                "Seccomp" => found.seccomp = values.next().and_then(|mode| mode.parse().ok()),
                _ => {}
            }
        }
        found
    }
}

/// The names of a set of capabilities, which is a number to the base of 16.
fn capabilities(set: &str) -> Option<BTreeSet<String>> {
    let set = CapabilitySet::from_bits_retain(u64::from_str_radix(set, 16).ok()?);
    let mut names = set.iter_names();
    let mut found: BTreeSet<_> = names.by_ref().map(|(name, _)| name.to_owned()).collect();
    // One of a newer kernel.
    let nameless = names.remaining().bits();
    found.extend((nameless != 0).then(|| format!("{nameless:#x}")));
    Some(found)
}

/// Empty when they may not be read.
pub(super) fn namespaces(pid: u32) -> BTreeMap<String, u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/ns")) else { return BTreeMap::new() };
    let namespace = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        // `net:[4026531840]`
        let number = target.to_str()?.split_once(":[")?.1.strip_suffix(']')?.parse().ok()?;
        // Those for children to come are those of the process itself but for a moment.
        (!name.ends_with("_for_children")).then_some((name, number))
    };
    entries.flatten().filter_map(namespace).collect()
}

/// Empty when they may not be read.
pub(super) fn limits(pid: u32) -> BTreeMap<String, Limit> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    // The first line is the head.
    limits.lines().skip(1).filter_map(limit).collect()
}

/// `Max open files            1024                 524288               files     `
fn limit(line: &str) -> Option<(String, Limit)> {
    const NAME_ENDS: usize = 26;
    let (name, values) = line.split_at_checked(NAME_ENDS)?;
    let name = name.trim().strip_prefix("Max ")?.to_lowercase().replace(' ', "_");
    let mut values = values.split_whitespace();
    let mut value = || {
        let value = values.next()?;
        if value == "unlimited" { Some(None) } else { value.parse().ok().map(Some) }
    };
    Some((name, Limit { soft: value()?, hard: value()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_the_kernel_writes_it() {
        let text = "Name:\tx\nUid:\t0\t1000\t0\t0\nGid:\t7\t8\t7\t7\nCapInh:\t0000000000000fff\n\
             CapPrm:\t8000000000000003\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let capabilities = ["CHOWN", "DAC_OVERRIDE", "0x8000000000000000"];
        let expected = Status {
            uid: Some(1000),
            gid: Some(8),
            no_new_privs: Some(true),
            seccomp: Some(2),
            capabilities: Some(capabilities.map(str::to_owned).into()),
        };
        assert_eq!(Status::parse(text), expected);
        assert_eq!(Status::parse("nonsense"), Status::default());
    }

    #[test]
    fn a_limit_is_read_as_the_kernel_writes_it() {
        let line = "Max open files            1024                 unlimited            files     ";
        let expected = Limit { soft: Some(1024), hard: None };
        assert_eq!(limit(line), Some(("open_files".to_owned(), expected)));
        assert_eq!(limit("Max"), None);
    }

    #[test]
    fn the_limits_and_namespaces_of_this_process_are_there() {
        let own = std::process::id();
        let limits = limits(own);
        for name in ["open_files", "processes", "core_file_size", "address_space", "cpu_time"] {
            assert!(limits.contains_key(name), "{name}: {limits:?}");
        }
        let namespaces = namespaces(own);
        assert!(namespaces.contains_key("net") && namespaces.contains_key("pid"), "{namespaces:?}");
    }
}
