//! `daedalus worker`: the built-in worker, which needs nothing but this executable.
//!
//! It speaks the whole protocol with plain threads: one reads frames, one gives signs of life, and
//! the main one does the work, which the payload names in `action`:
//!
//! | action | what it does |
//! |---|---|
//! | `echo` | its result is `{"value": payload.value}` |
//! | `sleep` | waits for `seconds`, unless it is cancelled |
//! | `digest` | its result is `{"sha256": ..}` of `text` |
//! | `fail` | ends with `error` code `asked_to_fail`, `retryable` as told (default false) |
//! | `tool` | calls the tool `name` of the daemon with `args`; its result is `{"value"}` or `{"code", "message"}` |
//! | `delegate` | submits each of `children` (arguments of `submit_coordination_task`) and waits until they have ended, but for detached ones; its result is `{"children": [{"task_id", "status"}, ..]}`, with the `code` of a refusal instead |
//! | `barrier` | makes a file in `path` and waits until `parties` of them are there |
//! | `spin` | uses CPU until it is cancelled, or for `seconds`; without a sign of life when `silent` |
//! | `phases` | is in each of `phases`, `[name, seconds]`, in turn, and says so; without their time when `timeless` |
//! | `allocate` | fills `mb` of memory, in a process of its own when `child`, and holds them for `seconds` |
//! | `hang` | does nothing for ever, and ignores cancel and SIGTERM |
//! | `crash` | ends itself by `signal` (default SIGKILL) |
//! | `exit` | ends itself with `code` (default 1) |
//! | `stop` | stops itself (SIGSTOP); when it is continued, its result is `{}` |
//! | `garbage` | writes a line that is no frame |
//! | `huge` | writes a result beyond the limit of a frame |
//! | `wrong_task` | writes a result of a task that it was not given |
//! | `twice` | writes its result twice |
//! | `flood` | calls the tool `name` `count` times and reads no answer |
//! | `double_fork` | leaves a detached process that ignores SIGTERM; its result is `{"pid": ..}` |
//! | `children` | starts `count` processes, each in a session of its own; its result is `{"pids": ..}` |
//! | `kill_launcher` | kills its parent (SIGKILL) and lives on |
//! | `stop_launcher` | stops its parent (SIGSTOP) and lives on |
//!
//! The lower part of the table is what real workers do on bad days, for tests and drills. After
//! `garbage`, `wrong_task`, `flood`, `kill_launcher` and `stop_launcher` it waits for the
//! consequences. With a payload in `then`, whatever the action is, every attempt after the first
//! does that instead.
//!
//! It ends with 0 after `shutdown` or, when it was idle, at the end of its stdin; with 71 at the end
//! of its stdin during a task; with 64 when it was not started by the daemon or does not know the
//! version in `init`; with 70 when the daemon breaks the protocol.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::os::unix::process::parent_id;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::builtin_actions::{self, Outcome};
use super::builtin_canary::{Canary, Order};
use super::builtin_frames::{Cancel, Ended, Head, Init, Ping, Task, ToolResult};
use super::{environment, protocol};
use crate::domain::{Attempt, TaskId};

const NOT_FOR_HANDS: u8 = 64;
const PROTOCOL_BROKEN: u8 = 70;
const DAEMON_LOST: u8 = 71;

/// Names a directory. Each start and end of a task is then a line of its file `runs`.
const RECORD: &str = "DAEDALUS_RECORD";

/// What a worker can be told to do wrong from the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct StartFaults {
    /// End at once, with this code.
    pub exit: Option<u8>,
    /// End at once, by SIGKILL.
    pub crash: bool,
    /// Never say a word.
    pub silent: bool,
}

/// Runs the worker on the stdin and stdout of this process.
#[must_use]
pub fn run(faults: StartFaults) -> ExitCode {
    if std::env::var_os(environment::WORKER).is_none() {
        let text =
            "daedalus worker: this is started by the daemon, not by hand; see `daedalus --help`";
        let _nobody_reads = writeln!(io::stderr(), "{text}");
        return ExitCode::from(NOT_FOR_HANDS);
    }
    if let Some(code) = faults.exit {
        return ExitCode::from(code);
    }
    if faults.crash {
        let _dead = nix::sys::signal::raise(Signal::SIGKILL);
    }
    if faults.silent {
        let _until_the_end = io::copy(&mut io::stdin(), &mut io::sink());
        return ExitCode::SUCCESS;
    }
    // SIGTERM is for the main thread alone, so that `hang` can shut it out for all.
    mask_sigterm(true);
    let launcher = parent_id();
    let worker = Arc::new(Worker { launcher, ..Worker::default() });
    let (jobs, inbox) = mpsc::channel();
    let reader = Arc::clone(&worker);
    thread::spawn(move || reader.read_frames(&jobs));
    mask_sigterm(false);
    let hello = json!({"proto": [1, protocol::PROTO], "pid": std::process::id(),
        "features": ["canary"]});
    worker.say("hello", &hello);
    let mut canary = Canary::default();
    // It ends in the reader, which sees the end of stdin.
    while let Ok(job) = inbox.recv() {
        match job {
            Job::Task(task) => {
                canary.clear();
                worker.work(&task);
            }
            Job::Canary(order) => {
                let (kind, answer) = canary.obey(order, worker.max_frame_bytes());
                worker.say(kind, &answer);
            }
        }
    }
    ExitCode::SUCCESS
}

/// Shuts SIGTERM out of this thread, and of those it starts, or lets it in.
pub(super) fn mask_sigterm(shut_out: bool) {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    // Neither fails with a set that is valid.
    let _done = if shut_out { mask.thread_block() } else { mask.thread_unblock() };
}

#[expect(
    clippy::disallowed_methods,
    reason = "a worker is a program of its own, without the clock"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "ends the process from the thread that reads")]
fn end(code: u8) -> ! {
    std::process::exit(code.into())
}

/// What the main thread does, in the order in which it came.
enum Job {
    Task(Task),
    Canary(Order),
}

#[derive(Default)]
pub(super) struct Worker {
    output: Mutex<Output>,
    running: Mutex<Option<Running>>,
    /// A cancel, or the answer to a call.
    news: Condvar,
    /// Whether it gives no signs of life for now.
    mute: AtomicBool,
    /// Its parent when it began. Later that may be the daemon, which adopts what a lost launcher
    /// leaves.
    pub(super) launcher: u32,
}

#[derive(Default)]
struct Output {
    seq: u64,
    max_frame_bytes: usize,
}

struct Running {
    task_id: TaskId,
    attempt: Attempt,
    phase: String,
    since: Instant,
    /// Whether it keeps to itself how long it is in its phase.
    timeless: bool,
    cancelled: bool,
    /// How many tools were called.
    calls: u64,
    /// Answers that nobody has taken yet.
    answers: BTreeMap<u64, ToolResult>,
}

/// A panic of a thread here ends the worker anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    fn read_frames(self: &Arc<Self>, jobs: &mpsc::Sender<Job>) {
        for line in io::stdin().lock().split(b'\n') {
            let handled = line
                .map_err(|error| error.to_string())
                .and_then(|line| self.handle(&line, jobs).map_err(|error| error.to_string()));
            if let Err(message) = handled {
                self.say("fatal", &json!({"message": message}));
                end(PROTOCOL_BROKEN);
            }
        }
        self.daemon_is_gone();
    }

    fn daemon_is_gone(&self) -> ! {
        let idle = lock(&self.running).is_none();
        end(if idle { 0 } else { DAEMON_LOST })
    }

    fn handle(self: &Arc<Self>, line: &[u8], jobs: &mpsc::Sender<Job>) -> serde_json::Result<()> {
        let Head { kind } = serde_json::from_slice(line)?;
        match kind.as_str() {
            "init" => self.init(&serde_json::from_slice(line)?),
            "task" => {
                let task: Task = serde_json::from_slice(line)?;
                let Task { task_id, attempt, .. } = task;
                let mut running = lock(&self.running);
                if running.is_some() {
                    return Err(serde::de::Error::custom("a task came before the end of another"));
                }
                *running = Some(Running {
                    task_id,
                    attempt,
                    phase: "agent".to_owned(),
                    since: now(),
                    timeless: false,
                    cancelled: false,
                    calls: 0,
                    answers: BTreeMap::new(),
                });
                drop(running);
                // The main thread is there as long as the process is.
                let _taken = jobs.send(Job::Task(task));
            }
            "cancel" => {
                let Cancel { task_id, attempt } = serde_json::from_slice(line)?;
                let mut running = lock(&self.running);
                match &mut *running {
                    Some(run) if (run.task_id, run.attempt) == (task_id, attempt) => {
                        run.cancelled = true;
                        self.news.notify_all();
                    }
                    Some(_) | None => {
                        drop(running);
                        self.say("cancel_ignored", &json!({"task_id": task_id}));
                    }
                }
            }
            "tool_result" => {
                let answer: ToolResult = serde_json::from_slice(line)?;
                // One that comes after the end of its task is of no use to anybody.
                if let Some(run) = &mut *lock(&self.running) {
                    run.answers.insert(answer.call_id, answer);
                    self.news.notify_all();
                }
            }
            "canary_plant" | "canary_look" | "canary_clear" => {
                let order: Order = serde_json::from_slice(line)?;
                if lock(&self.running).is_some() {
                    self.say("canary_busy", &json!({"run": order.run()}));
                } else {
                    let _taken = jobs.send(Job::Canary(order));
                }
            }
            "ping" => {
                let Ping { nonce } = serde_json::from_slice(line)?;
                self.say("pong", &json!({"nonce": nonce}));
            }
            "shutdown" => {
                self.say("bye", &json!({}));
                end(0);
            }
            _ => return Err(serde::de::Error::custom(format!("unknown type {kind}"))),
        }
        Ok(())
    }

    fn init(self: &Arc<Self>, init: &Init) {
        if init.proto != protocol::PROTO {
            let message = format!("version {} of the protocol is not known here", init.proto);
            self.say("fatal", &json!({"message": message}));
            end(NOT_FOR_HANDS);
        }
        let Ok(interval) = Duration::try_from_secs_f64(init.heartbeat_s) else {
            self.say("init_error", &json!({"message": "heartbeat_s is no length of time"}));
            end(65);
        };
        lock(&self.output).max_frame_bytes = init.max_frame_bytes;
        self.say("ready", &json!({}));
        let worker = Arc::clone(self);
        thread::spawn(move || worker.give_signs_of_life(interval));
    }

    #[expect(clippy::disallowed_methods, reason = "a thread that does nothing else")]
    fn give_signs_of_life(&self, interval: Duration) {
        let begun = now();
        loop {
            thread::sleep(interval.max(Duration::from_millis(1)));
            if self.mute.load(Ordering::Relaxed) {
                continue;
            }
            let (task_id, phase, phase_s) = match &*lock(&self.running) {
                Some(run) => {
                    let phase_s = (!run.timeless).then(|| run.since.elapsed());
                    (Some(run.task_id), run.phase.clone(), phase_s)
                }
                None => (None, "idle".to_owned(), Some(begun.elapsed())),
            };
            let heartbeat = json!({
                "task_id": task_id,
                "phase": phase,
                "phase_s": phase_s.map(|phase_s| phase_s.as_secs_f64()),
            });
            self.say("heartbeat", &heartbeat);
        }
    }

    fn work(&self, task: &Task) {
        let Task { task_id, attempt, payload } = task;
        let payload = builtin_actions::payload_of(*attempt, payload);
        builtin_actions::prepare(payload);
        record(task, "start");
        self.say("started", &json!({"task_id": task_id, "attempt": attempt}));
        let outcome = builtin_actions::act(self, task, payload);
        record(task, "end");
        // Before the frame: the daemon may answer it with the next task at once.
        *lock(&self.running) = None;
        match outcome {
            Outcome::Done(output) => self.say_result(*task_id, *attempt, &output),
            Outcome::Failed { code, message, retryable } => self.say(
                "error",
                &json!({"task_id": task_id, "attempt": attempt, "code": code,
                    "message": message, "retryable": retryable}),
            ),
            Outcome::Cancelled => self.say(
                "cancelled",
                &json!({"task_id": task_id, "attempt": attempt, "reason": "asked to"}),
            ),
        }
    }

    /// Ends an attempt with a result, or with an error when the result does not fit into a frame.
    pub(super) fn say_result(&self, task_id: TaskId, attempt: Attempt, output: &RawValue) {
        const REST_OF_FRAME: usize = 512;
        let limit = lock(&self.output).max_frame_bytes;
        if output.get().len() + REST_OF_FRAME > limit {
            let message = format!("the result does not fit into a frame of {limit} bytes");
            self.say(
                "error",
                &json!({"task_id": task_id, "attempt": attempt, "code": "result_too_large",
                    "message": message, "retryable": false}),
            );
        } else {
            self.say("result", &Ended { task_id, attempt, output });
        }
    }

    /// Waits for `at_most`, or without it for ever, until the task is cancelled. Returns whether it
    /// is.
    pub(super) fn wait_for_cancel(&self, at_most: Option<Duration>) -> bool {
        let not_yet =
            |running: &mut Option<Running>| running.as_ref().is_some_and(|r| !r.cancelled);
        let running = lock(&self.running);
        match at_most {
            Some(at_most) => {
                let waited = self.news.wait_timeout_while(running, at_most, not_yet);
                !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
            }
            None => self.news.wait_while(running, not_yet).is_ok(),
        }
    }

    /// Calls a tool of the daemon; the number that the answer will have.
    pub(super) fn begin_call(&self, name: &str, args: &impl Serialize) -> Option<u64> {
        let (task_id, call_id) = {
            let mut running = lock(&self.running);
            let run = running.as_mut()?;
            run.calls += 1;
            (run.task_id, run.calls)
        };
        let call = json!({"task_id": task_id, "call_id": call_id, "name": name, "args": args});
        self.say("tool_call", &call);
        Some(call_id)
    }

    /// Calls a tool of the daemon and waits for its answer; `None` when the task is cancelled
    /// meanwhile.
    pub(super) fn call_tool(&self, name: &str, args: &impl Serialize) -> Option<ToolResult> {
        let call_id = self.begin_call(name, args)?;
        let waits = |running: &mut Option<Running>| {
            running
                .as_ref()
                .is_some_and(|run| !(run.cancelled || run.answers.contains_key(&call_id)))
        };
        let running = self.news.wait_while(lock(&self.running), waits);
        let mut running = running.unwrap_or_else(PoisonError::into_inner);
        running.as_mut().filter(|run| !run.cancelled)?.answers.remove(&call_id)
    }

    /// Does something else for its task from now on.
    pub(super) fn enter(&self, phase: &str, timeless: bool) {
        if let Some(run) = &mut *lock(&self.running) {
            (run.phase, run.since, run.timeless) = (phase.to_owned(), now(), timeless);
        }
    }

    pub(super) fn set_mute(&self, mute: bool) {
        self.mute.store(mute, Ordering::Relaxed);
    }

    pub(super) fn max_frame_bytes(&self) -> usize {
        lock(&self.output).max_frame_bytes
    }

    /// Writes one frame. `body` is an object whose fields follow the common ones. It is joined as
    /// text, because results pass through as they are.
    pub(super) fn say(&self, kind: &str, body: &impl Serialize) {
        let body = serde_json::to_string(body).unwrap_or_else(|_| "{}".into());
        let fields = &body[1..];
        let comma = if fields == "}" { "" } else { "," };
        let mut output = lock(&self.output);
        output.seq += 1;
        let seq = output.seq;
        let line = format!("{{\"type\":\"{kind}\",\"seq\":{seq}{comma}{fields}\n");
        self.write(&line, &output);
    }

    /// Writes a line that need not be a frame.
    pub(super) fn say_as_is(&self, line: &str) {
        self.write(line, &lock(&self.output));
    }

    fn write(&self, line: &str, _one_at_a_time: &MutexGuard<'_, Output>) {
        let mut stdout = io::stdout().lock();
        if stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            self.daemon_is_gone();
        }
    }
}

fn record(task: &Task, what: &str) {
    let Some(directory) = std::env::var_os(RECORD) else { return };
    let path = std::path::Path::new(&directory).join("runs");
    let line = format!("{} {} {what}\n", task.task_id, task.attempt);
    // One write in append mode, so lines of several workers do not mix. It is for tests, which
    // miss the line if it could not be written.
    let _missing = std::fs::File::options()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()));
}
