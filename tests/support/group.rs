//! A control group of a test.

use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A control group to make others in.
pub(crate) struct Group(pub(crate) PathBuf);

impl Group {
    /// `None` where that is not possible, which is said.
    pub(crate) fn make() -> Option<Self> {
        let made = Self::try_make();
        if made.is_none() {
            println!("skipped: no control group can be made here");
        }
        made
    }

    fn try_make() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let folder = Path::new(mount.split(' ').nth(4)?);
        let group = folder.join(format!("daedalus-test-{}", Uuid::new_v4()));
        match fs::create_dir(&group) {
            Ok(()) if group.join("cgroup.kill").exists() => Some(Self(group)),
            Ok(()) => {
                fs::remove_dir(group).unwrap();
                None
            }
            Err(_) => None,
        }
    }

    pub(crate) fn members(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap());
        entries
            .filter(|entry| entry.file_type().unwrap().is_dir())
            .map(|entry| entry.path())
            .collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let removed = fs::remove_dir(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}
