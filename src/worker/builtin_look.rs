//! How the built-in worker looks for the secrets of others: by all the ways that safe code has.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::SockAddr;
use uuid::Uuid;

use super::builtin::now;
use super::builtin_listen::{Place, listen};
use super::proc;
use super::protocol::CANARY_PREFIX;
use crate::domain::cut;

/// How long one way may take, and all together: a task may be waiting. A way that is not at its end
/// by then does not count as tried.
const WAY_WITHIN: Duration = Duration::from_millis(400);
const LOOK_WITHIN: Duration = Duration::from_millis(1_800);
/// How much of a file is read.
const FILE_BYTES: u64 = 64 << 10;
/// How much of a memory is read at once, and of one part of it at most.
const CHUNK_BYTES: usize = 1 << 20;
const REGION_BYTES: u64 = 64 << 20;
/// How far below a directory is looked, and at how many entries.
const DEPTH: usize = 3;
const ENTRIES: usize = 2_000;
/// How much of a place is told, and how many finds: others can make up as many as they like.
const PLACE_BYTES: usize = 400;
const MAX_FINDS: usize = 1_000;

/// Where the others are.
pub(super) struct Hints {
    pub(super) pids: Vec<u32>,
    pub(super) workdirs: Vec<PathBuf>,
    pub(super) ports: Vec<u16>,
    pub(super) sockets: Vec<String>,
}

/// The name of a way, and how it is gone.
type Way<'a> = (&'static str, &'a dyn Fn(&mut Look<'_>));

/// Looks for every secret of this run but its own: the ways that were gone to their end, and what
/// was found, which takes at most `room` bytes as JSON.
pub(super) fn look(
    run: Uuid,
    own: &str,
    hints: &Hints,
    room: usize,
) -> (Vec<&'static str>, Vec<Value>) {
    let mut look = Look::new(run, own, room);
    // Those that it is told of, and what is above it: its launcher and the daemon.
    let mut pids = hints.pids.clone();
    pids.extend(std::iter::successors(proc::parent(std::process::id()), |pid| proc::parent(*pid)));
    // Their children first: there may be more processes than there is time.
    let mut everyone = pids.clone();
    everyone.extend(hints.pids.iter().flat_map(|pid| proc::children(*pid)));
    everyone.extend(proc::everyone().unwrap_or_default());
    let ways: [Way<'_>; 9] = [
        ("environment", &|look| look.own_environment()),
        ("files", &|look| look.files(&hints.workdirs)),
        ("port", &|look| look.ports(&hints.ports)),
        ("socket", &|look| look.sockets(&hints.sockets)),
        ("process_environment", &|look| look.of_each(&everyone, "environ")),
        ("process_command", &|look| look.of_each(&everyone, "cmdline")),
        ("process_files", &|look| look.open_files(&pids)),
        ("process_directory", &|look| look.directories(&pids)),
        ("process_memory", &|look| look.memories(&pids)),
    ];
    let mut tried = Vec::new();
    let until = now() + LOOK_WITHIN;
    for (way, go) in ways {
        look.until = until.min(now() + WAY_WITHIN);
        look.way = way;
        look.is_cut = false;
        go(&mut look);
        if !look.is_late() && !look.is_cut {
            tried.push(way);
        }
    }
    (tried, look.found.into_values().collect())
}

struct Look<'a> {
    /// What the secrets of this run begin with.
    marker: Vec<u8>,
    own: &'a str,
    /// The way at present, and when it has to end.
    way: &'static str,
    until: Instant,
    /// Whether something of it had to be left out.
    is_cut: bool,
    /// How many bytes there still are for what is found.
    room: usize,
    /// Each secret once by each way, with the place where it was.
    found: BTreeMap<(String, &'static str), Value>,
}

impl<'a> Look<'a> {
    fn new(run: Uuid, own: &'a str, room: usize) -> Self {
        let marker = format!("{CANARY_PREFIX}{}-", run.as_simple()).into_bytes();
        Self { marker, own, way: "", until: now(), is_cut: false, room, found: BTreeMap::new() }
    }

    fn is_late(&self) -> bool {
        now() >= self.until
    }

    /// All secrets of a run have the same length, so one ends where its own would.
    fn scan(&mut self, bytes: &[u8], place: impl Fn() -> String) {
        let mut rest = bytes;
        while let Some(at) = find(rest, &self.marker) {
            let random = at + self.marker.len();
            // What follows the beginning alone, as in the memory of another that looks, is none.
            let is_whole = |token: &&[u8]| {
                token[self.marker.len()..].iter().all(u8::is_ascii_alphanumeric)
                    && *token != self.own.as_bytes()
            };
            if let Some(token) = rest.get(at..at + self.own.len()).filter(is_whole) {
                self.note(String::from_utf8_lossy(token).into_owned(), &place);
            }
            rest = &rest[random..];
        }
    }

    fn note(&mut self, token: String, place: impl Fn() -> String) {
        let key = (token, self.way);
        if self.found.contains_key(&key) {
            return;
        }
        if self.found.len() >= MAX_FINDS {
            self.is_cut = true;
            return;
        }
        let place = cut(place(), PLACE_BYTES);
        let find = json!({ "token": key.0, "way": key.1, "where": place });
        // The comma, too.
        match self.room.checked_sub(find.to_string().len() + 1) {
            Some(room) => {
                self.room = room;
                self.found.insert(key, find);
            }
            None => self.is_cut = true,
        }
    }

    fn scan_file(&mut self, path: &Path) {
        // A pipe must not hold it up, and a link is looked at where it leads to.
        let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
        let Ok(file) = File::options().read(true).custom_flags(flags).open(path) else { return };
        let mut bytes = Vec::new();
        // What cannot be read to its end is looked at as far as it goes.
        let _to_the_end = file.take(FILE_BYTES).read_to_end(&mut bytes);
        self.scan(&bytes, || path.display().to_string());
    }

    fn own_environment(&mut self) {
        for (name, value) in std::env::vars_os() {
            self.scan(value.as_encoded_bytes(), || name.to_string_lossy().into_owned());
        }
    }

    fn files(&mut self, workdirs: &[PathBuf]) {
        let mut roots = workdirs.to_vec();
        let above = std::env::current_dir().ok().and_then(|path| path.parent().map(PathBuf::from));
        roots.extend(above);
        roots.extend(["/dev/shm", "/tmp", "/var/tmp"].map(PathBuf::from));
        for root in roots {
            self.walk(&root);
        }
    }

    fn walk(&mut self, root: &Path) {
        let mut left = vec![(root.to_path_buf(), DEPTH)];
        let mut entries = 0;
        while let Some((directory, depth)) = left.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                entries += 1;
                if entries > ENTRIES || self.is_late() {
                    return;
                }
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && depth > 1 => left.push((entry.path(), depth - 1)),
                    Ok(kind) if kind.is_file() => self.scan_file(&entry.path()),
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }

    fn of_each(&mut self, pids: &[u32], file: &str) {
        for pid in pids {
            if self.is_late() {
                return;
            }
            self.scan_file(Path::new(&format!("/proc/{pid}/{file}")));
        }
    }

    fn open_files(&mut self, pids: &[u32]) {
        for pid in pids {
            let open = fs::read_dir(format!("/proc/{pid}/fd"));
            for path in open.into_iter().flatten().flatten().map(|entry| entry.path()) {
                if self.is_late() {
                    return;
                }
                if fs::metadata(&path).is_ok_and(|file| file.is_file()) {
                    self.scan_file(&path);
                }
            }
        }
    }

    fn directories(&mut self, pids: &[u32]) {
        for pid in pids {
            let Ok(path) = fs::read_link(format!("/proc/{pid}/cwd")) else { continue };
            let Ok(below) = path.strip_prefix("/") else { continue };
            if below.as_os_str().is_empty() {
                continue; // a daemon that stands at the root has everything below it
            }
            self.walk(Path::new(&format!("/proc/{pid}/cwd/")));
            self.walk(&PathBuf::from(format!("/proc/{pid}/root")).join(below));
        }
    }

    fn memories(&mut self, pids: &[u32]) {
        for pid in pids {
            // Nobody is to be blamed for a process that ended.
            let _as_far_as_it_goes = self.memory(*pid);
        }
    }

    /// What a process can write to and shares with no file: its heap, its stacks, its variables.
    fn memory(&mut self, pid: u32) -> io::Result<()> {
        // A file that is mapped may be called anything.
        let maps = fs::read(format!("/proc/{pid}/maps"))?;
        let maps = String::from_utf8_lossy(&maps);
        let path = format!("/proc/{pid}/mem");
        let memory = File::open(&path)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        for (from, to) in maps.lines().filter_map(region) {
            let to = to.min(from + REGION_BYTES);
            let mut at = from;
            while at < to && !self.is_late() {
                let wanted = usize::try_from(to - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
                let Ok(got @ 1..) = memory.read_at(&mut chunk[..wanted], at) else { break };
                self.scan(&chunk[..got], || path.clone());
                // A secret may lie across the end.
                let step = if got > self.own.len() { got - self.own.len() } else { got };
                at += step as u64;
                if got < wanted || at + self.own.len() as u64 >= to {
                    break;
                }
            }
        }
        Ok(())
    }

    fn ports(&mut self, ports: &[u16]) {
        let place = |port: &u16| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            Place { name: address.to_string(), address: address.into() }
        };
        self.listen(&ports.iter().map(place).collect::<Vec<_>>());
    }

    fn sockets(&mut self, names: &[String]) {
        // A name that is too long is nobody's.
        let place = |name: &String| {
            let address = SockAddr::unix(format!("\0{name}")).ok()?;
            Some(Place { name: format!("@{name}"), address })
        };
        self.listen(&names.iter().filter_map(place).collect::<Vec<_>>());
    }

    fn listen(&mut self, places: &[Place]) {
        let until = self.until;
        let all_ended = listen(places, until, |said, name| self.scan(said, || name.to_owned()));
        self.is_cut |= !all_ended;
    }
}

/// Where a line of `maps` begins and ends, if it is of interest.
fn region(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    let inode = words.nth(2)?;
    let (from, to) = range.split_once('-')?;
    let is_its_own = rights.starts_with("rw") && inode == "0";
    is_its_own.then_some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret_of(run: Uuid) -> String {
        format!("{CANARY_PREFIX}{}-{}", run.as_simple(), Uuid::new_v4().as_simple())
    }

    /// Looks at this content, with so much room.
    fn look_at<'a>(run: Uuid, own: &'a str, content: &str, room: usize) -> Look<'a> {
        let mut look = Look::new(run, own, room);
        look.scan(content.as_bytes(), || "x".repeat(1_000));
        look
    }

    #[test]
    fn others_cannot_fill_the_answer() {
        let run = Uuid::new_v4();
        let (own, many) = (secret_of(run), (0..=MAX_FINDS).map(|_| secret_of(run)));
        let many = many.collect::<Vec<_>>().join(" ");
        let look = look_at(run, &own, &many, 1 << 20);
        assert_eq!((look.found.len(), look.is_cut), (MAX_FINDS, true));
        let look = look_at(run, &own, &many, 10_000);
        let bytes = look.found.values().map(|find| find.to_string().len() + 1).sum::<usize>();
        assert!((9_000..=10_000).contains(&bytes), "{bytes}");
        assert!(look.is_cut);
        let look = look_at(run, &own, &secret_of(run), 1 << 20);
        assert_eq!((look.found.len(), look.is_cut), (1, false));
    }
}
