//! What is not as it must be: the rules, on what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Subject;
use crate::domain::{AgentId, Confinement, Guard};
use crate::worker::inspect::{FileKind, Inode, OpenFile, Sight};

/// Variables that a shell makes by itself, so that they may be like the daemon's by chance.
const MADE_BY_SHELLS: [&str; 4] = ["PWD", "OLDPWD", "SHLVL", "_"];

/// What the kernel calls the namespace of System V memory.
const IPC: &str = "ipc";

/// What it calls those of user ids, in which a process may have rights that count there only.
const USER: &str = "user";

/// The kernel's number for "there is a filter of system calls".
const FILTER: u8 = 2;

/// What a worker may keep that works as root: it could not reach its own folders without.
const KEPT_BY_ROOT: &str = "DAC_OVERRIDE";

/// Something that is not as it must be with one agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issue {
    /// What, the same as long as it lasts.
    pub(super) what: String,
    /// A sentence without its end.
    pub sentence: String,
}

/// What names a process for ever: its pid and its start.
type Process = (u32, u64);

/// One thing that one look found.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    agent: AgentId,
    what: Rc<str>,
    /// With whom it is shared; `None`: it is wrong by itself.
    with: Option<AgentId>,
    /// The processes on which it was seen, of both agents. Empty for what is known without a look.
    own: Rc<BTreeSet<Process>>,
    theirs: Rc<BTreeSet<Process>>,
}

impl Finding {
    const fn key(&self) -> (AgentId, Option<AgentId>, &Rc<str>) {
        (self.agent, self.with, &self.what)
    }

    /// Whether another look, which found the same, found it on the same processes.
    fn is_of_same_processes(&self, other: &Self) -> bool {
        let same = |one: &BTreeSet<Process>, two| one.is_empty() || !one.is_disjoint(two);
        same(&self.own, &other.own) && same(&self.theirs, &other.theirs)
    }
}

/// Those that another look found again, on the same processes. In a large pool there may be many:
/// one thing that all have makes one for each two of them.
pub(super) fn confirmed(findings: Vec<Finding>, again: &[Finding]) -> Vec<Finding> {
    let mut by_key: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
    for other in again {
        by_key.entry(other.key()).or_default().push(other);
    }
    let is_confirmed = |finding: &Finding| {
        let others = by_key.get(&finding.key());
        others.is_some_and(|others| others.iter().any(|other| finding.is_of_same_processes(other)))
    };
    findings.into_iter().filter(is_confirmed).collect()
}

/// The issues of each agent: what is shared with several is one.
pub(super) fn told(findings: &[Finding]) -> BTreeMap<AgentId, Vec<Issue>> {
    let mut grouped: BTreeMap<(AgentId, &str), Vec<AgentId>> = BTreeMap::new();
    for finding in findings {
        grouped.entry((finding.agent, &*finding.what)).or_default().extend(finding.with);
    }
    let mut issues: BTreeMap<AgentId, Vec<Issue>> = BTreeMap::new();
    for ((agent, what), with) in grouped {
        let with: Vec<_> = with.iter().map(AgentId::to_string).collect();
        let sentence = if with.is_empty() {
            what.to_owned()
        } else {
            format!("{what} is shared with {}", with.join(", "))
        };
        issues.entry(agent).or_default().push(Issue { what: what.to_owned(), sentence });
    }
    issues
}

/// Everything that is not as it must be. `daemon` is this process.
pub(super) fn find(
    subjects: &[Subject<'_>],
    daemon: Option<&Sight>,
    given: &BTreeSet<String>,
) -> Vec<Finding> {
    let mut findings = shared(subjects);
    let ours = daemon.map(Ours::of).unwrap_or_default();
    for subject in subjects {
        for (process, what) in alone(subject, subjects, &ours, given) {
            let (agent, own) = (subject.view.id, Rc::new(BTreeSet::from([process])));
            findings.push(Finding {
                agent,
                what: what.into(),
                with: None,
                own,
                theirs: Rc::default(),
            });
        }
    }
    findings
}

/// Something that only one agent may have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    /// An id, or a path that was given.
    Named(&'static str, String),
    Process(u32),
    Session(u32),
    Group(u32),
    User(u32),
    IpcNamespace(u64),
    /// A file, a pipe, a socket, a piece of memory.
    Inode(Inode),
}

/// How one agent has a thing.
#[derive(Debug, Default)]
struct Hold {
    processes: BTreeSet<Process>,
    /// Only for what has an inode.
    name: String,
    writable: bool,
    is_memory: bool,
}

type Held = BTreeMap<Thing, BTreeMap<AgentId, Hold>>;

/// What agents have in common and must not.
fn shared(subjects: &[Subject<'_>]) -> Vec<Finding> {
    let mut held = Held::new();
    for subject in subjects {
        hold(&mut held, subject);
    }
    let mut findings = Vec::new();
    for (thing, holders) in held.into_iter().filter(|(_, holders)| holders.len() > 1) {
        // Whoever only reads shares nothing with others who only read.
        let is_inode = matches!(thing, Thing::Inode(_));
        if is_inode && !holders.values().any(|hold| hold.writable) {
            continue;
        }
        let what: Rc<str> = what(&thing, holders.values()).into();
        let holders: Vec<_> =
            holders.into_iter().map(|(agent, hold)| (agent, Rc::new(hold.processes))).collect();
        for (agent, own) in &holders {
            for (other, theirs) in holders.iter().filter(|(other, _)| other != agent) {
                findings.push(Finding {
                    agent: *agent,
                    what: Rc::clone(&what),
                    with: Some(*other),
                    own: Rc::clone(own),
                    theirs: Rc::clone(theirs),
                });
            }
        }
    }
    findings
}

fn what<'a>(thing: &Thing, mut holders: impl Iterator<Item = &'a Hold>) -> String {
    match thing {
        Thing::Named(what, value) => format!("{what} {value}"),
        Thing::Process(pid) => format!("process {pid}"),
        Thing::Session(session) => format!("session {session}"),
        Thing::Group(group) => format!("process group {group}"),
        Thing::User(uid) => format!("user id {uid}"),
        Thing::IpcNamespace(number) => format!("IPC namespace {number}"),
        Thing::Inode(_) => {
            let Some(first) = holders.next() else { return String::new() };
            let is_memory = first.is_memory || holders.any(|hold| hold.is_memory);
            named(&first.name, is_memory)
        }
    }
}

/// `socket:[7]` and `pipe:[7]` say what they are.
fn named(name: &str, is_memory: bool) -> String {
    if is_memory {
        format!("writable memory {name}")
    } else if name.starts_with('/') {
        format!("writable file {name}")
    } else {
        name.to_owned()
    }
}

fn hold(held: &mut Held, subject: &Subject<'_>) {
    let view = subject.view;
    let mut has = |thing, process: Option<Process>| {
        let hold = held.entry(thing).or_default().entry(view.id).or_default();
        hold.processes.extend(process);
    };
    let ids = view.ids;
    for (what, id) in [
        ("context_window_id", ids.context_window_id),
        ("tool_session_id", ids.tool_session_id),
        ("memory_handle_id", ids.memory_handle_id),
    ] {
        has(Thing::Named(what, id.to_string()), None);
    }
    if let Some(workdir) = &subject.workdir {
        has(Thing::Named("working directory", workdir.display().to_string()), None);
    }
    let confinement = view.process.as_ref().and_then(|process| process.confinement.as_ref());
    let enforces = |guard| confinement.is_some_and(|confinement| confinement.enforces(guard));
    for sight in &subject.processes {
        let process = Some(sight.identity());
        has(Thing::Process(sight.pid), process);
        has(Thing::Group(sight.group), process);
        // A launcher that says what it enforced has a session of its own.
        if confinement.is_some() {
            has(Thing::Session(sight.session), process);
        }
        if let Some(uid) = sight.uid.filter(|_| enforces(Guard::Uid)) {
            has(Thing::User(uid), process);
        }
        let has_own_ipc = confinement.is_some_and(|confinement| confinement.ipc_namespace);
        if let Some(&number) = sight.namespaces.get(IPC).filter(|_| has_own_ipc) {
            has(Thing::IpcNamespace(number), process);
        }
    }
    for sight in &subject.processes {
        for (inode, name, writable, is_memory) in inodes(sight) {
            let hold = held.entry(Thing::Inode(inode)).or_default().entry(view.id).or_default();
            hold.processes.insert(sight.identity());
            if hold.name.is_empty() {
                name.clone_into(&mut hold.name);
            }
            hold.writable |= writable;
            hold.is_memory |= is_memory;
        }
    }
}

/// What a process has that others could have, too: its inode, its name, whether it may be written,
/// and whether it is memory.
fn inodes(sight: &Sight) -> impl Iterator<Item = (Inode, &str, bool, bool)> {
    let is_other = |file: &&OpenFile| match file.kind {
        FileKind::Socket | FileKind::File => true,
        FileKind::Anonymous | FileKind::Null => false,
    };
    let files = sight.files.iter().flatten().filter(is_other);
    let maps = sight.shared_maps.iter().flatten();
    files
        .map(|file| (file.inode, file.target.as_str(), file.writable, false))
        .chain(maps.map(|map| (map.inode, map.path.as_str(), true, true)))
}

/// What the daemon has and no agent may.
#[derive(Debug, Default)]
struct Ours {
    inodes: BTreeSet<Inode>,
    ipc: Option<u64>,
    user: Option<u64>,
}

impl Ours {
    /// Of the pipes to an agent both have an end, so pipes do not count.
    fn of(daemon: &Sight) -> Self {
        let own =
            inodes(daemon).filter(|(_, name, writable, _)| *writable && !name.starts_with("pipe:"));
        let inodes = own.map(|(inode, ..)| inode).collect();
        let namespace = |name| daemon.namespaces.get(name).copied();
        Self { inodes, ipc: namespace(IPC), user: namespace(USER) }
    }
}

/// What is wrong with an agent by itself, each with the process on which it was seen.
fn alone(
    subject: &Subject<'_>,
    subjects: &[Subject<'_>],
    ours: &Ours,
    given: &BTreeSet<String>,
) -> Vec<(Process, String)> {
    let mut found = Vec::new();
    let Some(facts) = &subject.view.process else { return found };
    for sight in &subject.processes {
        let (pid, process) = (sight.pid, sight.identity());
        for other in subjects.iter().filter(|other| other.view.id != subject.view.id) {
            if let (Some(at), Some(theirs)) = (&sight.workdir, &other.workdir)
                && at.starts_with(theirs)
            {
                let whose = other.view.id;
                found.push((process, format!("process {pid} works in the directory of {whose}")));
            }
        }
        for (inode, name, _, is_memory) in inodes(sight) {
            if ours.inodes.contains(&inode) {
                let what = named(name, is_memory);
                found.push((process, format!("process {pid} has {what}, which the daemon has")));
            }
        }
        if let Some(confinement) = &facts.confinement {
            let found_here = less_than_enforced(sight, confinement, ours);
            found.extend(
                found_here.into_iter().map(|what| (process, format!("process {pid} {what}"))),
            );
        }
    }
    if let Some(worker) = subject.processes.iter().find(|sight| sight.pid == facts.pid) {
        found.extend(of_worker(worker, subject.launcher_session, given));
    }
    found
}

/// What of that which the launcher enforced does not hold for this process.
fn less_than_enforced(sight: &Sight, confinement: &Confinement, ours: &Ours) -> Vec<String> {
    let mut found = Vec::new();
    if confinement.enforces(Guard::Privileges) && sight.no_new_privs == Some(false) {
        found.push("can gain rights, although no_new_privs was set".to_owned());
    }
    // In a namespace of its own that it made they give it nothing outside.
    let is_own_user = sight.namespaces.get(USER).is_some_and(|own| Some(*own) != ours.user);
    if confinement.enforces(Guard::Privileges) && !is_own_user {
        let may_keep = |name: &str| confinement.uid.is_none() && name == KEPT_BY_ROOT;
        let kept = sight.capabilities.iter().flatten().filter(|name| !may_keep(name));
        let kept: Vec<_> = kept.map(String::as_str).collect();
        if !kept.is_empty() {
            found.push(format!("has capabilities that were taken away: {}", kept.join(", ")));
        }
    }
    if confinement.enforces(Guard::Uid)
        && let (Some(expected), Some(uid)) = (confinement.uid, sight.uid)
        && uid != expected
    {
        found.push(format!("acts as user {uid}, not as {expected}"));
    }
    // The rules for TCP and for signals are led around without it, and a common IPC namespace is closed
    // by nothing else.
    let is_led_around =
        [Guard::Tcp, Guard::Signals].iter().any(|guard| confinement.enforces(*guard));
    let needs_filter =
        is_led_around || (confinement.enforces(Guard::Ipc) && !confinement.ipc_namespace);
    if needs_filter && sight.seccomp.is_some_and(|mode| mode != FILTER) {
        found.push("has no filter of system calls, although one was set".to_owned());
    }
    if confinement.ipc_namespace
        && sight.namespaces.get(IPC).is_some_and(|own| Some(*own) == ours.ipc)
    {
        found.push("is in the IPC namespace of the daemon".to_owned());
    }
    let is_without = |name: &str| sight.limits.get(name).is_some_and(|limit| limit.hard.is_none());
    if confinement.enforces(Guard::ProcessCount) && is_without("processes") {
        found.push("has no limit of processes, although one was set".to_owned());
    }
    // A launcher that enforces nothing was not told to set limits either.
    if !confinement.enforced.is_empty() {
        for (limit, of) in [("open_files", "open files"), ("file_size", "the size of files")] {
            if is_without(limit) {
                found.push(format!("has no limit of {of}, although one was set"));
            }
        }
        if sight.limits.get("core_file_size").is_some_and(|limit| limit.hard != Some(0)) {
            found.push("can leave a core file, although that was forbidden".to_owned());
        }
    }
    found
}

/// What only the worker itself must be: its children make sessions and variables as they like.
fn of_worker(
    worker: &Sight,
    launcher_session: Option<u32>,
    given: &BTreeSet<String>,
) -> Vec<(Process, String)> {
    let (pid, process) = (worker.pid, worker.identity());
    let inherited = worker
        .like_ours
        .iter()
        .filter(|name| !given.contains(*name) && !MADE_BY_SHELLS.contains(&name.as_str()));
    let mut found: Vec<_> = inherited
        .map(|name| format!("process {pid} has the variable {name} of the daemon"))
        .map(|sentence| (process, sentence))
        .collect();
    if let Some(session) = launcher_session.filter(|session| *session != worker.session) {
        let own = worker.session;
        let sentence = format!("process {pid} is in session {own}, and its launcher in {session}");
        found.push((process, sentence));
    }
    found
}
