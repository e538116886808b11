//! Whether a store is sound, and what a start would find in it.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row};
use serde::Serialize;
use uuid::Uuid;

use super::rows::{self, Unreadable};
use super::{agents, cannot, lessons, load, open, schema};
use crate::domain::{AgentId, AgentKind, Task, TaskId, TaskState, TaskStatus};
use crate::store::StoreError;

/// How many things are said to be wrong at most; one broken page brings many.
const PROBLEMS_TOLD: usize = 20;

/// What a check found.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// The file.
    pub path: PathBuf,
    /// Whether nothing is wrong.
    pub sound: bool,
    /// What is wrong, as sentences.
    pub problems: Vec<String>,
    /// The version of the file.
    pub version: usize,
    /// The newest version that this program knows.
    pub known_version: usize,
    /// What marks the store.
    pub store_id: Option<Uuid>,
    /// The size of the file, without what is in the write-ahead log alone.
    pub bytes: u64,
    /// How many tasks there are of each status.
    pub tasks: TaskCounts,
    /// How many agents there are of each kind.
    pub agents: AgentKinds,
    /// How many agents should live; `None`: nobody said so yet.
    pub target: Option<u64>,
    /// What a start would do with the tasks that are with an agent.
    pub at_start: AtStart,
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

/// What a start would do with the tasks that are with an agent. While the daemon runs it says
/// nothing: they are at work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AtStart {
    /// They go back to the queue: their agent is a process, or unknown.
    pub requeued: Vec<TaskId>,
    /// They go on: their agent is a program elsewhere.
    pub going_on: Vec<TaskId>,
}

/// Reads the store at `path`, or a backup of one, and changes nothing. It may be in use.
///
/// # Errors
/// What keeps it from being read at all.
pub fn check(path: &Path) -> Result<CheckReport, StoreError> {
    let connection = open::reader(path)?;
    // All that follows is about one moment.
    let moment = connection.unchecked_transaction().map_err(cannot("read", path))?;
    let mut report = CheckReport {
        path: path.to_owned(),
        sound: true,
        problems: Vec::new(),
        version: 0,
        known_version: schema::VERSION,
        store_id: None,
        bytes: std::fs::metadata(path).map_or(0, |file| file.len()),
        tasks: TaskCounts::default(),
        agents: AgentKinds::default(),
        target: None,
        at_start: AtStart::default(),
    };
    if let Err(error) = report.look(&moment) {
        report.problem(error);
    }
    report.sound = report.problems.is_empty();
    Ok(report)
}

impl CheckReport {
    fn problem(&mut self, problem: impl Display) {
        if self.problems.len() < PROBLEMS_TOLD {
            self.problems.push(problem.to_string());
        }
    }

    fn look(&mut self, store: &Connection) -> rusqlite::Result<()> {
        if let schema::Owner::Us(version) = schema::owner(store)? {
            self.version = version;
        } else {
            self.problem("it is empty: a start makes a store of it");
            return Ok(());
        }
        let mut integrity = store.prepare(&format!("PRAGMA integrity_check({PROBLEMS_TOLD})"))?;
        let mut found = integrity.query([])?;
        while let Some(row) = found.next()? {
            match row.get_ref(0)?.as_str()? {
                "ok" => {}
                problem => self.problem(problem),
            }
        }
        self.store_id = schema::store_id(store)?;
        if self.store_id.is_none() {
            self.problem("its id is no UUID");
        }
        self.target = load::target(store)?;
        self.count_tasks(store)?;
        let externals = self.read_agents(store)?;
        self.read_live_tasks(store, &externals)?;
        self.each(store, lessons::WINDOWS, "lesson of agent", lessons::lesson, |_, _| {})?;
        self.each(store, lessons::LOG, "lessons", lessons::logged, |_, _| {})
    }

    fn count_tasks(&mut self, store: &Connection) -> rusqlite::Result<()> {
        let mut counts = store.prepare("SELECT status, count(*) FROM tasks GROUP BY status")?;
        let mut found = counts.query([])?;
        while let Some(row) = found.next()? {
            let (code, count): (i64, u64) = (row.get(0)?, row.get(1)?);
            match rows::status(code) {
                Ok(status) => *self.tasks.of(status) = count,
                Err(error) => self.problem(format!("{count} tasks cannot be: {error}")),
            }
        }
        Ok(())
    }

    /// Reads every agent, and says which are external.
    fn read_agents(&mut self, store: &Connection) -> rusqlite::Result<Vec<AgentId>> {
        let mut externals = Vec::new();
        self.each(store, load::AGENTS, "agent", agents::record, |report, agent| {
            match agent.kind {
                AgentKind::Process => report.agents.process += 1,
                AgentKind::External { .. } => {
                    report.agents.external += 1;
                    externals.push(agent.id);
                }
            }
        })?;
        Ok(externals)
    }

    fn read_live_tasks(
        &mut self,
        store: &Connection,
        externals: &[AgentId],
    ) -> rusqlite::Result<()> {
        let whole = |row: &Row<'_>| rows::task(row, true);
        self.each(store, &load::live(), "task", whole, |report, task: Task| {
            let TaskState::InProgress { agent } = task.state else { return };
            let at_start = &mut report.at_start;
            let goes_on = externals.contains(&agent);
            let list = if goes_on { &mut at_start.going_on } else { &mut at_start.requeued };
            list.push(task.id);
        })
    }

    /// Reads every row of a query. One that means nothing is a problem and not the end.
    fn each<T>(
        &mut self,
        store: &Connection,
        query: &str,
        what: &str,
        decode: impl Fn(&Row<'_>) -> Result<T, Unreadable>,
        mut take: impl FnMut(&mut Self, T),
    ) -> rusqlite::Result<()> {
        let mut statement = store.prepare(query)?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            match decode(row) {
                Ok(value) => take(self, value),
                Err(cause) => {
                    let name = load::name(row);
                    self.problem(format!("{what} {name} cannot be read: {cause}"));
                }
            }
        }
        Ok(())
    }
}
