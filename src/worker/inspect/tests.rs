//! Looks at real processes in odd states. Their helper is the Python of the system.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;

/// A folder of its own for one test, removed afterwards.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    fn below(folder: &Path, name: &str) -> Self {
        let name = format!("daedalus-inspect-{}-{name}", std::process::id());
        let path = folder.join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _it_is_a_temporary_directory = fs::remove_dir_all(&self.0);
    }
}

/// A Python program that has done what it was told, and goes on until it is dropped.
struct Actor(Child);

impl Actor {
    fn at(script: &str, workdir: &Path) -> Self {
        let script = format!("{script}\nprint('done', flush=True)\nimport sys\nsys.stdin.read()");
        let mut child = Command::new("python3")
            .args(["-S", "-E", "-c", &script])
            .current_dir(workdir)
            .env("ONLY_OF_THE_CHILD", "1")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
        Self(child)
    }

    fn sight(&self) -> Sight {
        Sight::of(self.0.id()).expect("it waits for its input")
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _it_may_have_ended = self.0.wait();
    }
}

fn file_named<'a>(sight: &'a Sight, path: &Path) -> &'a OpenFile {
    let path = path.display().to_string();
    let files = sight.files.as_ref().unwrap();
    files.iter().find(|file| file.target == path).unwrap_or_else(|| panic!("{files:?}"))
}

#[test]
fn a_process_is_seen_with_all_that_it_has() {
    let place = Place::new("all");
    let actor = Actor::at("import os; os.open('/dev/null', os.O_RDWR)", &place.0);
    let sight = actor.sight();
    assert_eq!((sight.pid, sight.group), (actor.0.id(), actor.0.id()));
    assert_eq!(Some(sight.session), session(std::process::id()));
    assert_eq!(sight.parent, std::process::id());
    assert_eq!(sight.uid, Some(rustix::process::geteuid().as_raw()));
    assert_eq!(sight.gid, Some(rustix::process::getegid().as_raw()));
    assert_eq!(sight.no_new_privs, Some(false));
    assert_eq!(sight.workdir, fs::canonicalize(&place.0).ok());
    assert!(sight.environment.as_ref().unwrap().iter().any(|name| name == "ONLY_OF_THE_CHILD"));
    assert!(!sight.like_ours.contains("ONLY_OF_THE_CHILD"));
    assert!(
        sight.like_ours.contains("CARGO_MANIFEST_DIR"),
        "it was inherited: {:?}",
        sight.like_ours
    );
    assert_eq!(file_named(&sight, Path::new("/dev/null")).kind, FileKind::Null);
    assert_eq!(sight.unread().count(), 0);
}

#[test]
fn a_file_says_whether_it_can_be_written_and_two_processes_name_it_alike() {
    let place = Place::new("files");
    let (file, read_only) = (place.0.join("shared"), place.0.join("read"));
    fs::write(&file, "").unwrap();
    fs::write(&read_only, "").unwrap();
    let script = "import os; a = open('shared', 'r+'); b = open('read')";
    let (one, two) = (Actor::at(script, &place.0), Actor::at(script, &place.0));
    let (one, two) = (one.sight(), two.sight());
    assert!(file_named(&one, &file).writable);
    assert!(!file_named(&one, &read_only).writable);
    assert_eq!(file_named(&one, &file).inode, file_named(&two, &file).inode);
    assert_ne!(file_named(&one, &file).inode, file_named(&one, &read_only).inode);
    let pipes = |sight: &Sight| sight.files.as_ref().unwrap()[0].inode;
    assert_ne!(pipes(&one), pipes(&two), "each has a pipe of its own");
}

#[test]
fn shared_memory_is_named_alike_as_a_map_and_as_a_file() {
    // There the kernel says the same of a map as of a file, whatever the file system of the tests.
    let place = Place::below(Path::new("/dev/shm"), "maps");
    let file = place.0.join("memory");
    fs::write(&file, [0; 4096]).unwrap();
    let script = "import mmap; f = open('memory', 'r+b'); m = mmap.mmap(f.fileno(), 4096)";
    let (one, two) = (Actor::at(script, &place.0), Actor::at(script, &place.0));
    let (one, two) = (one.sight(), two.sight());
    let map = |sight: &Sight| {
        let path = file.display().to_string();
        let maps = sight.shared_maps.clone().unwrap();
        maps.iter().find(|map| map.path == path).unwrap_or_else(|| panic!("{maps:?}")).inode
    };
    assert_eq!(map(&one), map(&two));
    assert_eq!(map(&one), file_named(&one, &file).inode);
}

#[test]
fn a_device_that_hands_nothing_on_is_nothing_in_common() {
    let place = Place::new("devices");
    let script = "import os, pty\n\
        for name in ['zero', 'full', 'random', 'urandom']: os.open('/dev/' + name, os.O_RDWR)\n\
        ends = pty.openpty()";
    let files = |actor: &Actor| actor.sight().files.unwrap();
    let (one, two) = (Actor::at(script, &place.0), Actor::at(script, &place.0));
    let (one, two) = (files(&one), files(&two));
    let devices = one.iter().filter(|file| file.kind == FileKind::Anonymous);
    assert_eq!(devices.count(), 5, "{one:?}");
    let terminal = |files: &[OpenFile]| {
        let found = files.iter().rfind(|file| file.target.starts_with("/dev/pts/"));
        let found = found.unwrap_or_else(|| panic!("{files:?}"));
        (found.kind, found.inode)
    };
    assert_eq!(terminal(&one).0, FileKind::File);
    assert_ne!(terminal(&one).1, terminal(&two).1, "each has a terminal of its own");
}

#[test]
fn memory_without_a_file_is_nobody_elses() {
    let place = Place::new("anonymous");
    let script = "import mmap; m = mmap.mmap(-1, 4096)";
    let (one, two) = (Actor::at(script, &place.0), Actor::at(script, &place.0));
    let maps = |actor: &Actor| actor.sight().shared_maps.unwrap();
    let (one, two) = (maps(&one), maps(&two));
    assert_eq!((one.len(), two.len()), (1, 1));
    assert_ne!(one[0].inode, two[0].inode);
}

#[test]
fn a_process_that_is_not_there_is_no_sight() {
    assert!(Sight::of(u32::MAX).is_none());
    assert!(tree(std::process::id(), 0).is_empty(), "another process had this number once");
    let mut child = Command::new("true").spawn().unwrap();
    while proc::is_alive(child.id()) {
        std::thread::yield_now();
    }
    assert!(Sight::of(child.id()).is_none(), "it ended, and was not waited for");
    child.wait().unwrap();
}
