//! Memory that a process may write and that others can map, too.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Inode;

/// A file, or a piece of memory without one, that is mapped to be shared and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedMap {
    /// What the kernel calls it: a path, `/dev/zero (deleted)`, `/SYSV00000000 (deleted)`.
    pub path: String,
    /// What names it. System V memory has its number once in each IPC namespace, which therefore
    /// stands in place of the device.
    pub inode: Inode,
}

/// What the kernel calls System V memory.
const SYSTEM_V: &str = "/SYSV";

/// What it calls things that have no name of their own, and all have one inode.
const ANONYMOUS: &str = "anon_inode:";

/// Those of `pid`, which is in this IPC namespace. `None` when that may not be read, or the process
/// is gone.
pub(super) fn shared_maps(pid: u32, ipc: Option<u64>) -> Option<Vec<SharedMap>> {
    let maps = fs::read(format!("/proc/{pid}/maps")).ok()?;
    let maps = String::from_utf8_lossy(&maps);
    // One file may be mapped in many pieces.
    let found: BTreeMap<_, _> = maps.lines().filter_map(shared_and_writable).collect();
    let root = format!("/proc/{pid}/root");
    let named = |(inode, path): (Inode, String)| SharedMap {
        inode: name(inode, &path, ipc, Path::new(&root)),
        path,
    };
    Some(found.into_iter().map(named).collect())
}

/// The inode as an open file has it. Btrfs and older overlayfs show another device in a map than
/// where the file stands, below the `root` of the process.
fn name((device, number): Inode, path: &str, ipc: Option<u64>, root: &Path) -> Inode {
    if path.starts_with(SYSTEM_V) {
        return (ipc.unwrap_or(device), number);
    }
    let meta = path.strip_prefix('/').and_then(|path| fs::symlink_metadata(root.join(path)).ok());
    // Another file may stand there by now.
    let meta = meta.filter(|meta| meta.ino() == number);
    (meta.map_or(device, |meta| meta.dev()), number)
}

/// `7f..-7f.. rw-s 00000000 00:1a 42  /dev/shm/x`
fn shared_and_writable(line: &str) -> Option<(Inode, String)> {
    let mut fields = line.splitn(6, ' ');
    let rights = fields.nth(1)?.as_bytes();
    if rights.get(1) != Some(&b'w') || rights.get(3) != Some(&b's') {
        return None;
    }
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let device = rustix::fs::makedev(number(major)?, number(minor)?);
    let inode = fields.next()?.parse().ok()?;
    let path = fields.next().unwrap_or_default().trim();
    (!path.starts_with(ANONYMOUS)).then(|| ((device, inode), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_v_memory_of_two_namespaces_is_not_the_same() {
        let name = |inode, path, ipc| name(inode, path, ipc, Path::new("/there/is/no/such/root"));
        let path = "/SYSV00000000 (deleted)";
        assert_ne!(name((1, 0), path, Some(7)), name((1, 0), path, Some(8)));
        assert_eq!(name((1, 0), path, Some(7)), name((1, 0), path, Some(7)));
        assert_eq!(name((1, 0), path, None), (1, 0));
        assert_eq!(name((1, 5), "/dev/shm/SYSV", Some(7)), (1, 5));
    }

    #[test]
    fn a_map_has_the_device_of_its_file_and_of_no_other() {
        let program = std::env::current_exe().unwrap();
        let meta = fs::metadata(&program).unwrap();
        let (device, number) = (meta.dev(), meta.ino());
        let other = device + 1;
        let name = |number, path: &str| name((other, number), path, Some(7), Path::new("/"));
        let path = program.to_str().unwrap();
        assert_eq!(name(number, path), (device, number));
        assert_eq!(name(number + 1, path), (other, number + 1), "another file stands there now");
        assert_eq!(name(number, &format!("{path} (deleted)")), (other, number));
        assert_eq!(name(number, &path[1..]), (other, number), "it is no path");
    }

    #[test]
    fn only_what_is_shared_and_writable_counts() {
        let line = "7f1-7f2 rw-s 00001000 08:02 77                       /srv/a file (deleted)";
        let found = shared_and_writable(line).unwrap();
        assert_eq!(found.0, (rustix::fs::makedev(8, 2), 77));
        assert_eq!(found.1, "/srv/a file (deleted)");
        let nothing = [
            "7f1-7f2 r--s 0 08:02 77  /x",
            "7f1-7f2 rw-p 0 00:00 0 ",
            "7f1-7f2 rw-s 0 00:10 77  anon_inode:[io_uring]",
            "",
            "x",
        ];
        for line in nothing {
            assert_eq!(shared_and_writable(line), None, "{line}");
        }
    }
}
