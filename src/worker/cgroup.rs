//! Control groups (v2): each worker in a group of its own, so that its whole tree is killed in one
//! call, whatever it forks meanwhile.
//!
//! The launcher moves into the group, starts the worker there, and moves out again. Nothing counts
//! on it: what is left of a tree is looked for and killed as without groups.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

/// Asks for the group of the daemon itself.
const AUTO: &str = "auto";
/// What makes a group of ours known.
const PREFIX: &str = "daedalus";
/// The file of a group that kills everything in it.
const KILL: &str = "cgroup.kill";
/// The file of a group that takes processes.
const PROCESSES: &str = "cgroup.procs";
/// The file of a group that says whether something lives in it.
const EVENTS: &str = "cgroup.events";

/// Where the groups of one store's workers are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cgroups {
    base: Result<Base, String>,
    store_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    folder: PathBuf,
    /// The group of the daemon, to which launchers go back.
    home: PathBuf,
}

/// The group of one worker, as its launcher is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Its folder, which is made by the launcher.
    pub folder: PathBuf,
    /// The group to which the launcher goes back.
    pub home: PathBuf,
}

impl Cgroups {
    /// `wanted` is the folder, "auto", or nothing. It is tried out.
    pub(super) fn find(wanted: &str, store_id: &str) -> Self {
        let base = Base::find(wanted).and_then(|base| {
            let trial = base.folder.join(format!("{PREFIX}.{store_id}.trial"));
            try_out(&trial).map(|()| base)
        });
        Self { base, store_id: store_id.to_owned() }
    }

    /// A group for a worker of this name, or why it gets none.
    pub(super) fn of(&self, name: &str) -> Result<Cgroup, String> {
        let Base { folder, home } = self.base.clone()?;
        let folder = folder.join(format!("{PREFIX}.{}.{name}", self.store_id));
        Ok(Cgroup { folder, home })
    }

    /// The same for a look at what is there, without a trial.
    pub(super) fn of_earlier_lives(wanted: &str, store_id: &str) -> Self {
        Self { base: Base::find(wanted), store_id: store_id.to_owned() }
    }

    /// The groups of the workers of this store. To be called before there are new ones; one that
    /// this process is in itself, because a worker started it, is not among them.
    pub(super) fn present(&self) -> Vec<PathBuf> {
        let Ok(base) = &self.base else { return Vec::new() };
        let prefix = format!("{PREFIX}.{}.", self.store_id);
        fs::read_dir(&base.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()))
            .map(|entry| entry.path())
            .filter(|group| !base.home.starts_with(group))
            .collect()
    }
}

impl Base {
    fn find(wanted: &str) -> Result<Self, String> {
        if wanted.is_empty() {
            return Err("worker.sandbox.cgroup is empty".to_owned());
        }
        let home = own_group().ok_or_else(|| {
            "there is no cgroup2 file system, or the daemon is not in it".to_owned()
        })?;
        if wanted != AUTO {
            return Ok(Self { folder: PathBuf::from(wanted), home });
        }
        if !is_delegated(&home) {
            return Err(format!(
                "the control group {} was not delegated to the daemon (Delegate=yes of a systemd unit)",
                home.display()
            ));
        }
        Ok(Self { folder: home.clone(), home })
    }
}

impl Cgroup {
    /// Makes the group and moves this process into it.
    pub(super) fn enter(&self) -> io::Result<()> {
        fs::create_dir(&self.folder)?;
        move_to(&self.folder).inspect_err(|_| remove(&self.folder))
    }

    /// Moves this process out again.
    pub(super) fn leave(&self) -> io::Result<()> {
        move_to(&self.home)
    }
}

/// Kills everything in a group. Without a group there is nothing in it.
pub(super) fn kill(folder: &Path) {
    let _not_there = write(&folder.join(KILL), "1");
}

/// Whether something lives in a group or below it. Nothing does where there is no group.
pub(super) fn is_populated(folder: &Path) -> bool {
    let events = fs::read_to_string(folder.join(EVENTS)).unwrap_or_default();
    events.lines().any(|line| line == "populated 1")
}

/// The processes in a group and below it.
pub(super) fn processes(folder: &Path) -> Vec<u32> {
    let lists = with_those_below(folder).into_iter();
    let lists = lists.filter_map(|group| fs::read_to_string(group.join(PROCESSES)).ok());
    lists
        .flat_map(|list| list.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Removes a group in which nothing lives, with those below it.
pub(super) fn remove(folder: &Path) {
    for group in with_those_below(folder).iter().rev() {
        // One in which something still lives stays, and the next start removes it.
        let _stays = fs::remove_dir(group);
    }
}

/// A group and those below it, each before those below itself.
fn with_those_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_path_buf()];
    let mut next = 0;
    while let Some(group) = found.get(next) {
        let below = fs::read_dir(group).into_iter().flatten().flatten();
        let below: Vec<_> = below
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        found.extend(below);
        next += 1;
    }
    found
}

fn move_to(folder: &Path) -> io::Result<()> {
    write(&folder.join(PROCESSES), "0")
}

/// Writes to a file that the kernel made, and makes none.
fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::File::options().write(true).open(path)?.write_all(text.as_bytes())
}

/// Whether a group can be made and killed.
fn try_out(trial: &Path) -> Result<(), String> {
    let made = match fs::create_dir(trial) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    made.map_err(|cause| format!("no control group can be made as {}: {cause}", trial.display()))?;
    let can_kill = trial.join(KILL).exists();
    let can_move = trial.join(PROCESSES).exists();
    remove(trial);
    match (can_move, can_kill) {
        (false, _) => Err(format!("{} is not in a cgroup2 file system", trial.display())),
        (true, false) => Err("this kernel has no cgroup.kill; it needs Linux 5.14".to_owned()),
        (true, true) => Ok(()),
    }
}

/// The folder of the group of this process.
fn own_group() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    folder_of(&groups, &mounts)
}

fn folder_of(groups: &str, mounts: &str) -> Option<PathBuf> {
    let group = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::"))?);
    // One outside of what this process may see begins with "..".
    if group.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let below = group.strip_prefix(root).ok()?;
        (kind.split(' ').next() == Some("cgroup2")).then(|| Path::new(point).join(below))
    })
}

/// Whether the service manager left this group to the daemon: it says so in an attribute, or gave
/// the group to the user that the daemon is. To root everything belongs.
fn is_delegated(folder: &Path) -> bool {
    let says = |name: &str| {
        let mut value = [0; 1];
        let read = rustix::fs::getxattr(folder, OsStr::new(name), value.as_mut_slice());
        read.is_ok() && &value == b"1"
    };
    let is_ours = || {
        let own = geteuid();
        !own.is_root() && fs::metadata(folder).is_ok_and(|found| found.uid() == own.as_raw())
    };
    says("user.delegate") || says("trusted.delegate") || is_ours()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_below_its_mount() {
        const MOUNTS: &str = "25 1 0:22 / /proc rw - proc proc rw\n\
            30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let groups = "1:name=systemd:/x\n0::/system.slice/daedalus.service\n";
        let found = folder_of(groups, MOUNTS).unwrap();
        assert_eq!(found, Path::new("/sys/fs/cgroup/system.slice/daedalus.service"));
        let part = MOUNTS.replace("0:26 /", "0:26 /system.slice");
        let found = folder_of(groups, &part).unwrap();
        assert_eq!(found, Path::new("/sys/fs/cgroup/daedalus.service"));
        assert_eq!(folder_of(groups, "25 1 0:22 / /proc rw - proc proc rw\n"), None);
        assert_eq!(folder_of("1:cpu:/\n", MOUNTS), None);
        assert_eq!(folder_of("0::/../outside\n", MOUNTS), None);
        assert_eq!(folder_of("0::/\n", MOUNTS).unwrap(), Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn a_start_finds_the_groups_of_its_own_store_without_the_one_it_is_in() {
        let place = std::env::temp_dir().join(format!("daedalus-{}-groups", std::process::id()));
        for group in ["daedalus.s1.a-1/below", "daedalus.s1.b-1", "daedalus.s2.a-1", "system"] {
            fs::create_dir_all(place.join(group)).unwrap();
        }
        let base = Base { folder: place.clone(), home: place.join("daedalus.s1.b-1/own") };
        let groups = Cgroups { base: Ok(base), store_id: "s1".to_owned() };
        let group = place.join("daedalus.s1.a-1");
        assert_eq!(groups.present(), std::slice::from_ref(&group));
        fs::write(group.join("below").join(PROCESSES), "7\n8\n").unwrap();
        assert_eq!(processes(&group), [7, 8]);
        assert!(!is_populated(&group));
        fs::write(group.join(EVENTS), "populated 1\nfrozen 0\n").unwrap();
        assert!(is_populated(&group));
        fs::remove_file(group.join(EVENTS)).unwrap();
        fs::remove_file(group.join("below").join(PROCESSES)).unwrap();
        remove(&group);
        assert!(!group.exists() && place.join("daedalus.s2.a-1").exists());
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn what_is_no_group_is_refused_with_a_reason() {
        let reason = |wanted| Cgroups::find(wanted, "s").of("a").unwrap_err();
        assert_eq!(reason(""), "worker.sandbox.cgroup is empty");
        let place = std::env::temp_dir().join(format!("daedalus-{}-cgroup", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let why = reason(&place.to_string_lossy());
        if own_group().is_some() {
            assert!(why.ends_with("is not in a cgroup2 file system"), "{why}");
        }
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
        fs::remove_dir(place).unwrap();
    }
}
