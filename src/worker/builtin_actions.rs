//! What the built-in worker can do; the table is in [`builtin`](super::builtin).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::getppid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::builtin::{Worker, mask_sigterm};
use super::builtin_frames::Task;
use super::builtin_tools;
use crate::domain::{Attempt, TaskId};

/// How the work on a task ended.
pub(super) enum Outcome {
    Done(Box<RawValue>),
    Failed { code: &'static str, message: String, retryable: bool },
    Cancelled,
}

const ACTIONS: &str = "echo, sleep, digest, fail, tool, delegate, barrier, spin, phases, allocate, hang, crash, exit, \
                       stop, garbage, huge, wrong_task, twice, flood, double_fork, children, kill_launcher, stop_launcher";

#[derive(Deserialize)]
struct Named {
    action: String,
}

#[derive(Deserialize)]
struct Echo {
    value: Box<RawValue>,
}

#[derive(Serialize)]
struct Echoed {
    value: Box<RawValue>,
}

#[derive(Deserialize)]
struct Sleep {
    seconds: f64,
}

#[derive(Deserialize)]
struct DigestOf {
    text: String,
}

#[derive(Deserialize)]
struct Fail {
    #[serde(default)]
    retryable: bool,
}

#[derive(Deserialize)]
struct Barrier {
    path: PathBuf,
    parties: usize,
}

#[derive(Deserialize)]
struct Spin {
    #[serde(default)]
    seconds: Option<f64>,
    #[serde(default)]
    silent: bool,
}

#[derive(Deserialize)]
struct Phases {
    phases: Vec<(String, f64)>,
    #[serde(default)]
    timeless: bool,
}

#[derive(Deserialize)]
struct Allocate {
    mb: usize,
    seconds: f64,
    #[serde(default)]
    child: bool,
}

#[derive(Deserialize)]
struct Later<'a> {
    #[serde(borrow, default)]
    then: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Crash {
    #[serde(default)]
    signal: Option<i32>,
}

#[derive(Deserialize)]
struct Exit {
    #[serde(default)]
    code: Option<u8>,
}

#[derive(Deserialize)]
struct Children {
    count: u16,
}

/// A payload that cannot be understood, as a sentence.
struct Bad(String);

impl From<serde_json::Error> for Bad {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// What this attempt is to do: after the first one what `then` says, if it says something.
pub(super) fn payload_of(attempt: Attempt, payload: &RawValue) -> &RawValue {
    let later = serde_json::from_str::<Later<'_>>(payload.get());
    let then = later.ok().and_then(|later| later.then);
    then.filter(|_| attempt > Attempt::NONE.next()).unwrap_or(payload)
}

/// Makes ready for `payload` before the daemon hears that the work began: from that word on,
/// `hang` must not be ended by SIGTERM.
pub(super) fn prepare(payload: &RawValue) {
    let named = serde_json::from_str::<Named>(payload.get());
    if named.is_ok_and(|Named { action }| action == "hang") {
        mask_sigterm(true);
    }
}

/// Does what `payload` asks for.
pub(super) fn act(worker: &Worker, task: &Task, payload: &RawValue) -> Outcome {
    try_to_act(worker, task, payload).unwrap_or_else(|Bad(message)| Outcome::Failed {
        code: "bad_payload",
        message,
        retryable: false,
    })
}

fn try_to_act(worker: &Worker, task: &Task, payload: &RawValue) -> Result<Outcome, Bad> {
    let Named { action } = serde_json::from_str(payload.get())
        .map_err(|error| Bad(format!("{error}; action must be one of: {ACTIONS}")))?;
    Ok(match action.as_str() {
        "echo" => {
            let Echo { value } = read(&action, payload)?;
            done(&Echoed { value })?
        }
        "sleep" => {
            let Sleep { seconds } = read(&action, payload)?;
            if worker.wait_for_cancel(Some(length(seconds)?)) {
                Outcome::Cancelled
            } else {
                done(&json!({}))?
            }
        }
        "digest" => {
            let DigestOf { text } = read(&action, payload)?;
            done(&json!({"sha256": sha256(&text)}))?
        }
        "fail" => {
            let Fail { retryable } = read(&action, payload)?;
            let message = "the payload asked for a failure".to_owned();
            Outcome::Failed { code: "asked_to_fail", message, retryable }
        }
        "tool" => done_or_cancelled(builtin_tools::call(worker, &read(&action, payload)?))?,
        "delegate" => done_or_cancelled(builtin_tools::delegate(worker, &read(&action, payload)?))?,
        "barrier" => {
            let Barrier { path, parties } = read(&action, payload)?;
            barrier(worker, &path.join(task.task_id.to_string()), parties)?
        }
        "spin" => {
            let Spin { seconds, silent } = read(&action, payload)?;
            let at_most = seconds.map(length).transpose()?;
            worker.set_mute(silent);
            let outcome = spin(worker, at_most);
            worker.set_mute(false);
            outcome?
        }
        "phases" => {
            let Phases { phases, timeless } = read(&action, payload)?;
            in_phases(worker, &phases, timeless)?
        }
        "allocate" => {
            let Allocate { mb, seconds, child } = read(&action, payload)?;
            allocate(worker, mb << 20, length(seconds)?, child)?
        }
        "hang" => loop {
            std::thread::park();
        },
        "crash" => {
            let Crash { signal } = read(&action, payload)?;
            return Err(survived(signal.unwrap_or(Signal::SIGKILL as i32)));
        }
        "exit" => {
            let Exit { code } = read(&action, payload)?;
            exit(code.unwrap_or(1))
        }
        "stop" => {
            raise(Signal::SIGSTOP).map_err(|error| Bad(error.to_string()))?;
            done(&json!({}))?
        }
        "garbage" => {
            worker.say_as_is("this is not a frame\n");
            wait_for_consequences(worker)
        }
        "huge" => {
            let text = "x".repeat(worker.max_frame_bytes());
            let body = json!({"task_id": task.task_id, "attempt": task.attempt, "output": text});
            worker.say("result", &body);
            wait_for_consequences(worker)
        }
        "wrong_task" => {
            let stranger = TaskId::from_uuid(uuid::Uuid::from_u128(42));
            worker.say_result(stranger, Attempt::new(1), &to_raw_value(&json!({}))?);
            wait_for_consequences(worker)
        }
        "twice" => {
            worker.say_result(task.task_id, task.attempt, &to_raw_value(&json!({}))?);
            done(&json!({}))?
        }
        "flood" => {
            builtin_tools::flood(worker, &read(&action, payload)?);
            wait_for_consequences(worker)
        }
        "double_fork" => done(&json!({"pid": leave_a_detached_process()?}))?,
        "children" => {
            let Children { count } = read(&action, payload)?;
            let pids = (0..count).map(|_| start_child()).collect::<Result<Vec<_>, _>>()?;
            done(&json!({"pids": pids}))?
        }
        "kill_launcher" => signal_the_launcher(worker, Signal::SIGKILL)?,
        "stop_launcher" => signal_the_launcher(worker, Signal::SIGSTOP)?,
        _ => return Err(Bad(format!("unknown action; action must be one of: {ACTIONS}"))),
    })
}

fn read<T: DeserializeOwned>(action: &str, payload: &RawValue) -> Result<T, Bad> {
    serde_json::from_str(payload.get()).map_err(|error| Bad(format!("{action}: {error}")))
}

fn done(output: &impl Serialize) -> Result<Outcome, Bad> {
    Ok(Outcome::Done(to_raw_value(output)?))
}

fn done_or_cancelled(output: Option<Value>) -> Result<Outcome, Bad> {
    output.map_or(Ok(Outcome::Cancelled), |output| done(&output))
}

fn length(seconds: f64) -> Result<Duration, Bad> {
    Duration::try_from_secs_f64(seconds).map_err(|error| Bad(format!("seconds: {error}")))
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        // Writing into a string does not fail.
        let _written = write!(hex, "{byte:02x}");
        hex
    })
}

/// Waits until `parties` files are beside `own`. Nobody goes on before, so they all wait at once.
fn barrier(worker: &Worker, own: &Path, parties: usize) -> Result<Outcome, Bad> {
    const LOOK_AGAIN: Duration = Duration::from_millis(5);
    let failed = |error: io::Error| Bad(format!("barrier: {}: {error}", own.display()));
    fs::write(own, "").map_err(failed)?;
    let folder = own.parent().unwrap_or(own);
    while fs::read_dir(folder).map_err(failed)?.count() < parties {
        if worker.wait_for_cancel(Some(LOOK_AGAIN)) {
            return Ok(Outcome::Cancelled);
        }
    }
    done(&json!({}))
}

/// Looks at the clock and at cancel between rounds of some 100 microseconds.
fn spin(worker: &Worker, at_most: Option<Duration>) -> Result<Outcome, Bad> {
    let mut text = String::new();
    let begun = super::builtin::now();
    while at_most.is_none_or(|at_most| begun.elapsed() < at_most) {
        if worker.wait_for_cancel(Some(Duration::ZERO)) {
            return Ok(Outcome::Cancelled);
        }
        for _ in 0..50 {
            text = sha256(&text);
        }
    }
    done(&json!({"last": text}))
}

fn in_phases(worker: &Worker, phases: &[(String, f64)], timeless: bool) -> Result<Outcome, Bad> {
    for (name, seconds) in phases {
        worker.enter(name, timeless);
        if worker.wait_for_cancel(Some(length(*seconds)?)) {
            return Ok(Outcome::Cancelled);
        }
    }
    done(&json!({}))
}

fn allocate(worker: &Worker, bytes: usize, time: Duration, in_child: bool) -> Result<Outcome, Bad> {
    // It waits for the end of a line that has none.
    let script = format!("(head -c {bytes} /dev/zero; sleep 1000) | tail -n 1");
    let start = || Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn();
    let child = in_child.then(start).transpose().map_err(|error| Bad(error.to_string()))?;
    let memory = std::hint::black_box(vec![1_u8; if in_child { 0 } else { bytes }]);
    let cancelled = worker.wait_for_cancel(Some(time));
    drop((memory, child));
    if cancelled { Ok(Outcome::Cancelled) } else { done(&json!({})) }
}

/// Sends itself a signal; comes back only when that did not end it. Twice, because the runtime
/// handles the first SIGSEGV by making the second one deadly.
fn survived(number: i32) -> Bad {
    let Ok(signal) = Signal::try_from(number) else {
        return Bad(format!("signal: {number} is not between 1 and 31"));
    };
    for _ in 0..2 {
        if let Err(error) = raise(signal) {
            return Bad(error.to_string());
        }
    }
    Bad(format!("signal: {signal} does not end a process"))
}

#[expect(clippy::disallowed_methods, reason = "this is what was asked for")]
fn exit(code: u8) -> ! {
    std::process::exit(code.into())
}

fn wait_for_consequences(worker: &Worker) -> Outcome {
    worker.wait_for_cancel(None);
    Outcome::Cancelled
}

/// A process in a session of its own, with init or a subreaper for a parent, that ignores SIGTERM.
fn leave_a_detached_process() -> Result<u32, Bad> {
    let script = "trap '' TERM; setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!";
    let output = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Bad(error.to_string()))?;
    let pid = String::from_utf8_lossy(&output.stdout);
    pid.trim().parse().map_err(|_| Bad(format!("sh answered {pid:?}")))
}

/// It is no group leader, so `setsid` does not fork, and the pid stays that of the program.
fn start_child() -> Result<u32, Bad> {
    Command::new("setsid")
        .args(["sleep", "1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(|child| child.id())
        .map_err(|error| Bad(error.to_string()))
}

fn signal_the_launcher(worker: &Worker, signal: Signal) -> Result<Outcome, Bad> {
    let parent = getppid();
    if parent.as_raw().cast_unsigned() == worker.launcher {
        kill(parent, signal).map_err(|error| Bad(error.to_string()))?;
    }
    Ok(wait_for_consequences(worker))
}
