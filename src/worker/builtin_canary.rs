//! The canary of the built-in worker: hides a secret in every way that it has, and removes it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::builtin_look;

/// How long a thread that hands the secret out waits before it looks whether it is to end, in ms.
const LOOK_UP_MS: u8 = 20;

/// What the daemon asks for, between tasks.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Order {
    #[serde(rename = "canary_plant")]
    Plant { run: Uuid, secret: String },
    #[serde(rename = "canary_look")]
    Look {
        run: Uuid,
        pids: Vec<u32>,
        workdirs: Vec<PathBuf>,
        ports: Vec<u16>,
        sockets: Vec<String>,
    },
    #[serde(rename = "canary_clear")]
    Clear { run: Uuid },
}

impl Order {
    pub(super) const fn run(&self) -> Uuid {
        match self {
            Self::Plant { run, .. } | Self::Look { run, .. } | Self::Clear { run } => *run,
        }
    }
}

/// What is hidden at present.
#[derive(Default)]
pub(super) struct Canary(Option<Hidden>);

/// A secret and where it is. Nothing of it outlives the process: its directory goes with it.
struct Hidden {
    secret: String,
    file: Option<PathBuf>,
    child: Option<Child>,
    port: Option<(u16, Server)>,
    socket: Option<(String, Server)>,
}

impl Canary {
    /// Does what was asked for; the type and the fields of the answer.
    /// That takes at most `max_frame_bytes`.
    pub(super) fn obey(&mut self, order: Order, max_frame_bytes: usize) -> (&'static str, Value) {
        let run = order.run();
        match order {
            Order::Plant { secret, .. } => {
                self.clear();
                let hidden = self.0.insert(Hidden::plant(secret));
                let answer = json!({
                    "run": run,
                    "ways": hidden.ways(),
                    "port": hidden.port.as_ref().map(|(port, _)| port),
                    "socket": hidden.socket.as_ref().map(|(name, _)| name),
                });
                ("canary_planted", answer)
            }
            Order::Look { pids, workdirs, ports, sockets, .. } => {
                // Without a secret of its own it cannot tell it from those of the others.
                let Some(hidden) = &self.0 else {
                    return ("canary_busy", json!({ "run": run }));
                };
                let hints = builtin_look::Hints { pids, workdirs, ports, sockets };
                let (tried, found) =
                    builtin_look::look(run, &hidden.secret, &hints, max_frame_bytes / 2);
                ("canary_found", json!({ "run": run, "tried": tried, "found": found }))
            }
            Order::Clear { .. } => {
                self.clear();
                ("canary_cleared", json!({ "run": run }))
            }
        }
    }

    /// Removes what is hidden: a task never meets it.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

impl Hidden {
    fn plant(secret: String) -> Self {
        let file = write_file(&secret).ok();
        let (child, port, socket) =
            (start_child(&secret).ok(), open_port(&secret).ok(), open_socket(&secret).ok());
        Self { secret, file, child, port, socket }
    }

    fn ways(&self) -> Vec<&'static str> {
        let ways = [
            ("variable", true),
            ("file", self.file.is_some()),
            ("process_environment", self.child.is_some()),
            ("port", self.port.is_some()),
            ("socket", self.socket.is_some()),
        ];
        ways.into_iter().filter(|(_, is_done)| *is_done).map(|(way, _)| way).collect()
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Whoever removed it before did no harm.
            let _removed = fs::remove_file(file);
        }
        if let Some(child) = &mut self.child {
            let _ended = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// A task may have left anything here: a file of its own is made, and nothing is followed.
fn write_file(secret: &str) -> io::Result<PathBuf> {
    let path = PathBuf::from(format!("canary-{}", Uuid::new_v4().as_simple()));
    let written = File::create_new(&path)?.write_all(secret.as_bytes());
    // Not even a part of it stays.
    written.inspect_err(|_| _ = fs::remove_file(&path)).map(|()| path)
}

/// A process with the secret in its environment. It ends with this one, at the end of its stdin.
fn start_child(secret: &str) -> io::Result<Child> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Command::new("cat")
        .env_clear()
        .env("PATH", path)
        .env("CANARY", secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn open_port(secret: &str) -> io::Result<(u16, Server)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let accept = |listener: &TcpListener, secret: &[u8]| listener.accept()?.0.write_all(secret);
    Ok((port, Server::start(listener, secret, accept)?))
}

fn open_socket(secret: &str) -> io::Result<(String, Server)> {
    let name = format!("daedalus-{}", Uuid::new_v4());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    listener.set_nonblocking(true)?;
    let accept = |listener: &UnixListener, secret: &[u8]| listener.accept()?.0.write_all(secret);
    Ok((name, Server::start(listener, secret, accept)?))
}

/// Hands the secret to whoever connects, until it is dropped.
struct Server {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start<L: AsFd + Send + 'static>(
        listener: L,
        secret: &str,
        accept: fn(&L, &[u8]) -> io::Result<()>,
    ) -> io::Result<Self> {
        let (is_over, secret) = (Arc::new(AtomicBool::new(false)), secret.to_owned());
        let told = Arc::clone(&is_over);
        let serve = move || {
            while !told.load(Ordering::Relaxed) {
                if has_guest(listener.as_fd()) {
                    // One that went away gets nothing.
                    let _it_went = accept(&listener, secret.as_bytes());
                }
            }
        };
        let thread = std::thread::Builder::new().spawn(serve)?;
        Ok(Self { is_over, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn has_guest(listener: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(listener, PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::from(LOOK_UP_MS)), Ok(1))
}
