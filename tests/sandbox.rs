//! What a worker can do in its sandbox, tried by real processes. Each attempt must fail when the
//! guard against it is said to be in force, and succeed without a sandbox, so that each can fail.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "this is test code, also outside of any test function"
)]

#[path = "support/group.rs"]
mod group;
#[path = "support/machine.rs"]
mod machine;
#[path = "support/probe.rs"]
mod probe;
#[expect(dead_code, reason = "shared with the tests of the spawner")]
mod support;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use daedalus::domain::{Exit, Guard};
use daedalus::worker::sandbox::Sandbox;
use group::Group;
use probe::Probe;
use serde_json::{Value, json};
use support::{Pool, run, sandbox, until};
use uuid::Uuid;

const SOCKETS: &str = "
import socket
def connect(port, protocol=0):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as s:
        s.settimeout(20)
        s.connect(('127.0.0.1', port))
def abstract(name):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(chr(0) + name)
def listen():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
";

/// A command that needs what a probe needs.
const PYTHON: [&str; 4] = ["python3", "-I", "-c", "import json"];

const SHARED_MEMORY: &str = "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def shmget(key, flags):
    found = libc.shmget(key, 4096, flags)
    if found < 0:
        raise OSError(ctypes.get_errno(), 'shmget')
    return found
";

const LIMITS_OF_OTHERS: &str = "
import resource
def set_limit(pid):
    queue = resource.RLIMIT_MSGQUEUE
    resource.prlimit(pid, queue, resource.prlimit(pid, queue))
";

/// What two workers of a pool, and their surroundings, are called in attempts.
struct Scene {
    anna: Probe,
    bert: Probe,
    /// A file that only the daemon has to do with.
    store: String,
    allowed: TcpListener,
    forbidden: TcpListener,
    name: String,
    _abstract: UnixListener,
    /// The last, because the others are of it.
    _pool: Pool,
}

impl Scene {
    async fn set(sandboxed: bool) -> Self {
        Self::set_with(sandboxed.then(|| sandbox(&[]))).await
    }

    /// The same with this sandbox, or none; to one port anna may connect.
    async fn set_with(sandbox: Option<Sandbox>) -> Self {
        let [allowed, forbidden] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let connect = vec![allowed.local_addr().unwrap().port()];
        let pool = match sandbox {
            Some(sandbox) => Pool::confined(Sandbox { connect, ..sandbox }),
            None => Pool::new(),
        };
        let name = format!("daedalus-test-{}", Uuid::new_v4());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixListener::bind_addr(&address).unwrap();
        let (mut anna, mut bert) = (Probe::start(&pool).await, Probe::start(&pool).await);
        let store = std::env::temp_dir().join(format!("{name}.db"));
        fs::write(&store, "precious").unwrap();
        fs::set_permissions(&store, Permissions::from_mode(0o600)).unwrap();
        for probe in [&mut anna, &mut bert] {
            probe.run("import os; open('secret', 'w').write('mine')").await.unwrap();
            probe.run(SOCKETS).await.unwrap();
            probe.run(SHARED_MEMORY).await.unwrap();
            probe.run(LIMITS_OF_OTHERS).await.unwrap();
        }
        let store = store.display().to_string();
        Self { anna, bert, store, allowed, forbidden, name, _abstract: socket, _pool: pool }
    }

    /// What anna tries on others, and the guard that forbids it.
    fn attempts(&self) -> Vec<(Guard, String)> {
        let (theirs, store) = (self.bert.workdir(), &self.store);
        let (their_pid, launcher) = (self.bert.agent.worker_pid(), self.anna.agent.launcher);
        let forbidden = self.forbidden.local_addr().unwrap().port();
        let name = &self.name;
        let mine = format!("/tmp/{name}");
        // Another kind of socket that speaks to the same ports.
        let mptcp = fs::read_to_string("/proc/sys/net/mptcp/enabled").unwrap_or_default();
        let mptcp = (mptcp.trim() == "1").then(|| format!("connect({forbidden}, 262)"));
        let mut attempts = vec![
            (Guard::Files, format!("open('{theirs}/secret').read()")),
            (Guard::Files, format!("os.listdir('{theirs}')")),
            (Guard::Files, format!("open('{theirs}/new', 'w').write('x')")),
            (Guard::Files, format!("os.symlink('{theirs}/secret', 's'); open('s').read()")),
            (Guard::Files, format!("open('{store}').read()")),
            (Guard::Files, format!("open('{store}', 'a').write('x')")),
            (Guard::Files, format!("open('{mine}', 'w').close(); os.remove('{mine}')")),
            (
                Guard::Files,
                format!("open('/dev/shm/{name}', 'w').close(); os.remove('/dev/shm/{name}')"),
            ),
            (Guard::Files, "open('/proc/self/status').read()".to_owned()),
            (Guard::Truncate, format!("os.truncate('{store}', 4)")),
            (Guard::Processes, format!("open('/proc/{their_pid}/environ').read()")),
            (Guard::Processes, format!("os.listdir('/proc/{their_pid}/fd')")),
            (Guard::Uid, format!("os.stat('{theirs}/secret').st_size")),
            (Guard::Uid, format!("os.chmod('{theirs}/secret', 0o666)")),
            (Guard::Uid, format!("os.chmod('{store}', 0o666)")),
            (Guard::Tcp, format!("connect({forbidden})")),
            (Guard::Tcp, "listen()".to_owned()),
            (Guard::Signals, format!("os.kill({their_pid}, 0)")),
            (Guard::Signals, format!("os.kill({launcher}, 0)")),
            (Guard::Signals, format!("os.kill({}, 0)", std::process::id())),
            // A limit ends a process, too.
            (Guard::Signals, format!("set_limit({their_pid})")),
            (Guard::Signals, format!("set_limit({launcher})")),
            (Guard::Signals, format!("set_limit({})", std::process::id())),
            (Guard::AbstractSockets, format!("abstract('{name}')")),
        ];
        attempts.extend(mptcp.map(|code| (Guard::Tcp, code)));
        attempts
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        fs::remove_file(&self.store).unwrap();
    }
}

/// The other tests believe what the sandbox says of itself. Here the machine is asked, so that one is
/// seen that enforces less than it could.
#[test]
fn what_this_machine_can_enforce_is_in_force() {
    run(async {
        let outside = Pool::new();
        let mut outside = Probe::start(&outside).await;
        let version = machine::landlock(&mut outside).await;
        let gives_uids = machine::gives_uids(&mut outside, &PYTHON).await;
        let gives_namespaces = machine::gives_namespaces();
        println!("Landlock {version}, user ids {gives_uids}, namespaces {gives_namespaces}");

        let pool = Pool::confined(sandbox(&[]));
        let mut probe = Probe::start(&pool).await;
        let found = probe.confinement.clone();
        assert_eq!(found.landlock_abi, landlock::ABI::from(version) as u8, "{found:?}");
        for (guard, since) in machine::SINCE_LANDLOCK {
            let must = version >= i32::from(since);
            assert_eq!(probe.enforces(guard), must, "{guard:?}, Landlock {version}: {found:?}");
        }
        // Without a namespace of its own it gets no shared memory at all.
        for guard in [Guard::Privileges, Guard::Ipc] {
            assert!(probe.enforces(guard), "{guard:?}: {found:?}");
        }
        // How it is confined is said before it is there.
        probe.run("0").await.unwrap();
        let ipc = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/ipc")).unwrap();
        let has_own = ipc(probe.agent.worker_pid()) != ipc(std::process::id());
        assert_eq!(found.ipc_namespace, has_own, "{found:?}");
        assert!(has_own || !gives_namespaces, "{found:?}");
        if gives_uids {
            assert!(found.uid.is_some(), "{found:?}");
            for guard in [Guard::Uid, Guard::ProcessCount] {
                assert!(probe.enforces(guard), "{guard:?}: {found:?}");
            }
        }
    });
}

#[test]
fn what_a_guard_in_force_forbids_fails_and_works_without_a_sandbox() {
    run(async {
        let one_user = Sandbox { first_uid: 0, ..sandbox(&[]) };
        for sandbox in [Some(sandbox(&[])), Some(one_user), None] {
            let sandboxed = sandbox.is_some();
            let mut scene = Scene::set_with(sandbox).await;
            assert_eq!(scene.anna.confinement.enforced.is_empty(), !sandboxed);
            for (guard, code) in scene.attempts() {
                let outcome = scene.anna.run(&code).await;
                if scene.anna.enforces(guard) {
                    let forbidden = ["EACCES", "EPERM"].map(|name| Err(name.to_owned()));
                    assert!(forbidden.contains(&outcome), "{guard:?}: {code}: {outcome:?}");
                } else if !sandboxed {
                    assert!(outcome.is_ok(), "{code}: {outcome:?}");
                }
            }
        }
    });
}

#[test]
fn shared_memory_of_one_agent_is_not_there_for_another() {
    run(async {
        for sandboxed in [true, false] {
            let mut scene = Scene::set(sandboxed).await;
            let key = i32::from_ne_bytes(*Uuid::new_v4().as_bytes().first_chunk().unwrap()) | 1;
            let made = scene.anna.run(&format!("shmget({key}, 0o1666)")).await;
            if made == Err("EACCES".to_owned()) {
                // Where no namespace is to be had there is no shared memory at all.
                assert!(sandboxed && scene.anna.enforces(Guard::Ipc));
                continue;
            }
            let made = made.unwrap();
            let found = scene.bert.run(&format!("shmget({key}, 0)")).await;
            let removed = scene.anna.run(&format!("libc.shmctl({made}, 0, None)")).await;
            assert_eq!(removed, Ok(json!(0)));
            if scene.bert.enforces(Guard::Ipc) {
                assert_eq!(found, Err("ENOENT".to_owned()));
            } else if !sandboxed {
                assert_eq!(found, Ok(made));
            }
        }
    });
}

#[test]
fn a_worker_can_do_what_it_needs() {
    run(async {
        let mut scene = Scene::set(true).await;
        let allowed = scene.allowed.local_addr().unwrap().port();
        let workdir = scene.anna.workdir();
        for (code, expected) in [
            ("open('secret').read()".to_owned(), json!("mine")),
            ("os.path.realpath(os.environ['HOME'])".to_owned(), json!(workdir)),
            ("os.mkdir('d'); os.rename('secret', 'd/s'); os.listdir('d')".to_owned(), json!(["s"])),
            ("import tempfile; tempfile.TemporaryFile().write(b'abc')".to_owned(), json!(3)),
            ("len(os.urandom(8))".to_owned(), json!(8)),
            ("open('/dev/null', 'r+b', 0).write(b'abc')".to_owned(), json!(3)),
            ("import ssl; ssl.create_default_context() is not None".to_owned(), json!(true)),
            ("socket.getaddrinfo('localhost', 1) != []".to_owned(), json!(true)),
            ("import pwd; pwd.getpwnam('root').pw_uid".to_owned(), json!(0)),
            ("import subprocess; subprocess.check_output(['sh', '-c', 'echo hi']).decode()".to_owned(), json!("hi\n")),
            ("import threading; t = threading.Thread(target=print, args=('',), kwargs={'end': ''}); t.start(); t.join()".to_owned(), Value::Null),
            (format!("connect({allowed})"), Value::Null),
            ("os.umask(0o77)".to_owned(), json!(0o77)),
            ("set_limit(0)".to_owned(), Value::Null),
            ("libc.prctl(39, 0, 0, 0, 0)".to_owned(), json!(1)),
            ("os.getpgid(0) == os.getpid()".to_owned(), json!(true)),
        ] {
            assert_eq!(scene.anna.run(&code).await, Ok(expected), "{code}");
        }
        let session = scene.anna.run("os.getsid(0)").await;
        assert_eq!(session, Ok(json!(scene.anna.agent.launcher)));
        let uids = [scene.anna.run("os.getuid()").await, scene.bert.run("os.getuid()").await];
        for (probe, uid) in [&scene.anna, &scene.bert].into_iter().zip(&uids) {
            if let Some(own) = probe.confinement.uid {
                assert_eq!(*uid, Ok(json!(own)));
            }
        }
        assert_eq!(scene.anna.enforces(Guard::Uid), uids[0] != uids[1]);
        let groups = scene.anna.run("[os.getgid(), os.getgroups()]").await.unwrap();
        if let Some(own) = scene.anna.confinement.uid {
            assert_eq!(groups, json!([own, []]));
        }
    });
}

#[test]
fn limits_are_as_planned() {
    const LIMITS: &str = "
import resource as r
[r.getrlimit(x) for x in (r.RLIMIT_CORE, r.RLIMIT_NOFILE, r.RLIMIT_FSIZE, r.RLIMIT_AS, r.RLIMIT_CPU)]
";
    run(async {
        let mut plan = sandbox(&[]);
        plan.limits.files = 100;
        plan.limits.file_mb = 1;
        plan.limits.address_space_mb = 2048;
        plan.limits.cpu_s = 77;
        plan.limits.processes = 20;
        let pool = Pool::confined(plan);
        let mut probe = Probe::start(&pool).await;
        let limits = probe.run(LIMITS).await.unwrap();
        let both = |limit: u64| json!([limit, limit]);
        assert_eq!(limits, json!([both(0), both(100), both(1 << 20), both(2 << 30), both(77)]));
        let processes = probe.run("r.getrlimit(r.RLIMIT_NPROC)[0]").await.unwrap();
        assert_eq!(probe.enforces(Guard::ProcessCount), processes == json!(20));
    });
}

#[test]
fn an_id_is_given_again_when_its_tree_is_gone() {
    run(async {
        let outside = Pool::new();
        let must = machine::gives_uids(&mut Probe::start(&outside).await, &PYTHON).await;
        let pool = Pool::confined(sandbox(&[]));
        let mut uids = Vec::new();
        let (mut first, second) = (Probe::start(&pool).await, Probe::start(&pool).await);
        let Some(uid) = first.confinement.uid else {
            assert!(!must, "a daemon with these rights gives ids: {:?}", first.confinement);
            println!("skipped: no agent has a user id of its own here");
            return;
        };
        uids.extend([first.confinement.uid, second.confinement.uid]);
        // How it is confined is said before it is there, and another end than this comes before that.
        first.run("0").await.unwrap();
        pool.spawner.kill(first.agent.spec.agent, first.agent.spec.incarnation);
        assert_eq!(first.agent.news.gone().await.0, Exit::Signal(9));
        uids.push(Probe::start(&pool).await.confinement.uid);
        assert_eq!(uids, [Some(uid), Some(uid + 1), Some(uid)]);
    });
}

#[test]
fn a_folder_on_the_way_that_is_closed_to_others_is_named() {
    run(async {
        let mut pool = Pool::confined(sandbox(&[]));
        let outer = pool.place.clone();
        fs::create_dir(&outer).unwrap();
        fs::set_permissions(&outer, Permissions::from_mode(0o700)).unwrap();
        pool.place = outer.join("state");
        let probe = Probe::start(&pool).await;
        let missing = &probe.confinement.missing;
        let why = missing.iter().find(|missing| missing.guard == Guard::Uid).unwrap();
        let folder = format!("{} is closed to other users", outer.display());
        let is_root = nix::unistd::geteuid().is_root();
        assert_eq!(why.why.starts_with(&folder), is_root, "{}", why.why);
        assert!(missing.iter().any(|missing| missing.guard == Guard::ProcessCount));
        drop(probe);
        drop(pool);
        fs::remove_dir(outer).unwrap();
    });
}

#[test]
fn without_what_is_required_nothing_starts() {
    run(async {
        let pool = Pool::confined(Sandbox { require: vec![Guard::Udp], ..sandbox(&[]) });
        let mut agent = pool.process(&["sh", "-c", "echo started >&2"]).await;
        assert_eq!(agent.news.gone().await.0, Exit::Code(126));
        let log = agent.log.clone();
        until("it says why", || log.lock().unwrap().contains("require has udp")).await;
        assert!(!log.lock().unwrap().contains("started"));
    });
}

#[test]
fn a_program_that_may_not_be_read_says_which_key_helps() {
    run(async {
        let pool = Pool::confined(sandbox(&[]));
        let folder = std::env::temp_dir().join(format!("daedalus-test-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let (shell, script) = (folder.join("shell"), folder.join("script"));
        fs::copy("/bin/sh", &shell).unwrap();
        fs::write(&script, format!("#!{}\nexit 3\n", shell.display())).unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        let script = script.display().to_string();
        let mut refused = pool.process(&[&script]).await;
        assert_eq!(refused.news.gone().await.0, Exit::Code(126));
        let log = refused.log.clone();
        until("it says why", || log.lock().unwrap().contains("worker.sandbox.read")).await;

        let read = vec![folder.clone()];
        let open = Pool::confined(Sandbox { read, ..sandbox(&[]) });
        let mut allowed = open.process(&[&script]).await;
        assert_eq!(allowed.news.gone().await.0, Exit::Code(3));
        fs::remove_dir_all(folder).unwrap();
    });
}

#[test]
fn the_built_in_worker_works_in_its_sandbox() {
    run(async {
        let pool = Pool::confined(sandbox(&[]));
        let mut agent = pool.worker().await;
        assert_eq!(agent.result(&json!({"action": "echo", "value": 1})).await, json!({"value": 1}));
        agent.result(&json!({"action": "double_fork"})).await;
        agent.result(&json!({"action": "children", "count": 20})).await;
        agent.begin(&json!({"action": "kill_launcher"})).await;
        pool.spawner.kill(agent.spec.agent, agent.spec.incarnation);
        let (exit, _) = agent.news.gone().await;
        // Its launcher belongs to another user, or the kernel keeps it from signalling it.
        let is_spared =
            [Guard::Signals, Guard::Uid].map(|guard| agent.confinement().enforces(guard));
        assert_eq!(exit == Exit::Signal(9), is_spared.contains(&true), "{exit}");
        pool.assert_nothing_survived();
    });
}

/// A pool whose workers get groups in this one.
fn pool_in(group: &Group) -> Pool {
    let cgroup = group.0.display().to_string();
    Pool::confined(Sandbox { cgroup, ..sandbox(&[]) })
}

/// The control group (v2) of a process.
fn group_of(pid: u32) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

#[test]
fn a_tree_ends_with_its_control_group() {
    let Some(group) = Group::make() else { return };
    run(async {
        let pool = pool_in(&group);
        let mut anna = pool.worker().await;
        let bert = pool.worker().await;
        assert!(anna.confinement().enforces(Guard::Cgroup), "{:?}", anna.confinement());
        assert_eq!(group.members().len(), 2);
        let own = group_of(std::process::id());
        for agent in [&anna, &bert] {
            let members = group.members();
            let its = group_of(agent.worker_pid());
            assert!(members.iter().any(|member| member.ends_with(&its[1..])), "{its} {members:?}");
            until("the launcher is outside again", || group_of(agent.launcher) == own).await;
        }
        let left = anna.result(&json!({"action": "double_fork"})).await["pid"].as_u64().unwrap();
        assert_eq!(group_of(left.try_into().unwrap()), group_of(anna.worker_pid()));
        pool.spawner.kill(anna.spec.agent, anna.spec.incarnation);
        assert_eq!(anna.news.gone().await.0, Exit::Signal(9));
        until("its group is removed", || group.members().len() == 1).await;

        // A launcher that is lost takes nothing along, and its group neither.
        let mut bert = bert;
        support::send(bert.launcher, nix::sys::signal::Signal::SIGKILL);
        assert_eq!(bert.news.gone().await.0, Exit::Unknown);
        until("its group is removed", || group.members().is_empty()).await;
        pool.assert_nothing_survived();
    });
}

#[test]
fn a_command_that_cannot_run_leaves_no_control_group() {
    let Some(group) = Group::make() else { return };
    run(async {
        let pool = pool_in(&group);
        let mut agent = pool.process(&["/no/such/program"]).await;
        assert_eq!(agent.news.gone().await.0, Exit::Code(127));
        until("its group is removed", || group.members().is_empty()).await;
    });
}

#[test]
fn a_folder_that_is_no_control_group_is_a_missing_guard() {
    run(async {
        let cgroup = std::env::temp_dir().display().to_string();
        let pool = Pool::confined(Sandbox { cgroup, ..sandbox(&[]) });
        let agent = pool.worker().await;
        assert!(!agent.confinement().enforces(Guard::Cgroup));
    });
}
