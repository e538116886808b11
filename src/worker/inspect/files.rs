//! What a process has open.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::Inode;

/// The device number of `/dev/null`, wherever it stands.
const NULL_DEVICE: (u32, u32) = (1, 3);

/// Devices that hand nothing from one process to another, although all have one inode: `/dev/zero`,
/// `/dev/full`, `/dev/random`, `/dev/urandom`, and the names of whatever terminal is one's own
/// (`/dev/tty`) and of a new one (`/dev/ptmx`).
const NAMELESS_DEVICES: [(u32, u32); 6] = [(1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];

/// One open file of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFile {
    /// Its number there.
    pub fd: u32,
    /// What the kernel calls it: a path, `pipe:[7]`, `socket:[7]`.
    pub target: String,
    /// What it is.
    pub kind: FileKind,
    /// What names it.
    pub inode: Inode,
    /// Whether the process may write to it.
    pub writable: bool,
}

/// What an open file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A socket.
    Socket,
    /// Something of the kernel that names nothing others could have: an epoll, a timer, a device
    /// such as `/dev/zero`. They all have one inode.
    Anonymous,
    /// `/dev/null`.
    Null,
    /// Anything else: a file, a pipe, a folder, a device.
    File,
}

/// `None` when that may not be read, or the process is gone.
pub(super) fn open_files(pid: u32) -> Option<Vec<OpenFile>> {
    let folder = format!("/proc/{pid}/fd");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).ok()? {
        let Ok(entry) = entry else { break };
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that was closed meanwhile is not open.
        found.extend(open_file(&folder, fd));
    }
    found.sort_by_key(|file| file.fd);
    Some(found)
}

fn open_file(folder: &str, fd: u32) -> Option<OpenFile> {
    let link = format!("{folder}/{fd}");
    let target = fs::read_link(&link).ok()?.to_string_lossy().into_owned();
    // The link's own mode says how it was opened, which spares a look into fdinfo.
    let writable = fs::symlink_metadata(&link).ok()?.mode() & 0o200 != 0;
    let meta = fs::metadata(&link).ok()?;
    let kind = if meta.file_type().is_socket() {
        FileKind::Socket
    } else if target.starts_with("anon_inode:") {
        FileKind::Anonymous
    } else if meta.file_type().is_char_device() {
        of_device(meta.rdev())
    } else {
        FileKind::File
    };
    Some(OpenFile { fd, target, kind, inode: (meta.dev(), meta.ino()), writable })
}

fn of_device(number: u64) -> FileKind {
    let number = (rustix::fs::major(number), rustix::fs::minor(number));
    if number == NULL_DEVICE {
        FileKind::Null
    } else if NAMELESS_DEVICES.contains(&number) {
        FileKind::Anonymous
    } else {
        FileKind::File
    }
}
