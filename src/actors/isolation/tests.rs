//! The rules, on agents that are made up and on real processes.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::actors::tests::{Tree, agent, until};
use crate::domain::{Confinement, ProcessFacts};
use crate::worker::inspect::{FileKind, Limit, OpenFile, SharedMap};

/// An agent with one process, which shares nothing: its numbers begin with that of the agent.
fn made_up(number: u32) -> (AgentView, Sight) {
    let mut view = agent(number);
    view.process = Some(ProcessFacts {
        pid: number * 100,
        launcher_pid: number * 100 + 1,
        launcher_start_ticks: 1,
        workdir: String::new(),
        confinement: Some(Arc::new(Confinement {
            uid: Some(number * 100),
            ipc_namespace: true,
            enforced: [Guard::Tcp, Guard::Privileges, Guard::Uid, Guard::Ipc, Guard::ProcessCount]
                .into(),
            ..Confinement::default()
        })),
    });
    let sight = Sight {
        pid: number * 100,
        started_ticks: 1,
        parent: number * 100 + 1,
        group: number * 100,
        session: number * 100 + 1,
        uid: Some(number * 100),
        gid: Some(number * 100),
        no_new_privs: Some(true),
        seccomp: Some(2),
        capabilities: Some(BTreeSet::new()),
        workdir: Some(format!("/agents/{number}").into()),
        namespaces: BTreeMap::from([("ipc".to_owned(), number.into())]),
        environment: Some(Vec::new()),
        like_ours: BTreeSet::new(),
        files: Some(vec![
            file("/dev/null", FileKind::Null, 1, true),
            file("anon_inode:[eventpoll]", FileKind::Anonymous, 2, true),
            file("/usr/lib/x", FileKind::File, 3, false),
            file("pipe:[1]", FileKind::File, u64::from(number) * 100, true),
        ]),
        shared_maps: Some(Vec::new()),
        limits: [("processes", 9), ("open_files", 9), ("file_size", 9), ("core_file_size", 0)]
            .map(|(name, most)| (name.to_owned(), Limit { soft: Some(most), hard: Some(most) }))
            .into(),
    };
    (view, sight)
}

fn file(target: &str, kind: FileKind, inode: u64, writable: bool) -> OpenFile {
    OpenFile { fd: 3, target: target.to_owned(), kind, inode: (8, inode), writable }
}

/// The sentences of two agents of which something is changed.
fn told(change: impl FnOnce(&mut (AgentView, Sight), &mut (AgentView, Sight))) -> [Vec<String>; 2] {
    let (mut anna, mut bert) = (made_up(1), made_up(2));
    change(&mut anna, &mut bert);
    let ids = [anna.0.id, bert.0.id];
    let names = [(ids[0].to_string(), "anna"), (ids[1].to_string(), "bert")];
    let subjects = [subject_of(&anna, 1), subject_of(&bert, 2)];
    let daemon = Sight {
        files: Some(vec![
            file("socket:[7]", FileKind::Socket, 7, true),
            file("pipe:[1]", FileKind::File, 100, true),
        ]),
        ..made_up(9).1
    };
    let findings = issues::find(&subjects, Some(&daemon), &BTreeSet::from(["GIVEN".to_owned()]));
    let mut issues = issues::told(&findings);
    ids.map(|id| {
        let issues = issues.remove(&id).unwrap_or_default();
        let named = |issue: Issue| {
            names.iter().fold(issue.sentence, |text, (id, name)| text.replace(id, name))
        };
        issues.into_iter().map(named).collect()
    })
}

fn subject_of(agent: &(AgentView, Sight), number: u32) -> Subject<'_> {
    Subject {
        view: &agent.0,
        workdir: Some(format!("/agents/{number}").into()),
        launcher_session: Some(number * 100 + 1),
        processes: vec![agent.1.clone()],
    }
}

#[track_caller]
fn shared(change: impl FnOnce(&mut (AgentView, Sight), &mut (AgentView, Sight)), what: &str) {
    let both = ["bert", "anna"].map(|other| vec![format!("{what} is shared with {other}")]);
    assert_eq!(told(change), both);
}

#[track_caller]
fn of_bert(change: impl FnOnce(&mut (AgentView, Sight)), what: &str) {
    assert_eq!(told(|_, bert| change(bert)), [vec![], vec![what.to_owned()]]);
}

fn open(sight: &mut Sight, file: OpenFile) {
    sight.files.as_mut().unwrap().push(file);
}

#[test]
fn agents_that_share_nothing_have_no_issues() {
    assert_eq!(told(|_, _| {}), [vec![] as Vec<String>, vec![]]);
}

#[test]
fn what_two_agents_have_in_common_is_an_issue_of_both() {
    shared(
        |anna, bert| bert.0.ids.memory_handle_id = anna.0.ids.memory_handle_id,
        "memory_handle_id 00000000-0000-0000-0000-00000000000d",
    );
    shared(|anna, bert| bert.1.pid = anna.1.pid, "process 100");
    shared(|anna, bert| bert.1.group = anna.1.group, "process group 100");
    shared(|anna, bert| bert.1.namespaces = anna.1.namespaces.clone(), "IPC namespace 1");
    let socket = || file("socket:[4]", FileKind::Socket, 4, true);
    shared(
        |anna, bert| [anna, bert].into_iter().for_each(|agent| open(&mut agent.1, socket())),
        "socket:[4]",
    );
    let map = || SharedMap { path: "/dev/shm/x".to_owned(), inode: (8, 4) };
    shared(
        |anna, bert| [anna, bert].into_iter().for_each(|a| a.1.shared_maps = Some(vec![map()])),
        "writable memory /dev/shm/x",
    );
    shared(
        |anna, bert| {
            open(&mut anna.1, file("/dev/shm/x", FileKind::File, 4, false));
            bert.1.shared_maps = Some(vec![map()]);
        },
        "writable memory /dev/shm/x",
    );
}

#[test]
fn a_file_in_common_is_one_that_one_of_them_may_write() {
    for writable in [true, false] {
        shared(
            |anna, bert| {
                open(&mut anna.1, file("/srv/x", FileKind::File, 4, true));
                open(&mut bert.1, file("/srv/x", FileKind::File, 4, writable));
            },
            "writable file /srv/x",
        );
    }
}

#[test]
fn a_user_or_a_session_in_common_is_an_issue_only_when_each_was_to_have_its_own() {
    let unconfined = |agents: [&mut (AgentView, Sight); 2]| {
        for agent in agents {
            agent.1.uid = Some(0);
            agent.1.session = 1;
            agent.0.process.as_mut().unwrap().confinement = None;
        }
    };
    let told = told(|anna, bert| unconfined([anna, bert]));
    let sessions = [101, 201].map(|launcher| {
        let worker = launcher - 1;
        vec![format!("process {worker} is in session 1, and its launcher in {launcher}")]
    });
    assert_eq!(told, sessions);
    let one_user = self::told(|anna, bert| bert.1.uid = anna.1.uid);
    assert_eq!(one_user[0], ["user id 100 is shared with bert"]);
    let wrong = ["process 200 acts as user 100, not as 200", "user id 100 is shared with anna"];
    assert_eq!(one_user[1], wrong);
}

#[test]
fn an_agent_is_as_its_launcher_said_it_was() {
    of_bert(
        |bert| bert.1.no_new_privs = Some(false),
        "process 200 can gain rights, although no_new_privs was set",
    );
    of_bert(
        |bert| bert.1.capabilities = Some(capabilities(["CHOWN", "DAC_OVERRIDE"])),
        "process 200 has capabilities that were taken away: CHOWN, DAC_OVERRIDE",
    );
    of_bert(
        |bert| bert.1.seccomp = Some(0),
        "process 200 has no filter of system calls, although one was set",
    );
    of_bert(
        |bert| bert.1.namespaces = BTreeMap::from([("ipc".to_owned(), 9)]),
        "process 200 is in the IPC namespace of the daemon",
    );
    for (limit, of) in [
        ("processes", "processes"),
        ("open_files", "open files"),
        ("file_size", "the size of files"),
    ] {
        of_bert(
            |bert| bert.1.limits.get_mut(limit).unwrap().hard = None,
            &format!("process 200 has no limit of {of}, although one was set"),
        );
    }
    for most in [Some(1), None] {
        of_bert(
            |bert| bert.1.limits.get_mut("core_file_size").unwrap().hard = most,
            "process 200 can leave a core file, although that was forbidden",
        );
    }
    of_bert(|bert| bert.1.session = 5, "process 200 is in session 5, and its launcher in 201");
    let told = told(|_, bert| {
        bert.0.process.as_mut().unwrap().confinement = Some(Arc::default());
        bert.1.no_new_privs = Some(false);
        bert.1.capabilities = Some(capabilities(["SYS_ADMIN", "CHOWN"]));
        bert.1.uid = Some(0);
        bert.1.seccomp = Some(0);
        bert.1.namespaces = BTreeMap::from([("ipc".to_owned(), 9)]);
        bert.1.limits.values_mut().for_each(|limit| limit.hard = None);
    });
    assert_eq!(told[1], [] as [&str; 0], "a guard that is missing is no breach");
}

#[test]
fn without_a_namespace_for_ipc_the_filter_is_what_counts() {
    let of_filter = |mode| {
        told(|anna, bert| {
            for agent in [anna, bert] {
                agent.0.process.as_mut().unwrap().confinement = Some(Arc::new(Confinement {
                    enforced: vec![Guard::Ipc],
                    ..Confinement::default()
                }));
                agent.1.namespaces = BTreeMap::from([("ipc".to_owned(), 9)]);
                agent.1.seccomp = Some(mode);
            }
        })
    };
    assert_eq!(of_filter(2), [vec![] as Vec<String>, vec![]]);
    let missing = "has no filter of system calls, although one was set";
    let each = [100, 200].map(|pid| vec![format!("process {pid} {missing}")]);
    assert_eq!(of_filter(0), each);
}

#[test]
fn a_worker_that_is_root_keeps_what_it_needs_for_its_own_folders() {
    let told = told(|_, bert| {
        bert.0.process.as_mut().unwrap().confinement = Some(Arc::new(Confinement {
            enforced: vec![Guard::Privileges],
            ..Confinement::default()
        }));
        bert.1.uid = Some(0);
        bert.1.capabilities = Some(capabilities(["DAC_OVERRIDE", "SETUID"]));
    });
    assert_eq!(told[1], ["process 200 has capabilities that were taken away: SETUID"]);
}

#[test]
fn rights_in_a_user_namespace_of_its_own_are_no_breach() {
    let told = told(|_, bert| {
        bert.1.namespaces.insert("user".to_owned(), 7);
        bert.1.capabilities = Some(capabilities(["CHOWN", "SYS_ADMIN"]));
    });
    assert_eq!(told[1], [] as [&str; 0]);
}

fn capabilities(names: [&str; 2]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn an_agent_has_nothing_of_the_daemon() {
    of_bert(
        |bert| open(&mut bert.1, file("socket:[7]", FileKind::Socket, 7, true)),
        "process 200 has socket:[7], which the daemon has",
    );
    of_bert(
        |bert| bert.1.like_ours = ["GIVEN", "SHLVL", "TOKEN"].map(String::from).into(),
        "process 200 has the variable TOKEN of the daemon",
    );
}

#[test]
fn an_agent_works_in_no_directory_of_another() {
    of_bert(
        |bert| bert.1.workdir = Some("/agents/1/below".into()),
        "process 200 works in the directory of anna",
    );
    let apart = told(|_, bert| bert.1.workdir = Some("/agents/11".into()));
    assert_eq!(apart[1], [] as [&str; 0]);
}

#[test]
fn a_finding_stands_when_the_same_processes_show_it_again() {
    let find = |ticks: u64, extra: Option<u32>| {
        let (mut anna, mut bert) = (made_up(1), made_up(2));
        bert.1.group = anna.1.group;
        anna.1.started_ticks = ticks;
        bert.1.started_ticks = 1;
        let mut subjects = vec![subject_of(&anna, 1), subject_of(&bert, 2)];
        let child = extra.map(|pid| Sight { pid, ..anna.1.clone() });
        subjects[0].processes.extend(child);
        issues::find(&subjects, None, &BTreeSet::new())
    };
    let first = find(1, None);
    assert_eq!(first.len(), 2);
    let confirmed = |again: &[Finding]| issues::confirmed(first.clone(), again).len();
    assert_eq!(confirmed(&find(1, None)), 2);
    assert_eq!(confirmed(&find(1, Some(150))), 2, "one more has it, too");
    assert_eq!(confirmed(&find(2, None)), 0, "another process has the number now");
    assert_eq!(confirmed(&[]), 0);
}

#[test]
fn what_a_whole_pool_has_in_common_is_looked_at_in_time() {
    let pool: Vec<_> = (1..=300)
        .map(|number| {
            let mut agent = made_up(number);
            open(&mut agent.1, file("/srv/log", FileKind::File, 7, true));
            agent
        })
        .collect();
    let subjects: Vec<_> = pool.iter().zip(1..).map(|(agent, n)| subject_of(agent, n)).collect();
    let find = || issues::find(&subjects, None, &BTreeSet::new());
    let findings = find();
    assert_eq!(findings.len(), 300 * 299);
    let confirmed = issues::confirmed(findings, &find());
    assert_eq!(
        confirmed.len(),
        300 * 299,
        "each pair was compared with one other, or it takes hours"
    );
    assert_eq!(issues::told(&confirmed).len(), 300);
}

#[test]
fn guards_that_are_missing_are_said_once_with_each_reason() {
    let missing = |guard, why: &str| MissingGuard { guard, why: why.to_owned() };
    let without = |number: u32, missing: Vec<MissingGuard>| {
        let mut agent = made_up(number);
        let confinement = Arc::new(Confinement { missing, ..Confinement::default() });
        agent.0.process.as_mut().unwrap().confinement = Some(confinement);
        agent
    };
    let anna = without(1, vec![missing(Guard::Udp, "none"), missing(Guard::Tcp, "old kernel")]);
    let bert = without(2, vec![missing(Guard::Udp, "none"), missing(Guard::Tcp, "not said")]);
    let subjects = [subject_of(&anna, 1), subject_of(&bert, 2)];
    let expected = [
        missing(Guard::Tcp, "not said"),
        missing(Guard::Tcp, "old kernel"),
        missing(Guard::Udp, "none"),
    ];
    let report = report(&subjects, &[]);
    assert_eq!(report.not_enforced, expected);
    assert_eq!(report.breaches(), 0);
}

/// What is said of agents whose workers have these scripts, in a folder of their own.
fn told_of(name: &str, scripts: [&str; 2]) -> [Vec<String>; 2] {
    let name = format!("daedalus-isolation-{}-{name}", std::process::id());
    let place = std::env::temp_dir().join(name);
    fs::create_dir_all(&place).unwrap();
    let worker = |number: u32, script: &str| {
        // It is ready when it says so.
        let ready = place.join(format!("ready-{number}"));
        let script =
            format!("cd {}; {script}; : > {}; sleep 1000", place.display(), ready.display());
        let (tree, view) = Tree::with(number, &script);
        until(|| ready.exists());
        (tree, view)
    };
    let (one, two) = (worker(1, scripts[0]), worker(2, scripts[1]));
    // They were started like any child of this process, so they have all of its variables.
    let given = std::env::vars().map(|(name, _)| name).collect();
    let report = look(&[one.1, two.1], &given);
    let told = [0, 1].map(|number| {
        let sentences = report.agents[number].issues.iter().map(|issue| &issue.sentence);
        // What the tests were started with they share, too: pipes of whoever runs them.
        let of_place = sentences.filter(|sentence| sentence.contains(place.to_str().unwrap()));
        of_place.map(|sentence| sentence.replace(place.to_str().unwrap(), "PLACE")).collect()
    });
    fs::remove_dir_all(place).unwrap();
    told
}

#[test]
fn real_processes_that_write_to_one_file_are_found() {
    let [one, two] = told_of("file", ["exec 3<>shared", "exec 4>>shared"]);
    let other = |number: u32| agent(number).id;
    assert_eq!(one, [format!("writable file PLACE/shared is shared with {}", other(2))]);
    assert_eq!(two, [format!("writable file PLACE/shared is shared with {}", other(1))]);
}

#[test]
fn real_processes_that_share_nothing_have_no_issues() {
    let script = "exec 3<shared";
    let told = told_of("apart", [": > shared; exec 3<shared 4>own-1", script]);
    assert_eq!(told, [vec![] as Vec<String>, vec![]]);
}

#[test]
fn a_process_that_is_gone_has_no_issues() {
    let (tree, mut view) = Tree::with(1, "sleep 1000");
    drop(tree);
    let workdir = std::env::temp_dir().display().to_string();
    view.process.as_mut().unwrap().workdir = workdir;
    let report = look(&[view], &BTreeSet::new());
    assert_eq!(report.agents[0].issues, []);
    let measured = report.agents[0].measured.as_ref().unwrap();
    assert_eq!((measured.session, measured.processes.len()), (None, 0));
}
