//! What the benchmarks share: a daemon or a stand-in on a free port, and closed-loop clients on
//! plain sockets that cost as little as possible.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::machine;

/// A folder of its own on the file system that is measured; removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = machine::scratch().join(format!("bench-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server in a process of its own; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: String,
    _folder: Option<Folder>,
}

impl Server {
    /// Starts the daemon with this configuration and waits until so many agents are idle.
    pub(crate) fn daemon(name: &str, config: &str, agents: usize) -> Self {
        let folder = Folder::new(name);
        let mut server = Self::begin(&folder, config);
        server.listens();
        until(|| (server.get("/metrics")["agents"]["idle"] == agents).then_some(()));
        server._folder = Some(folder);
        server
    }

    /// Starts the daemon on what `folder` has and waits for nothing.
    pub(crate) fn begin(folder: &Folder, config: &str) -> Self {
        let file = folder.path().join("daedalus.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_daedalus"));
        command.arg("serve").arg("--config").arg(&file);
        command.arg("--state-dir").arg(folder.path());
        Self::spawn(command, "--bind")
    }

    /// Starts this benchmark itself as a server: with `argument` and an address.
    pub(crate) fn own(argument: &str) -> Self {
        let server = Self::spawn(Command::new(std::env::current_exe().unwrap()), argument);
        server.listens();
        server
    }

    fn spawn(mut command: Command, bind: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let addr = free.to_string();
        command.args([bind, &addr]).stdin(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().expect("a server"), addr, _folder: None }
    }

    fn listens(&self) {
        until(|| std::net::TcpStream::connect(&self.addr).ok());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        ureq::get(self.url(path)).call().unwrap().into_body().read_json().unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        ureq::post(self.url(path)).send_json(body).unwrap().into_body().read_json().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// Asks again until there is an answer.
pub(crate) fn until<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if let Some(value) = condition() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("nothing came within 20 s");
}

/// One keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(addr: &str) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 16 * 1024] }
    }

    /// Sends a POST and returns the body of its 200.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> &[u8] {
        self.call("POST", path, body).await
    }

    /// Sends a GET and returns the body of its 200.
    pub(crate) async fn get(&mut self, path: &str) -> &[u8] {
        self.call("GET", path, "").await
    }

    /// Sends a request and returns the body of its 200.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: &str) -> &[u8] {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: {ACCEPTED}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = 0;
        loop {
            if read == self.buffer.len() {
                self.buffer.resize(2 * read, 0);
            }
            let more = self.stream.read(&mut self.buffer[read..]).await.unwrap();
            assert!(more > 0, "the server closed the connection");
            read += more;
            let text = &self.buffer[..read];
            let Some(head) = text.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
            let head_text = std::str::from_utf8(&text[..head]).unwrap();
            assert!(head_text.starts_with("HTTP/1.1 200"), "{head_text}");
            let length = head_text.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
            });
            let begin = head + 4;
            let (begin, end) = match length {
                Some(length) => (begin, begin + length),
                // In chunks, of which tools send one: its size, itself, and the end.
                None if text[begin..].ends_with(b"\r\n0\r\n\r\n") => {
                    let size = text[begin..].windows(2).position(|end| end == b"\r\n").unwrap();
                    (begin + size + 2, read - 7)
                }
                None => continue,
            };
            if read >= end {
                return &self.buffer[begin..end];
            }
        }
    }
}

/// What closed-loop clients saw.
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) latencies: Vec<Duration>,
}

/// Runs submit + complete in a loop on each of `connections` for `time`.
pub(crate) fn submit_and_complete(addr: &str, connections: usize, time: Duration) -> Load {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let begun = Instant::now();
        let clients: Vec<_> = (0..connections)
            .map(|_| {
                let addr = addr.to_owned();
                tokio::spawn(async move {
                    let mut connection = Connection::open(&addr).await;
                    let mut latencies = Vec::new();
                    while begun.elapsed() < time {
                        let start = Instant::now();
                        let id = task_id(connection.post("/tasks", SUBMIT).await).to_owned();
                        let path = format!("/tasks/{id}/complete");
                        connection.post(&path, COMPLETE).await;
                        latencies.push(start.elapsed());
                    }
                    latencies
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for client in clients {
            latencies.extend(client.await.unwrap());
        }
        let per_second = latencies.len() as f64 / begun.elapsed().as_secs_f64();
        latencies.sort_unstable();
        Load { per_second, latencies }
    })
}

/// The id of the task that an answer begins with.
pub(crate) fn task_id(answer: &[u8]) -> &str {
    std::str::from_utf8(&answer[12..48]).expect("a task id first")
}

/// What tools answer in, and everything else does.
const ACCEPTED: &str = "application/json, text/event-stream";

pub(crate) const SUBMIT: &str =
    r#"{"task_type":"research","payload":{"prompt":"What grows in the north?","depth":3}}"#;
pub(crate) const COMPLETE: &str = r#"{"result":{"answer":"moss, mostly","sources":[1,2,3]}}"#;
