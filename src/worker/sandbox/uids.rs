//! User ids for agents, each for one process tree at a time.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// How many ids from the first on must mean something here.
const RANGE: u32 = 1024;

/// What a daemon must be able to do to give a worker an id of its own, to look after it, and to
/// tidy up behind it: the bits of the capability set, with their names.
const CAPABILITIES: [(u32, &str); 7] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (3, "CAP_FOWNER"),
    (5, "CAP_KILL"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
    (19, "CAP_SYS_PTRACE"),
];

/// The ids of the living trees.
#[derive(Debug)]
pub(in crate::worker) struct Uids {
    /// The lowest, or why there is none.
    first: Result<u32, String>,
    taken: BTreeSet<u32>,
}

impl Uids {
    /// Ids from `first` on; 0: none.
    pub(in crate::worker) fn new(first: u32) -> Self {
        let first = obstacle(first).map_or(Ok(first), Err);
        Self { first, taken: BTreeSet::new() }
    }

    /// The lowest id, or why there is none.
    pub(super) fn first(&self) -> Result<u32, String> {
        self.first.clone()
    }

    /// Takes the lowest id that no living tree has.
    pub(in crate::worker) fn take(&mut self) -> Result<u32, String> {
        let first = self.first.clone()?;
        let free = (first..u32::MAX).find(|uid| !self.taken.contains(uid));
        let uid = free.ok_or_else(|| "every user id is taken".to_owned())?;
        self.taken.insert(uid);
        Ok(uid)
    }

    /// Nothing of its tree is left, and nothing that belongs to the id can be reached.
    pub(in crate::worker) fn give_back(&mut self, uid: u32) {
        self.taken.remove(&uid);
    }
}

/// Why workers cannot have ids of their own.
fn obstacle(first: u32) -> Option<String> {
    if first == 0 {
        return Some("worker.sandbox.first_uid is 0".to_owned());
    }
    if !geteuid().is_root() {
        return Some("the daemon does not run as root".to_owned());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lacking = capabilities_lacking(&status);
    if !lacking.is_empty() {
        return Some(format!("the daemon runs as root without {}", lacking.join(", ")));
    }
    for map in ["/proc/self/uid_map", "/proc/self/gid_map"] {
        let text = fs::read_to_string(map).unwrap_or_default();
        if !maps(&text, first) {
            return Some(format!(
                "the ids from {first} on mean nothing in this user namespace; \
                 worker.sandbox.first_uid sets others"
            ));
        }
    }
    None
}

fn capabilities_lacking(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    let lacks = |(bit, _): &&(u32, _)| set & (1 << bit) == 0;
    CAPABILITIES.iter().filter(lacks).map(|(_, name)| *name).collect()
}

/// Whether a map of a user namespace has all ids from `first` on.
fn maps(map: &str, first: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> =
            line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [inside, _, count] = numbers[..] else { return false };
        let (first, last) = (u64::from(first), u64::from(first) + u64::from(RANGE));
        inside <= first && last <= inside + count
    })
}

/// What on the way to one of `paths` is closed to other users; the way to `workdir` is looked at
/// but not that itself, because it will belong to the worker.
pub(super) fn closed(paths: &[PathBuf], workdir: &Path) -> Option<PathBuf> {
    let on_the_way = |path: &Path| {
        path.ancestors().skip(1).find(|folder| !allows(folder, 0o001)).map(Path::to_path_buf)
    };
    let is_closed = |path: &PathBuf| {
        // A link is followed on foot: by the folders before it and by those behind it.
        let behind = path.canonicalize().ok()?;
        on_the_way(path)
            .or_else(|| on_the_way(&behind))
            .or_else(|| (!allows(&behind, 0o005)).then_some(behind))
    };
    on_the_way(workdir).or_else(|| paths.iter().find_map(is_closed))
}

/// Whether one of these rights is given to everybody. What is not there is in nobody's way.
fn allows(path: &Path, mode: u32) -> bool {
    path.as_os_str().is_empty()
        || fs::metadata(path).map_or(true, |found| found.permissions().mode() & mode != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn the_lowest_free_id_is_taken() {
        let mut uids = Uids { first: Ok(7000), taken: BTreeSet::new() };
        assert_eq!([uids.take(), uids.take(), uids.take()], [Ok(7000), Ok(7001), Ok(7002)]);
        uids.give_back(7001);
        assert_eq!([uids.take(), uids.take()], [Ok(7001), Ok(7003)]);
        let mut none = Uids::new(0);
        assert_eq!(none.take(), Err("worker.sandbox.first_uid is 0".to_owned()));
    }

    #[test]
    fn what_a_root_cannot_do_is_named() {
        assert!(capabilities_lacking("CapEff:\t000001ffffffffff\n").is_empty());
        let docker = capabilities_lacking("Name:\tx\nCapEff:\t00000000a80425fb\n");
        assert_eq!(docker, ["CAP_SYS_PTRACE"]);
        assert_eq!(capabilities_lacking("").len(), CAPABILITIES.len());
    }

    #[test]
    fn a_user_namespace_must_have_the_ids() {
        assert!(maps("         0          0 4294967295\n", 1_900_000_000));
        assert!(!maps("         0     100000      65536\n", 1_900_000_000));
        assert!(maps("0 100000 65536\n", 60_000));
        assert!(!maps("0 100000 65536\n", 65_000));
        assert!(!maps("", 1000));
    }

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let place = std::env::temp_dir().join(format!("daedalus-{}-closed", std::process::id()));
        let closed_folder = place.join("closed");
        fs::create_dir_all(closed_folder.join("in")).unwrap();
        fs::write(closed_folder.join("in/program"), "").unwrap();
        let (workdir, program) = (place.join("agents/a"), closed_folder.join("in/program"));
        assert_eq!(closed(std::slice::from_ref(&program), &workdir), None);
        fs::set_permissions(&closed_folder, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(closed(&[program], &workdir), Some(closed_folder.clone()));
        assert_eq!(closed(&[], &closed_folder.join("in/agents")), Some(closed_folder));
        fs::remove_dir_all(place).unwrap();
    }
}
