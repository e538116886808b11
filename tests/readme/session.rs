//! Runs the shell blocks of a document in one bash session, and compares what they print with the
//! block that follows each.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::TcpSocket;

use crate::markdown::{Block, matches};
use crate::place::fresh_directory;

/// How long all blocks of a document may take together. Far above what they take.
const SESSION_WITHIN: Duration = Duration::from_secs(120);
/// How long what a session started may take to end after it.
const LEFTOVERS_END_WITHIN: Duration = Duration::from_secs(20);
/// The address that the documents name; a test takes a free port instead.
const ADDRESS: &str = "127.0.0.1:8420";
/// Stands on a line of stdout and stderr before the output of each block.
const MARK: &str = "=====block-of-the-document=====";

/// A shell block and what it is said to print, if anything is.
struct Step<'a> {
    shell: &'a Block,
    shown: Option<&'a Block>,
}

/// Runs the shell blocks of the document at `path` in their order.
pub fn run(path: &Path, blocks: &[Block]) {
    require_tools();
    let steps = steps(blocks);
    assert!(!steps.is_empty(), "{} has no shell block", path.display());
    let place = Place::new(path);
    let port = a_port_of_our_own();
    let (status, left) = place.run(&script(&steps, &port));
    drop(port);
    let printed = place.read("stdout");
    let printed: Vec<&str> = printed.split(MARK).skip(1).collect();
    let told = place.read("stderr");
    let told: Vec<&str> = told.split(MARK).skip(1).collect();
    let last = told.len().saturating_sub(1);
    for (number, step) in steps.iter().enumerate() {
        let at = format!("{}:{}", path.display(), step.shell.line);
        let printed = printed.get(number).copied().unwrap_or_default();
        if number == last {
            let told = told.last().unwrap_or(&"nothing was run").trim();
            let said = format!("stdout:\n{}\nstderr:\n{told}", printed.trim());
            match status {
                None => panic!("{at}: still running after {SESSION_WITHIN:?}; {said}"),
                Some(status) => assert!(status.success(), "{at}: {status}; {said}"),
            }
        }
        let Some(shown) = step.shown else { continue };
        assert!(
            matches(&shown.text, printed),
            "{at}: it is said to print\n{}\nand printed\n{}",
            shown.text,
            printed.trim()
        );
    }
    assert!(left.is_empty(), "{} leaves processes running: {left:?}", path.display());
}

/// A block right after a shell block, for people to read, is what that one prints.
fn steps(blocks: &[Block]) -> Vec<Step<'_>> {
    let next = blocks.iter().skip(1).map(Some).chain([None]);
    let pairs = blocks.iter().zip(next).filter(|(block, _)| block.info == "sh");
    let is_shown = |block: &&Block| block.info == "json" || block.info == "text";
    pairs.map(|(shell, next)| Step { shell, shown: next.filter(is_shown) }).collect()
}

/// A port that nobody else is given while this is held: it is bound, and nobody listens there. A
/// daemon may, because both say that the address can be used again.
fn a_port_of_our_own() -> TcpSocket {
    let held = TcpSocket::new_v4().unwrap();
    held.set_reuseaddr(true).unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    held
}

fn script(steps: &[Step<'_>], port: &TcpSocket) -> String {
    let mut script = "set -euo pipefail\n".to_owned();
    for Step { shell, .. } in steps {
        script += &format!("echo '{MARK}'; echo '{MARK}' >&2\n{}\n", shell.text);
    }
    script.replace(ADDRESS, &port.local_addr().unwrap().to_string())
}

fn require_tools() {
    for tool in ["bash", "curl", "python3"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
        let is_there = found.is_ok_and(|found| found.status.success());
        assert!(is_there, "the shell blocks need {tool}; install it (apt-get install {tool})");
    }
}

/// A directory of its own, in which everything that the session starts works.
struct Place(PathBuf);

impl Place {
    fn new(document: &Path) -> Self {
        let name = document.file_stem().unwrap().to_string_lossy();
        let place = Self(fresh_directory(&name));
        fs::create_dir(place.session()).unwrap();
        place
    }

    fn session(&self) -> PathBuf {
        self.0.join("session")
    }

    /// Runs a script to its end, or for as long as it may take: then the status is `None`. With it
    /// come the processes that the script left running; they are killed.
    fn run(&self, script: &str) -> (Option<ExitStatus>, Vec<u32>) {
        let script_path = self.0.join("script");
        File::create(&script_path).unwrap().write_all(script.as_bytes()).unwrap();
        let daedalus = Path::new(env!("CARGO_BIN_EXE_daedalus")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut bash = Command::new("bash");
        bash.arg(&script_path)
            .current_dir(self.session())
            .env("PATH", format!("{}:{path}", daedalus.display()))
            .env("no_proxy", "*")
            .stdin(Stdio::null())
            .stdout(File::create(self.0.join("stdout")).unwrap())
            .stderr(File::create(self.0.join("stderr")).unwrap())
            .process_group(0);
        for (name, _) in std::env::vars() {
            if name.starts_with("DAEDALUS_") || name == "STATE_DIRECTORY" {
                bash.env_remove(name);
            }
        }
        let child = bash.spawn().unwrap();
        let group = Pid::from_raw(child.id().cast_signed());
        let status = wait_for(child, SESSION_WITHIN);
        let left = self.processes();
        let _nobody_left = killpg(group, Signal::SIGKILL);
        (status, left)
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.0.join(name)).unwrap()).into_owned()
    }

    /// The processes that work somewhere in this directory.
    fn processes(&self) -> Vec<u32> {
        let session = self.session();
        let works_here = |pid: &u32| {
            let at = fs::read_link(format!("/proc/{pid}/cwd"));
            at.is_ok_and(|at| at.starts_with(&session))
        };
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(works_here).collect()
    }
}

impl Drop for Place {
    /// A session that failed has left its daemon; it was killed with its group, and its agents end
    /// by themselves.
    fn drop(&mut self) {
        let pause = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        while !self.processes().is_empty() && waited < LEFTOVERS_END_WITHIN {
            #[expect(clippy::disallowed_methods, reason = "a test has no arbiter")]
            thread::sleep(pause);
            waited += pause;
        }
        let left = self.processes();
        let _stays = fs::remove_dir_all(&self.0);
        if !thread::panicking() {
            assert!(left.is_empty(), "still running: {left:?}");
        }
    }
}

/// The end of a process, if it comes in time. The thread that waits ends with the process, which
/// is killed at latest after this.
fn wait_for(mut child: Child, at_most: Duration) -> Option<ExitStatus> {
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(child.wait().unwrap()));
    end.recv_timeout(at_most).ok()
}
