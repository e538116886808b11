//! Whether a store is sound, and what a start would find in it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, Row};
use serde::Serialize;
use uuid::Uuid;

use super::rows::{self, Unreadable};
use super::{agents, cannot, lessons, load, log, once, open, place, schema};
use crate::domain::{AgentId, AgentKind, Attempt, Parent, TaskId, TaskState, TaskStatus};
use crate::store::StoreError;

/// How many things are said to be wrong at most; one broken page brings many.
const PROBLEMS_TOLD: usize = 20;

/// What a check found. `None` is what could not be read, and why is among the problems.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// The file.
    pub path: PathBuf,
    /// Whether nothing is wrong.
    pub sound: bool,
    /// What is wrong, as sentences.
    pub problems: Vec<String>,
    /// Whether the file is broken, and not only out of reach for the moment.
    #[serde(skip)]
    pub damaged: bool,
    /// The version of the file.
    pub version: usize,
    /// The newest version that this program knows.
    pub known_version: usize,
    /// What marks the store.
    pub store_id: Option<Uuid>,
    /// The size of the file, without what is in the write-ahead log alone.
    pub bytes: u64,
    /// How many tasks there are of each status.
    pub tasks: Option<TaskCounts>,
    /// How many agents there are of each kind.
    pub agents: Option<AgentKinds>,
    /// How many agents should live; `None` within: nobody said so yet.
    pub target: Option<Option<u64>>,
    /// What a start would do with the tasks that are with an agent.
    pub at_start: Option<AtStart>,
}

/// Tasks by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TaskCounts {
    /// Those that wait.
    pub pending: u64,
    /// Those that are with an agent.
    pub in_progress: u64,
    /// Those that ended well.
    pub completed: u64,
    /// Those that were given up.
    pub failed: u64,
    /// Those that were called off.
    pub cancelled: u64,
}

impl TaskCounts {
    fn of(&mut self, status: TaskStatus) -> &mut u64 {
        match status {
            TaskStatus::Pending => &mut self.pending,
            TaskStatus::InProgress => &mut self.in_progress,
            TaskStatus::Completed => &mut self.completed,
            TaskStatus::Failed => &mut self.failed,
            TaskStatus::Cancelled => &mut self.cancelled,
        }
    }
}

/// Agents by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AgentKinds {
    /// Processes that the daemon starts.
    pub process: u64,
    /// Programs elsewhere.
    pub external: u64,
}

/// What a start would do with the tasks that are with an agent, and with their children. While the
/// daemon runs it says nothing: they are at work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AtStart {
    /// They go back to the queue: their agent is a process, or unknown.
    pub requeued: Vec<TaskId>,
    /// They go on: their agent is a program elsewhere.
    pub going_on: Vec<TaskId>,
    /// They are cancelled, also those that are pending: the attempt that handed them out ends, and
    /// they are not detached.
    pub cancelled: Vec<TaskId>,
}

/// Reads the store at `path`, or a backup of one, and changes nothing. It may be in use, by another
/// process.
///
/// # Errors
/// What keeps it from being read at all.
pub fn check(path: &Path) -> Result<CheckReport, StoreError> {
    log::refuse_another_files(&place::locate(path)?)?;
    let connection = open::reader(path)?;
    // All that follows is about one moment.
    let moment = connection.unchecked_transaction().map_err(cannot("read", path))?;
    let mut report = CheckReport {
        path: path.to_owned(),
        sound: true,
        problems: Vec::new(),
        damaged: false,
        version: 0,
        known_version: schema::VERSION,
        store_id: None,
        bytes: std::fs::metadata(path).map_or(0, |file| file.len()),
        tasks: None,
        agents: None,
        target: None,
        at_start: None,
    };
    report.look(&moment);
    report.sound = report.problems.is_empty();
    Ok(report)
}

impl CheckReport {
    fn problem(&mut self, problem: impl Display) {
        self.damaged = true;
        self.tell(problem);
    }

    fn tell(&mut self, problem: impl Display) {
        if self.problems.len() < PROBLEMS_TOLD {
            self.problems.push(problem.to_string());
        }
    }

    /// What was read; else a problem of its own, and the other parts are read all the same.
    fn part<T>(&mut self, what: &str, read: rusqlite::Result<T>) -> Option<T> {
        let error = match read {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        self.damaged |= !is_out_of_reach(&error);
        self.tell(format!("{what} cannot be read: {}", once(error)));
        None
    }

    fn look(&mut self, store: &Connection) {
        match self.part("its header", schema::owner(store)) {
            Some(schema::Owner::Us(version)) => self.version = version,
            // Another program's was refused before.
            Some(_) => {
                return self.problem("it is empty, which a store never is; a start refuses it");
            }
            None => return,
        }
        let verified = self.verify(store);
        self.part("the whole of it", verified);
        if let Some(id) = self.part("its id", schema::store_id(store)) {
            self.store_id = id;
            if id.is_none() {
                self.problem("its id is no UUID");
            }
        }
        self.target = self.part("how many agents should live", load::target(store));
        self.part("what parts of the pool remember", load::notes(store));
        let tasks = self.count_tasks(store);
        self.tasks = self.part("the number of tasks", tasks);
        let agents = self.read_agents(store);
        let agents = self.part("the list of agents", agents);
        let externals = agents.map(|(kinds, externals)| {
            self.agents = Some(kinds);
            externals
        });
        let at_start = self.read_live_tasks(store, externals.as_deref().unwrap_or_default());
        let at_start = self.part("the list of tasks that have not ended", at_start);
        // Without the agents it is not known whose tasks would go on.
        self.at_start = externals.and(at_start);
        let windows = self.each(store, lessons::WINDOWS, "lesson of agent", lessons::lesson);
        self.part("what was learned", windows);
        let log = self.each(store, lessons::LOG, "lessons", lessons::logged);
        self.part("what was learned last", log);
    }

    fn verify(&mut self, store: &Connection) -> rusqlite::Result<()> {
        let mut integrity = store.prepare(&format!("PRAGMA integrity_check({PROBLEMS_TOLD})"))?;
        let mut found = integrity.query([])?;
        while let Some(row) = found.next()? {
            match row.get_ref(0)?.as_str()? {
                "ok" => {}
                problem => self.problem(problem),
            }
        }
        Ok(())
    }

    fn count_tasks(&mut self, store: &Connection) -> rusqlite::Result<TaskCounts> {
        let mut tasks = TaskCounts::default();
        let mut counts = store.prepare("SELECT status, count(*) FROM tasks GROUP BY status")?;
        let mut found = counts.query([])?;
        while let Some(row) = found.next()? {
            let (code, count): (i64, u64) = (row.get(0)?, row.get(1)?);
            match rows::status(code) {
                Ok(status) => *tasks.of(status) = count,
                Err(error) => self.problem(format!("{count} tasks cannot be: {error}")),
            }
        }
        Ok(tasks)
    }

    /// Reads every agent, counts them, and says which are external.
    fn read_agents(&mut self, store: &Connection) -> rusqlite::Result<(AgentKinds, Vec<AgentId>)> {
        let (mut kinds, mut externals) = (AgentKinds::default(), Vec::new());
        for agent in self.each(store, load::AGENTS, "agent", agents::record)? {
            match agent.kind {
                AgentKind::Process => kinds.process += 1,
                AgentKind::External { .. } => {
                    kinds.external += 1;
                    externals.push(agent.id);
                }
            }
        }
        Ok((kinds, externals))
    }

    fn read_live_tasks(
        &mut self,
        store: &Connection,
        externals: &[AgentId],
    ) -> rusqlite::Result<AtStart> {
        // Only what is needed of each: there may be many, with large payloads.
        let held = |row: &Row<'_>| {
            let task = rows::task(row, true)?;
            let runs = match task.state {
                TaskState::InProgress { agent } => Some((task.attempt, externals.contains(&agent))),
                TaskState::Pending(_) | TaskState::Ended { .. } => None,
            };
            Ok((task.id, Live { runs, parent: task.parent }))
        };
        let live = self.each(store, &load::live(), "task", held)?;
        let known: BTreeMap<_, _> = live.iter().copied().collect();
        let mut at_start = AtStart::default();
        for (id, task) in live {
            match task.runs {
                _ if task.falls(&known) => at_start.cancelled.push(id),
                Some((_, true)) => at_start.going_on.push(id),
                Some((_, false)) => at_start.requeued.push(id),
                None => {}
            }
        }
        Ok(at_start)
    }

    /// Reads every row of a query. One that means nothing is a problem and not the end.
    fn each<T>(
        &mut self,
        store: &Connection,
        query: &str,
        what: &str,
        decode: impl Fn(&Row<'_>) -> Result<T, Unreadable>,
    ) -> rusqlite::Result<Vec<T>> {
        let mut values = Vec::new();
        let mut statement = store.prepare(query)?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            match decode(row) {
                Ok(value) => values.push(value),
                Err(cause) => {
                    let name = load::name(row);
                    self.problem(format!("{what} {name} cannot be read: {cause}"));
                }
            }
        }
        Ok(values)
    }
}

/// What of a live task says what a start does with it.
#[derive(Clone, Copy)]
struct Live {
    /// The attempt that runs, and whether that goes on.
    runs: Option<(Attempt, bool)>,
    parent: Option<Parent>,
}

impl Live {
    /// Whether the attempt that handed it out is open and ends at the start.
    fn falls(&self, known: &BTreeMap<TaskId, Self>) -> bool {
        let Some(parent) = self.parent.filter(|parent| !parent.detach) else { return false };
        let Some(of) = known.get(&parent.task_id) else { return false };
        let ends = of.runs.filter(|(attempt, _)| *attempt == parent.attempt);
        ends.is_some_and(|(_, goes_on)| !goes_on || of.falls(known))
    }
}

/// Whether the error is not about what the file has in it.
fn is_out_of_reach(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
        )
    )
}
