//! The spawner and the launcher, with real processes.

#[expect(dead_code, reason = "shared with the tests of the sandbox")]
#[path = "support/machine.rs"]
mod machine;
#[expect(dead_code, reason = "shared with the tests of the sandbox")]
#[path = "support/probe.rs"]
mod probe;
mod support;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daedalus::domain::Exit;
use daedalus::worker::proc;
use daedalus::worker::protocol::{FromWorker, ToWorker};
use daedalus::worker::spawner::{LaunchError, Spawner, SpawnerOptions};
use nix::sys::signal::Signal;
use probe::Probe;
use serde_json::json;
use support::{Pool, run, sandbox, send, until, within};
use tokio::time::Instant;

#[test]
fn a_worker_starts_works_and_ends_by_itself() {
    run(async {
        let pool = Pool::new();
        let mut agent = pool.worker().await;
        let value = json!({"text": "a\nb", "number": 12_345_678_901_234_567_890_u64});
        let echoed = agent.result(&json!({"action": "echo", "value": value})).await;
        assert_eq!(echoed, json!({"value": value}));
        let digest = agent.result(&json!({"action": "digest", "text": "abc"})).await;
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest, json!({"sha256": expected}));
        agent.send(&ToWorker::Ping { nonce: 3 });
        assert_eq!(agent.frame().await, FromWorker::Pong);
        agent.send(&ToWorker::Shutdown { reason: "test" });
        assert_eq!(agent.frame().await, FromWorker::Bye);
        assert!(agent.next().await.unwrap().is_none(), "the end of the output is seen");
        assert_eq!(agent.news.gone().await.0, Exit::Code(0));
        until("the working directory is removed", || !agent.spec.workdir.exists()).await;
    });
}

#[test]
fn a_killed_worker_is_seen() {
    run(async {
        let pool = Pool::new();
        let mut took = Vec::new();
        for _ in 0..30 {
            let mut agent = pool.worker().await;
            let worker = agent.worker_pid();
            let killed = Instant::now();
            send(worker, Signal::SIGKILL);
            let (exit, seen) = agent.news.gone().await;
            assert_eq!(exit, Exit::Signal(9));
            took.push(seen - killed);
        }
        took.sort_unstable();
        println!("kill -9 to Gone: median {:?}, worst {:?}", took[15], took[29]);
    });
}

#[test]
fn what_a_worker_detached_ends_with_it() {
    run(async {
        let pool = Pool::new();
        let mut agent = pool.worker().await;
        let left = agent.result(&json!({"action": "double_fork"})).await["pid"].as_u64().unwrap();
        let left = u32::try_from(left).unwrap();
        until("it is adopted", || proc::parent(left) == Some(agent.launcher)).await;
        send(left, Signal::SIGTERM);
        assert!(proc::is_alive(left));
        agent.send(&ToWorker::Shutdown { reason: "test" });
        assert_eq!(agent.news.gone().await.0, Exit::Code(0));
        assert!(!proc::is_alive(left));
        pool.assert_nothing_survived();
    });
}

#[test]
fn a_worker_that_kills_its_launcher_takes_nothing_out_of_reach() {
    run(async {
        let pool = Pool::new();
        let bystander = pool.worker().await;
        let mut agent = pool.worker().await;
        agent.result(&json!({"action": "double_fork"})).await;
        agent.result(&json!({"action": "children", "count": 20})).await;
        let begun = Instant::now();
        agent.begin(&json!({"action": "kill_launcher"})).await;
        let (exit, seen) = agent.news.gone().await;
        println!("lost launcher to Gone: {:?}", seen - begun);
        assert_eq!(exit, Exit::Unknown);
        let left = support::survivors(&pool.store_id);
        let expected = [bystander.launcher, bystander.worker_pid()];
        assert!(left.iter().all(|pid| expected.contains(pid)), "{left:?} {expected:?}");
        assert_eq!(left.len(), 2, "the sweep spares the launchers that live");
    });
}

#[test]
fn a_launcher_killed_from_outside_is_no_verified_end_but_a_swept_one() {
    run(async {
        let pool = Pool::new();
        for signal in [Signal::SIGKILL, Signal::SIGABRT, Signal::SIGUSR2] {
            let mut agent = pool.worker().await;
            send(agent.launcher, signal);
            assert_eq!(agent.news.gone().await.0, Exit::Unknown);
            pool.assert_nothing_survived();
        }
    });
}

#[test]
fn a_stopped_launcher_does_not_stop_the_kill() {
    run(async {
        let pool = Pool::new();
        let mut agent = pool.worker().await;
        agent.begin(&json!({"action": "stop_launcher"})).await;
        let launcher = agent.launcher;
        until("the launcher is stopped", || state_of(launcher) == Some('T')).await;
        pool.spawner.kill(agent.spec.agent, agent.spec.incarnation);
        assert_eq!(agent.news.gone().await.0, Exit::Signal(9));
        pool.assert_nothing_survived();
    });
}

#[test]
fn a_launcher_that_is_stopped_again_and_again_is_killed() {
    run(async {
        let pool = Pool::new();
        let script = "trap '' TERM; while :; do kill -STOP $PPID; done";
        let mut agent = pool.process(&["sh", "-c", script]).await;
        let launcher = agent.launcher;
        until("the launcher is stopped", || state_of(launcher) == Some('T')).await;
        let begun = Instant::now();
        pool.spawner.kill(agent.spec.agent, agent.spec.incarnation);
        let (exit, seen) = agent.news.gone().await;
        println!("launcher stopped in a loop: {exit} after {:?}", seen - begun);
        assert!(matches!(exit, Exit::Unknown | Exit::Signal(9)), "{exit}");
        pool.assert_nothing_survived();
    });
}

fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

#[test]
fn a_command_that_cannot_run_says_why() {
    run(async {
        let pool = Pool::new();
        let cases = [
            (&["/no/such/program"][..], Exit::Code(127), "No such file or directory"),
            (&["no-such-program"], Exit::Code(127), "No such file or directory"),
            (&["/etc"], Exit::Code(126), "Permission denied"),
            (&["sh", "-c", "exit 3"], Exit::Code(3), ""),
            (&["sh", "-c", "exit 200"], Exit::Code(79), ""),
            (&["sh", "-c", "kill -SEGV $$"], Exit::Signal(11), ""),
        ];
        for (command, expected, why) in cases {
            let mut agent = pool.process(command).await;
            assert_eq!(agent.news.gone().await.0, expected, "{command:?}");
            until(why, || agent.log.lock().unwrap().contains(why)).await;
        }
    });
}

#[test]
fn a_launch_that_fails_is_an_end_too() {
    run(async {
        let pool = Pool::with_launcher("/no/such/launcher".into());
        let mut failed = pool.launch(pool.spec(&[]));
        let answer = within("the answer", failed.answer).await.unwrap();
        assert!(matches!(answer, Err(LaunchError::Launcher { .. })), "{answer:?}");
        let (Exit::NotStarted(why), _) = failed.news.gone().await else { panic!("started") };
        assert_eq!(
            why,
            "cannot start the launcher /no/such/launcher: No such file or directory (os error 2)"
        );

        let pool = Pool::new();
        let mut spec = pool.spec(&[]);
        spec.workdir = "/proc/no/place".into();
        let mut failed = pool.launch(spec);
        let answer = within("the answer", failed.answer).await.unwrap();
        assert!(matches!(answer, Err(LaunchError::Workdir { .. })), "{answer:?}");
        assert!(matches!(failed.news.gone().await.0, Exit::NotStarted(_)));

        let first = pool.worker().await;
        let mut second = pool.launch(first.spec.clone());
        let answer = within("the answer", second.answer).await.unwrap();
        assert!(matches!(answer, Err(LaunchError::LaunchedBefore)), "{answer:?}");
        assert!(matches!(second.news.gone().await.0, Exit::NotStarted(_)));
        assert!(proc::is_alive(first.worker_pid()), "the first one is left alone");
    });
}

#[test]
fn sixteen_start_at_once() {
    run(async {
        let outside = Pool::new();
        let built_in = [env!("CARGO_BIN_EXE_daedalus"), "--version"];
        let gives_uids = machine::gives_uids(&mut Probe::start(&outside).await, &built_in).await;
        for (pool, must) in [(Pool::new(), false), (Pool::confined(sandbox(&[])), gives_uids)] {
            let begun = Instant::now();
            let starting: Vec<_> = (0..16).map(|_| pool.launch(pool.spec(&[]))).collect();
            let mut agents = Vec::new();
            for start in starting {
                agents.push(start.started().await);
            }
            for agent in &mut agents {
                agent.shake_hands().await;
            }
            println!("sixteen ready after {:?}", begun.elapsed());
            for agent in &mut agents {
                let value = json!({"action": "echo", "value": 1});
                assert_eq!(agent.result(&value).await, json!({"value": 1}));
            }
            let uids: BTreeSet<_> = agents.iter().map(|agent| agent.confinement().uid).collect();
            assert!(uids.len() == 16 || uids.contains(&None), "an id belongs to one: {uids:?}");
            assert!(!must || !uids.contains(&None), "each has one: {uids:?}");
        }
    });
}

#[test]
fn a_kill_during_the_start_leaves_no_orphan() {
    run(async {
        let pool = Pool::new();
        for round in 0..6_u64 {
            let mut starting: Vec<_> = (0..16).map(|_| pool.launch(pool.spec(&[]))).collect();
            for (start, number) in starting.iter().zip(0..) {
                tokio::time::sleep(Duration::from_micros(round * number * 40)).await;
                pool.spawner.kill(start.spec.agent, start.spec.incarnation);
            }
            for start in &mut starting {
                start.news.gone().await;
            }
            pool.assert_nothing_survived();
        }
    });
}

#[test]
fn a_dropped_guard_and_a_dropped_answer_kill() {
    run(async {
        let pool = Pool::new();
        let mut agent = pool.worker().await;
        drop(agent.guard.take());
        assert_eq!(agent.news.gone().await.0, Exit::Signal(9));

        let mut start = pool.launch(pool.spec(&[]));
        drop(start.answer);
        start.news.gone().await;
        pool.assert_nothing_survived();
    });
}

#[test]
fn a_closed_pipe_ends_the_tree() {
    run(async {
        let pool = Pool::new();
        let mut agent = pool.worker().await;
        agent.begin(&json!({"action": "hang"})).await;
        drop(agent.writer.take());
        let (exit, _) = agent.news.gone().await;
        // Either the worker saw it first, or the launcher did.
        assert!(matches!(exit, Exit::Code(71) | Exit::Signal(9)), "{exit}");
    });
}

#[test]
fn a_worker_gets_its_three_streams_and_the_built_environment_only() {
    run(async {
        let leaky = nix::unistd::dup(io::stderr()).unwrap();
        let pool = Pool::new();
        let other = pool.worker().await;
        let mut spec = pool.spec(&[]);
        spec.env = vec![("OPENAI_API_KEY".into(), "k".into())];
        let mut agent = pool.launch(spec).started().await;
        agent.shake_hands().await;
        let worker = agent.worker_pid();
        let fds = |pid: u32| {
            let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
            let links = entries.filter_map(|entry| {
                let link = std::fs::read_link(entry.path()).ok()?;
                Some((entry.file_name().to_str()?.parse().ok()?, link.display().to_string()))
            });
            links.collect::<std::collections::BTreeMap<u32, String>>()
        };
        // It goes on while its worker already begins. Then it lets go of the worker's output, whose
        // end is seen by that.
        until("the launcher has its own three streams, its signals and its parent", || {
            let its_launchers = fds(agent.launcher);
            let has_one = |what| its_launchers.values().filter(|it| it.contains(what)).count() == 1;
            its_launchers.len() == 5
                && its_launchers[&1] == "/dev/null"
                && has_one("signalfd")
                && has_one("pidfd")
        })
        .await;
        let (mine, its_launchers) = (fds(worker), fds(agent.launcher));
        assert_eq!(mine.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "{mine:?}");
        assert!(mine.values().all(|link| link.starts_with("pipe:")), "{mine:?}");
        assert_eq!(its_launchers[&0], mine[&0], "it watches the same pipe");
        assert!(fds(other.worker_pid()).values().all(|link| !mine.values().any(|m| m == link)));

        let mut names = proc::environment_names(worker).unwrap();
        names.sort_unstable();
        assert_eq!(
            names.join(" "),
            "DAEDALUS_AGENT_ID DAEDALUS_STORE_ID DAEDALUS_WORKER HOME LANG OPENAI_API_KEY PATH \
             PYTHON_DOTENV_DISABLED TMPDIR"
        );
        assert_eq!(proc::workdir(worker).unwrap(), agent.spec.workdir);
        drop(leaky);
    });
}

#[test]
fn two_hundred_children_end_with_their_worker() {
    run(async {
        let pool = Pool::new();
        let mut agent = pool.worker().await;
        let result = agent.result(&json!({"action": "children", "count": 200})).await;
        assert_eq!(result["pids"].as_array().unwrap().len(), 200);
        let begun = Instant::now();
        send(agent.worker_pid(), Signal::SIGKILL);
        let (exit, seen) = agent.news.gone().await;
        println!("200 children: kill -9 to Gone {:?}", seen - begun);
        assert_eq!(exit, Exit::Signal(9));
        pool.assert_nothing_survived();
    });
}

#[test]
fn a_tree_that_goes_on_forking_is_ended() {
    run(async {
        let pool = Pool::new();
        let script = "trap '' TERM; n=0; while [ $n -lt 400 ]; do n=$((n+1)); \
                      (setsid sh -c 'sleep 1000 & sleep 1000' &) ; done; sleep 1000";
        for _ in 0..3 {
            let mut agent = pool.process(&["sh", "-c", script]).await;
            until("it has forked a lot", || proc::descendants(agent.launcher).len() > 100).await;
            let begun = Instant::now();
            pool.spawner.kill(agent.spec.agent, agent.spec.incarnation);
            let (exit, seen) = agent.news.gone().await;
            println!("forking tree: {exit} after {:?}", seen - begun);
            pool.assert_nothing_survived();
        }
    });
}

#[test]
fn a_polite_signal_may_be_ignored_and_a_kill_may_not() {
    run(async {
        let pool = Pool::new();
        let mut idle = pool.worker().await;
        pool.spawner.signal(idle.spec.agent, idle.spec.incarnation);
        assert_eq!(idle.news.gone().await.0, Exit::Signal(15));

        let mut hanging = pool.worker().await;
        let (task_id, attempt) = hanging.begin(&json!({"action": "hang"})).await;
        let worker = hanging.worker_pid();
        pool.spawner.signal(hanging.spec.agent, hanging.spec.incarnation);
        hanging.send(&ToWorker::Cancel { task_id, attempt, reason: "test" });
        until("SIGTERM has arrived", || sigterm_is_pending(worker)).await;
        assert!(proc::is_alive(worker));

        let mut stopped = pool.worker().await;
        stopped.begin(&json!({"action": "stop"})).await;
        let pid = stopped.worker_pid();
        until("it is stopped", || state_of(pid) == Some('T')).await;
        for agent in [&mut hanging, &mut stopped] {
            pool.spawner.kill(agent.spec.agent, agent.spec.incarnation);
            assert_eq!(agent.news.gone().await.0, Exit::Signal(9));
        }
    });
}

fn sigterm_is_pending(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let shared = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap_or("0");
    u64::from_str_radix(shared.trim(), 16).is_ok_and(|mask| mask & (1 << 14) != 0)
}

#[test]
fn a_shutdown_ends_all_and_refuses_what_comes_later() {
    run(async {
        let pool = Pool::new();
        let mut agents = Vec::new();
        for _ in 0..4 {
            agents.push(pool.worker().await);
        }
        agents[0].result(&json!({"action": "double_fork"})).await;
        let mut on_its_way = pool.launch(pool.spec(&[]));
        let begun = Instant::now();
        assert!(pool.spawner.shutdown(support::PATIENCE));
        println!("shutdown of five: {:?}", begun.elapsed());
        pool.assert_nothing_survived();
        for agent in &mut agents {
            assert_eq!(agent.news.gone().await.0, Exit::Signal(9));
        }
        on_its_way.news.gone().await;
        let mut late = pool.launch(pool.spec(&[]));
        let answer = within("the answer", late.answer).await.unwrap();
        assert!(matches!(answer, Err(LaunchError::ShuttingDown)), "{answer:?}");
        assert!(matches!(late.news.gone().await.0, Exit::NotStarted(_)));
        assert!(pool.spawner.shutdown(Duration::ZERO), "a second one finds it done");
    });
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it in hands").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_of_its_log_names_the_component_once() {
    run(async {
        let written = Written::default();
        let json = Mutex::new(slog_json::Json::default(written.clone()));
        let spawner = Spawner::start(SpawnerOptions {
            sandbox: None,
            launcher: "/no/such/launcher".into(),
            store_id: "log-test".to_owned(),
            log: slog::Logger::root(slog::Drain::fuse(json), slog::o!("component" => "spawner")),
            on_panic: Box::new(|| panic!("the spawner panicked")),
        })
        .unwrap();
        let pool = Pool::new();
        let spec = pool.spec(&[]);
        assert!(spawner.launch(spec, Box::new(|_| {})).await.unwrap().is_err());
        assert!(spawner.shutdown(support::PATIENCE), "its working directory is removed");
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let line = text.lines().find(|line| line.contains("worker_not_started")).unwrap();
        assert_eq!(line.matches("\"component\":").count(), 1, "{line}");
    });
}
