//! A dependency of the daemon for tests: an HTTP server that can behave in every way that a real one
//! does, and be away.
//!
//! It has an address of its own, so that nobody else takes its port while it is away.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "this is test code, outside of any test function"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::daemon::{PATIENCE, wait_until};

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// 204, at once.
    Up,
    /// 200, after this time.
    Slow(Duration),
    /// 200, and a body that never ends.
    Flood,
    /// Nobody listens.
    Away,
    /// Takes the request and never answers.
    Hangs,
    /// This status.
    Status(u16),
    /// Says something that is not HTTP.
    Garbage,
    /// A head that never ends.
    EndlessHead,
    /// Says that it is well, elsewhere.
    Redirects,
    /// Closes the connection without an answer.
    Closes,
}

/// A running dependency; it ends with its test.
pub struct Dependency {
    addr: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// How it answers, and how often still before it is up; `None`: until that is changed.
    manner: Mutex<(Manner, Option<u64>)>,
    /// Whether somebody listens.
    listens: AtomicBool,
    /// Requests that were read.
    asked: AtomicU64,
    over: AtomicBool,
}

impl Shared {
    fn manner(&self) -> Manner {
        self.manner.lock().unwrap().0
    }

    /// How the question that has just come is answered.
    fn take_question(&self) -> Manner {
        let mut manner = self.manner.lock().unwrap();
        let now = manner.0;
        match &mut manner.1 {
            Some(1) => *manner = (Manner::Up, None),
            Some(times) => *times -= 1,
            None => {}
        }
        now
    }
}

impl Dependency {
    pub fn start(manner: Manner) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let (pid, number) = (std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        // 127.0.0.1 is not among them.
        let host = format!("127.{}.{}.{}", 2 + number % 250, (pid >> 8) % 256, pid % 256);
        let listener = TcpListener::bind((host.as_str(), 0)).unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            manner: Mutex::new((manner, None)),
            listens: AtomicBool::new(true),
            asked: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let (its_addr, its_own) = (addr.clone(), Arc::clone(&shared));
        thread::spawn(move || serve(listener, &its_addr, &its_own));
        let dependency = Self { addr, shared };
        dependency.becomes(manner);
        dependency
    }

    /// What is asked how it is.
    pub fn url(&self) -> String {
        format!("http://{}/health?deep=1", self.addr)
    }

    /// From now on it answers so; what was asked before is answered as it was going to be.
    pub fn becomes(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = (manner, None);
        wait_until("the dependency is there, or away", || {
            let listens = self.shared.listens.load(Ordering::Acquire);
            (listens == (manner != Manner::Away)).then_some(())
        });
    }

    /// It answers so the next times that it is asked, so often, and is up again.
    pub fn is_for(&self, manner: Manner, times: u64) {
        assert!(manner != Manner::Away && times > 0, "nobody is asked then");
        *self.shared.manner.lock().unwrap() = (manner, Some(times));
    }

    /// How often it was asked.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Acquire)
    }

    /// Waits until it was asked so many more times.
    pub fn is_asked_again(&self, times: u64) {
        let before = self.asked();
        wait_until("the dependency is asked", || (self.asked() >= before + times).then_some(()));
    }
}

impl Drop for Dependency {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
    }
}

fn serve(listener: TcpListener, addr: &str, shared: &Arc<Shared>) {
    listener.set_nonblocking(true).unwrap();
    let mut listener = Some(listener);
    while !shared.over.load(Ordering::Acquire) {
        if shared.manner() == Manner::Away {
            listener = None;
        } else if listener.is_none() {
            let again = TcpListener::bind(addr).unwrap();
            again.set_nonblocking(true).unwrap();
            listener = Some(again);
        }
        shared.listens.store(listener.is_some(), Ordering::Release);
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((stream, _))) => {
                let shared = Arc::clone(shared);
                thread::spawn(move || answer(stream, &shared));
            }
            Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
            Some(Err(_)) | None => thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Who asked may hang up at any moment.
fn answer(mut stream: TcpStream, shared: &Shared) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(2 * PATIENCE)).unwrap();
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(1..) if head.len() > 64 * 1024 => return,
            Ok(0) | Err(_) => return,
            Ok(read) => head.extend_from_slice(&piece[..read]),
        }
    }
    let is_the_question = head.starts_with(b"GET /health?deep=1 HTTP/1.1\r\n");
    let manner = if is_the_question { shared.take_question() } else { Manner::Status(404) };
    shared.asked.fetch_add(1, Ordering::Release);
    let said = match manner {
        Manner::Up => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        Manner::Slow(pause) => {
            thread::sleep(pause);
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned()
        }
        Manner::Status(status) => {
            format!("HTTP/1.1 {status} Said\r\nContent-Length: 4\r\n\r\nwell")
        }
        Manner::Garbage => "\u{1}\u{2} 220 mail.example ESMTP\r\n\r\n".to_owned(),
        Manner::Redirects => {
            // Where it leads it would be well, so that who follows takes it for well.
            "HTTP/1.1 302 Found\r\nLocation: /health?deep=1\r\nContent-Length: 0\r\n\r\n".to_owned()
        }
        Manner::Flood => {
            let mut said = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while said.is_ok() && !shared.over.load(Ordering::Acquire) {
                said = stream.write_all(&[b'x'; 64 * 1024]);
            }
            return;
        }
        Manner::EndlessHead => {
            let mut said = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
            while said.is_ok() && !shared.over.load(Ordering::Acquire) {
                said = stream.write_all(&[b'x'; 1024]);
            }
            return;
        }
        Manner::Hangs => {
            // Until the other side hangs up.
            let _gone = stream.read(&mut piece);
            return;
        }
        Manner::Away | Manner::Closes => return,
    };
    let _hung_up = stream.write_all(said.as_bytes());
}
