//! The removal of what an agent left, however it is built.
//!
//! A folder may be tens of thousands of folders deep, and its path longer than any path may be. So
//! nothing here recurses or goes by path: what is not empty is moved up beside the others first, and
//! emptied there. That takes the same few descriptors and the same stack at any depth.
//!
//! Nothing leads out: each step goes from an open folder by one name, which is never followed. A
//! folder is renamed before it is entered, and the kernel renames no mount point, so what is mounted
//! there stays.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, chmod, fstat, open, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

/// A folder to go on from, whether or not it may be read.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What the owner of a folder needs to empty it.
const OPEN: u32 = 0o700;

/// Removes whatever is at `path`, in a folder that is the daemon's own. A link there goes, and what
/// it points to stays. What cannot be removed keeps nothing else from it.
///
/// # Errors
/// The first thing that could not be removed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = open(parent, PLACE, Mode::empty())?;
    match unlinkat(&parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        other => return Ok(other?),
    }
    let mut removal = Removal {
        top: enter(&parent, name)?,
        waiting: Vec::new(),
        moved: 0,
        removed: 0,
        failure: None,
    };
    removal.empty();
    let last = unlinkat(&parent, name, AtFlags::REMOVEDIR);
    last.map_err(|last| removal.failure.unwrap_or(last).into())
}

/// Opens a folder in `parent` and gives its owner back the rights that the agent may have taken
/// away. Where that fails, the next step does.
fn enter(parent: &OwnedFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let folder = openat(parent, name, PLACE | OFlags::NOFOLLOW, Mode::empty())?;
    if fstat(&folder)?.st_mode & OPEN != OPEN {
        // By its descriptor: a name could mean something else by now.
        let itself = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let _not_ours = chmod(itself, Mode::RWXU);
    }
    Ok(folder)
}

fn entries(folder: &OwnedFd) -> Result<Dir, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Dir::new(openat(folder, c".", flags, Mode::empty())?)
}

struct Removal {
    top: OwnedFd,
    /// Folders that were moved up into the top one and are not empty yet, by their numbers.
    waiting: Vec<u64>,
    /// The next number, which is the name of a folder that is moved up.
    moved: u64,
    removed: u64,
    failure: Option<Errno>,
}

impl Removal {
    /// Empties the top folder.
    fn empty(&mut self) {
        loop {
            let before = self.removed;
            self.sweep(None);
            // What could not be removed is seen again, and that is no progress.
            if self.removed == before {
                return;
            }
        }
    }

    /// Goes once through a folder, the top one by default; whether anything of it is gone.
    fn sweep(&mut self, folder: Option<&OwnedFd>) -> bool {
        let mut is_less = false;
        let entries = match entries(folder.unwrap_or(&self.top)) {
            Ok(entries) => entries,
            Err(cause) => {
                self.fail(cause);
                return false;
            }
        };
        for entry in entries {
            match entry {
                Ok(entry) if [c".", c".."].contains(&entry.file_name()) => {}
                Ok(entry) => is_less |= self.clear(folder, entry.file_name()),
                Err(cause) => {
                    self.fail(cause);
                    return is_less;
                }
            }
            if folder.is_none() {
                while let Some(number) = self.waiting.pop() {
                    self.dismantle(number);
                }
            }
        }
        is_less
    }

    /// Removes an entry of a folder, or moves it up when it is a folder with something in it.
    fn clear(&mut self, folder: Option<&OwnedFd>, name: &CStr) -> bool {
        let place = folder.unwrap_or(&self.top);
        let done = match unlinkat(place, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => unlinkat(place, name, AtFlags::REMOVEDIR),
            other => other,
        };
        match done {
            Ok(()) => {
                self.removed += 1;
                true
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => self.move_up(folder, name),
            // Moved and removed since the folder was read.
            Err(Errno::NOENT) => false,
            Err(cause) => self.fail(cause),
        }
    }

    fn move_up(&mut self, folder: Option<&OwnedFd>, name: &CStr) -> bool {
        let mut was_entered = false;
        loop {
            let place = folder.unwrap_or(&self.top);
            match renameat(place, name, &self.top, self.moved.to_string()) {
                Ok(()) => {
                    self.waiting.push(self.moved);
                    self.moved += 1;
                    return true;
                }
                // The agent has something of this name.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => self.moved += 1,
                // It has an entry for the folder above it, so that moving it is writing to it.
                Err(Errno::ACCESS) if !was_entered => {
                    was_entered = true;
                    let _opened_up = enter(place, name);
                }
                Err(cause) => return self.fail(cause),
            }
        }
    }

    /// Removes a folder that was moved up; folders in it are moved up in their turn.
    fn dismantle(&mut self, number: u64) {
        let name = number.to_string();
        match enter(&self.top, &name) {
            Ok(folder) => while self.sweep(Some(&folder)) {},
            Err(cause) => {
                self.fail(cause);
            }
        }
        match unlinkat(&self.top, &name, AtFlags::REMOVEDIR) {
            Ok(()) => self.removed += 1,
            Err(cause) => {
                self.fail(cause);
            }
        }
    }

    /// Nothing is gone.
    fn fail(&mut self, cause: Errno) -> bool {
        self.failure.get_or_insert(cause);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::place;
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::mkdirat;

    /// Makes folders in each other below `place`, as deep as no path can say.
    fn dig(place: &Path, depth: u32) {
        let mut deepest = open(place, PLACE, Mode::empty()).unwrap();
        for _ in 0..depth {
            mkdirat(&deepest, "d", Mode::RWXU).unwrap();
            openat(&deepest, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
            deepest = openat(&deepest, "d", PLACE, Mode::empty()).unwrap();
        }
    }

    #[test]
    fn a_folder_of_any_depth_is_removed() {
        let place = place("deep");
        // Names that the removal itself would give.
        for name in ["0", "1", "3"] {
            fs::create_dir_all(place.join(name).join("full")).unwrap();
        }
        fs::write(place.join("2"), "").unwrap();
        dig(&place, 20_000);
        dig(&place.join("1"), 100);
        remove(&place).unwrap();
        assert!(!place.exists());
    }

    #[test]
    fn folders_that_their_owner_closed_are_removed_all_the_same() {
        let place = place("closed");
        let deep = place.join("a/b/c");
        fs::create_dir_all(deep.join("d")).unwrap();
        let outside = place.with_extension("outside");
        fs::create_dir_all(outside.join("precious")).unwrap();
        symlink(&outside, place.join("a/link")).unwrap();
        for folder in [&deep, deep.parent().unwrap(), &place.join("a"), &place] {
            fs::set_permissions(folder, Permissions::from_mode(0o0)).unwrap();
        }
        remove(&place).unwrap();
        assert!(!place.exists() && outside.join("precious").exists());
        fs::remove_dir_all(outside).unwrap();
    }

    /// Root passes everywhere, so for it only this says something.
    #[test]
    fn a_folder_that_is_entered_is_open_to_its_owner() {
        let place = place("entered");
        let inner = place.join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o0)).unwrap();
        let outer = open(&place, PLACE, Mode::empty()).unwrap();
        enter(&outer, "inner").unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, OPEN);
        symlink("inner", place.join("link")).unwrap();
        assert_eq!(enter(&outer, "link").unwrap_err(), Errno::NOTDIR);
        remove(&place).unwrap();
    }

    #[test]
    fn what_cannot_be_removed_is_told_and_keeps_nothing_else() {
        let place = place("stuck");
        let error = remove(&place.join("nothing")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(remove(Path::new("/")).is_err());
        remove(&place).unwrap();
    }
}
