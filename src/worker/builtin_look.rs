//! How the built-in worker looks for the secrets of others: by all the ways that safe code has.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::{self, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::builtin::now;
use super::proc;
use super::protocol::CANARY_PREFIX;

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
/// How long somebody at a socket may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);

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
/// was found.
pub(super) fn look(run: Uuid, own: &str, hints: &Hints) -> (Vec<&'static str>, Vec<Value>) {
    let mut look = Look {
        marker: format!("{CANARY_PREFIX}{}-", run.as_simple()).into_bytes(),
        own,
        way: "",
        until: now(),
        found: BTreeMap::new(),
    };
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
        go(&mut look);
        if !look.is_late() {
            tried.push(way);
        }
    }
    let found = look.found.into_iter();
    let found =
        found.map(|((token, way), place)| json!({ "token": token, "way": way, "where": place }));
    (tried, found.collect())
}

struct Look<'a> {
    /// What the secrets of this run begin with.
    marker: Vec<u8>,
    own: &'a str,
    /// The way at present, and when it has to end.
    way: &'static str,
    until: Instant,
    /// Each secret once by each way, with the place where it was.
    found: BTreeMap<(String, &'static str), String>,
}

impl Look<'_> {
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
                let key = (String::from_utf8_lossy(token).into_owned(), self.way);
                self.found.entry(key).or_insert_with(&place);
            }
            rest = &rest[random..];
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
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
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
        for port in ports {
            let there = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            let Ok(stream) = TcpStream::connect_timeout(&there, ANSWER_WITHIN) else { continue };
            if stream.set_read_timeout(Some(ANSWER_WITHIN)).is_ok() {
                self.listen(stream, || there.to_string());
            }
        }
    }

    fn sockets(&mut self, names: &[String]) {
        for name in names {
            let there = net::SocketAddr::from_abstract_name(name);
            let stream = there.and_then(|there| UnixStream::connect_addr(&there));
            let Ok(stream) = stream else { continue };
            if stream.set_read_timeout(Some(ANSWER_WITHIN)).is_ok() {
                self.listen(stream, || format!("@{name}"));
            }
        }
    }

    fn listen(&mut self, stream: impl Read, place: impl Fn() -> String) {
        let mut said = Vec::new();
        let _until_it_is_silent = stream.take(FILE_BYTES).read_to_end(&mut said);
        self.scan(&said, place);
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
