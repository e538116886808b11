//! What always holds of gates. A model follows what is told, one event after the other, and moves the
//! tasks by hand that the scheduler only counts.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::Disk;
use super::world::{World, name};
use crate::domain::gate_note::{GATES_NOTE, GateNote};
use crate::domain::scheduler::Inside;
use crate::domain::{
    AgentId, AgentStatus, Attempt, Effect, Event, GateMode, GateSpec, GateView, Now, Refusal,
    TaskId, TaskState, TaskStatus, TaskType, TaskTypes,
};

/// The model.
#[derive(Default)]
pub(super) struct Gating {
    gates: BTreeMap<String, Model>,
    /// Every pending task: its type, and whether it counts.
    pending: BTreeMap<TaskId, (TaskType, bool)>,
    /// For each assignment of the last turn, the types whose gate had its share of the agents.
    pub over: Vec<TaskTypes>,
    started_us: u64,
}

/// What the share of a backlog goes by.
pub(super) struct Pool {
    /// What each live agent takes.
    live: Vec<TaskTypes>,
    runs: BTreeSet<(AgentId, TaskId, Attempt)>,
    /// Tasks that wait for their children; `families` holds this against a recount.
    waiting: BTreeSet<TaskId>,
}

struct Model {
    spec: GateSpec,
    open: bool,
    told: Option<bool>,
    known: Option<bool>,
    opened_us: Option<u64>,
    /// Since when it is open or closed.
    since_us: u64,
    /// Since when the dependency is down.
    down_us: Option<u64>,
    backlog: BTreeSet<TaskId>,
    /// Runs that were begun while it caught up.
    runs: BTreeSet<(AgentId, TaskId, Attempt)>,
}

fn note(disk: &Disk) -> GateNote {
    GateNote::read(disk.notes.get(GATES_NOTE).map(String::as_str))
}

impl Model {
    fn is_catching_up(&self) -> bool {
        self.open && !self.backlog.is_empty()
    }

    fn see_whether_it_caught_up(&mut self) {
        if self.open && self.backlog.is_empty() {
            self.down_us = None;
        }
    }

    fn should_be_open(&self, mode: GateMode, held: bool) -> bool {
        match mode {
            GateMode::Open => true,
            GateMode::Closed => false,
            GateMode::Auto => !held && self.known.unwrap_or(!self.spec.is_probed),
        }
    }
}

impl Gating {
    /// A daemon starts with these gates and what the disk has.
    pub(super) fn start(specs: &[GateSpec], disk: &Disk, now: Now) -> Self {
        let mut gating = Self { started_us: now.mono_us, ..Self::default() };
        let mut since = BTreeMap::new();
        for task in disk.live() {
            if let TaskState::Pending(wait) = task.state {
                gating.pending.insert(task.id, (task.spec.kind, wait.counted));
                since.insert(task.id, wait.since_us.min(now.wall_us));
            }
        }
        let note = note(disk);
        for spec in specs {
            let was_closed = note.closed_since_us.contains_key(&*spec.name);
            let mut gate = Model {
                spec: spec.clone(),
                open: false,
                told: (!spec.is_probed && !was_closed).then_some(true),
                known: None,
                opened_us: None,
                since_us: now.wall_us,
                down_us: None,
                backlog: BTreeSet::new(),
                runs: BTreeSet::new(),
            };
            let held = note.hold(&spec.name).until_us > now.wall_us;
            gate.open = gate.should_be_open(note.mode(&spec.name), held);
            if let Some(&since_us) = note.closed_since_us.get(&*spec.name).filter(|_| !gate.open) {
                gate.since_us = since_us.min(now.wall_us);
            }
            let down_us = note.down_since_us.get(&*spec.name).map(|&us| us.min(now.wall_us));
            gate.down_us = down_us.or_else(|| (!gate.open).then_some(gate.since_us));
            if !gate.open {
                gate.told = None;
                gate.backlog = gating.of_types(spec.types).collect();
            } else if was_closed {
                gate.backlog = gating.of_types(spec.types).collect();
                gate.opened_us = Some(now.mono_us);
            } else if let Some(&until_us) = note.behind_until_us.get(&*spec.name) {
                let before = |id: &TaskId| since[id] < until_us;
                gate.backlog = gating.of_types(spec.types).filter(before).collect();
                gate.opened_us = Some(now.mono_us.min(until_us - 1));
            }
            gate.see_whether_it_caught_up();
            gating.gates.insert(spec.name.to_string(), gate);
        }
        gating
    }

    fn of_types(&self, types: TaskTypes) -> impl Iterator<Item = TaskId> {
        let pending = self.pending.iter().filter(move |(_, (kind, _))| types.contains(*kind));
        pending.map(|(id, _)| *id)
    }

    fn counted<'a>(&self, ids: impl Iterator<Item = &'a TaskId>) -> usize {
        ids.filter(|id| self.pending[id].1).count()
    }

    /// Whoever asks the dependency is about to say how it is.
    pub(super) fn will_be_known(&mut self, gate: &str, is_up: bool) {
        if let Some(gate) = self.gates.get_mut(gate) {
            gate.known = Some(is_up);
        }
    }

    /// Whether no gate is in the way of this type.
    pub(super) fn is_open(&self, kind: TaskType) -> bool {
        self.gates.values().all(|gate| gate.open || !gate.spec.types.contains(kind))
    }

    fn enter(&mut self, id: TaskId, kind: TaskType, counted: bool, now: Now) {
        self.pending.insert(id, (kind, counted));
        for gate in self.gates.values_mut().filter(|gate| gate.spec.types.contains(kind)) {
            // What becomes pending in the very moment of the opening found the gate closed.
            let just_opened = gate.opened_us == Some(now.mono_us) && gate.is_catching_up();
            if !gate.open || just_opened {
                gate.backlog.insert(id);
            }
        }
    }

    fn leave(&mut self, id: TaskId) {
        self.pending.remove(&id);
        for gate in self.gates.values_mut() {
            gate.backlog.remove(&id);
            gate.see_whether_it_caught_up();
        }
    }

    /// A task of this type completed: an opening was of use.
    fn completed(&mut self, kind: TaskType) {
        for gate in self.gates.values_mut().filter(|gate| gate.spec.types.contains(kind)) {
            gate.down_us = (!gate.open).then_some(gate.since_us);
        }
    }

    /// The types whose gates have their share. What waits for its children takes none, and a backlog
    /// that cannot run has none.
    fn over(&self, pool: &Pool) -> TaskTypes {
        let works = |(_, task, _): &&(AgentId, TaskId, Attempt)| !pool.waiting.contains(task);
        let share = pool.live.len().div_ceil(2);
        let can_run = |id: &TaskId| {
            let kind = self.pending[id].0;
            self.is_open(kind) && pool.live.iter().any(|types| types.contains(kind))
        };
        let has_it = |gate: &&Model| {
            gate.is_catching_up()
                && gate.backlog.iter().any(can_run)
                && gate.runs.iter().filter(works).count() >= share
        };
        let over = self.gates.values().filter(has_it);
        over.flat_map(|gate| gate.spec.types.iter()).collect()
    }

    fn gate_changed(&mut self, gate: &str, open: bool, waiting: usize, cause: bool, now: Now) {
        let types = self.gates[gate].spec.types;
        assert_eq!(waiting, self.of_types(types).count(), "how many tasks wait for {gate}");
        assert_eq!(cause, !open, "{gate} has a cause when it is closed, and only then");
        let pending: Vec<_> = self.of_types(types).collect();
        let gate = self.gates.get_mut(gate).expect("it is there");
        assert_ne!(gate.told, Some(open), "{} was told twice", gate.spec.name);
        gate.told = Some(open);
        if gate.open && !open {
            gate.backlog.extend(pending);
            let open_us = now.mono_us - gate.since_us;
            if gate.down_us.is_none() || gate.spec.max_wait_us.is_some_and(|us| us <= open_us) {
                gate.down_us = Some(now.mono_us);
            }
        }
        if gate.open != open {
            gate.since_us = now.mono_us;
        }
        if !gate.open && open {
            gate.opened_us = Some(now.mono_us);
        }
        gate.open = open;
        gate.see_whether_it_caught_up();
    }

    /// Follows the events of a turn that is on disk; `pool` is as it is after that.
    pub(super) fn follow(&mut self, effects: &[Effect], disk: &Disk, pool: &Pool, now: Now) {
        self.over.clear();
        for gate in self.gates.values_mut() {
            gate.runs.retain(|run| pool.runs.contains(run));
        }
        let kind = |id: &TaskId| disk.task(*id).expect("it is on disk").spec.kind;
        for effect in effects {
            let Effect::Event(event) = effect else { continue };
            match event {
                Event::GateChanged { gate, open, waiting, cause } => {
                    self.gate_changed(gate, *open, *waiting, cause.is_some(), now);
                }
                Event::TaskSubmitted { task_id, kind, .. } => {
                    let parent = disk.task(*task_id).expect("it is on disk").parent;
                    let follows = parent.is_some_and(|parent| parent.follow_up);
                    self.enter(*task_id, *kind, !follows, now);
                }
                Event::TaskRetried { task_id, .. } => {
                    self.enter(*task_id, kind(task_id), true, now);
                }
                Event::TaskRequeued { task_id, .. } => {
                    self.enter(*task_id, kind(task_id), false, now);
                }
                Event::TaskAssigned { task_id, agent, attempt, .. } => {
                    let kind = kind(task_id);
                    assert!(self.is_open(kind), "{} runs behind a closed gate", name(task_id));
                    self.over.push(self.over(pool));
                    for gate in self.gates.values_mut() {
                        if gate.is_catching_up() && gate.spec.types.contains(kind) {
                            gate.runs.insert((*agent, *task_id, *attempt));
                        }
                    }
                    self.leave(*task_id);
                }
                Event::TaskEnded { task_id, status, .. } => {
                    if *status == TaskStatus::Completed {
                        self.completed(kind(task_id));
                    }
                    self.leave(*task_id);
                }
                _ => {}
            }
        }
    }
}

pub(super) fn check(world: &World, inside: Inside<'_>) {
    let gating = &world.gating;
    let pending = |id: &TaskId| {
        let task = &inside.tasks[&inside.ids[id]];
        matches!(task.state, TaskState::Pending(wait) if wait.counted == gating.pending[id].1)
    };
    assert!(gating.pending.keys().all(pending), "the model lost track of what is pending");
    assert_eq!(gating.pending.len(), inside.queue.len(), "the model lost track of what is pending");
    let in_no_backlog = |id: &&TaskId| !gating.gates.values().any(|gate| gate.backlog.contains(id));
    let queued = gating.counted(gating.pending.keys().filter(in_no_backlog));
    assert_eq!(inside.counted, queued, "tasks that count with the queue");
    let note = note(&world.disk);
    assert_eq!(inside.gates.iter().count(), gating.gates.len());
    let views = world.scheduler.gate_views(world.now);
    for (gate, view) in inside.gates.iter().zip(views) {
        let model = &gating.gates[&*view.name];
        let (name, held) = (&view.name, view.held_until.is_some());
        assert_eq!(view.mode, note.mode(name), "the mode of {name} on disk");
        assert_eq!(gate.is_open, model.open, "whether {name} is open");
        assert_eq!(gate.is_open, model.should_be_open(view.mode, held), "why {name} is open");
        assert_eq!(view.waiting, gating.of_types(view.types).count(), "what waits for {name}");
        assert_eq!(gate.backlog.tasks, model.backlog.len(), "the backlog of {name}");
        let types = model.backlog.iter().map(|id| gating.pending[id].0);
        assert_eq!(gate.backlog.types(), types.collect(), "the types that wait for {name}");
        assert_eq!(view.counted, gating.counted(model.backlog.iter()), "the depth of {name}");
        assert_eq!(gate.runs, model.runs.len(), "the runs of the backlog of {name}");
        let closed = note.closed_since_us.contains_key(&**name);
        assert_eq!(closed, !gate.is_open, "whether {name} is closed on disk");
        let down_us = gate.down_since.map(|since| since.mono_us);
        assert_eq!(down_us, model.down_us, "since when {name} is down");
        let is_down = note.down_since_us.contains_key(&**name);
        assert_eq!(is_down, down_us.is_some(), "whether {name} is down on disk");
        let behind = note.behind_until_us.contains_key(&**name);
        assert_eq!(behind, gate.is_catching_up(), "whether {name} catches up on disk");
    }
    let here = inside.gates.note(world.now);
    let times = |note: &GateNote| -> Vec<_> {
        note.holds.iter().map(|(gate, hold)| (gate.clone(), hold.times)).collect()
    };
    assert_eq!(times(&note), times(&here), "the holds on disk");
    let closed_us = |note: &GateNote| -> Vec<_> {
        let types = note.types.iter();
        types
            .map(|(kind, clock)| (kind.clone(), clock.closed_us, clock.since_us.is_some()))
            .collect()
    };
    assert_eq!(closed_us(&note), closed_us(&here), "the clocks on disk");
    for kind in TaskType::ALL {
        assert_eq!(inside.gates.closed_for(kind).is_none(), gating.is_open(kind), "{kind}");
    }
}

/// After `handle_timeout`, no task is left that waited too long; but what stood still judges nobody,
/// and a dependency gets its time after a start.
pub(super) fn nobody_waited_too_long(world: &World) {
    let inside = world.inside();
    for gate in inside.gates.iter().filter(|gate| !gate.is_open) {
        let Some(max_wait_us) = gate.spec.max_wait_us else { continue };
        let (now_us, late_us) = (world.now.mono_us, world.stood_still_us);
        if now_us < world.gating.started_us + gate.spec.start_grace_us + late_us {
            continue;
        }
        for task in inside.tasks.values().filter(|task| gate.spec.types.contains(task.spec.kind)) {
            let TaskState::Pending(wait) = task.state else { continue };
            let down_us = world.gating.gates[&*gate.spec.name].down_us.expect("it is closed");
            let ends_us = wait.since_us.max(down_us) + max_wait_us;
            assert!(ends_us + late_us > now_us, "{} waited too long", name(task.id));
        }
    }
}

impl World {
    /// Follows what a turn told of gates and tasks.
    pub(super) fn follow_gates(&mut self, effects: &[Effect]) {
        let views = self.scheduler.agent_views();
        let run = |(agent, run): (AgentId, Option<(TaskId, Attempt)>)| {
            run.map(|(task, attempt)| (agent, task, attempt))
        };
        let inside = self.inside();
        let live = views.iter().filter(|view| view.status != AgentStatus::Degraded);
        let pool = Pool {
            live: live.map(|view| view.types).collect(),
            runs: views.iter().map(|view| (view.id, view.run)).filter_map(run).collect(),
            waiting: inside.family.waiting().iter().map(|seq| inside.tasks[seq].id).collect(),
        };
        self.gating.follow(effects, &self.disk, &pool, self.now);
    }

    pub(super) fn gate(&mut self, gate: &str, open: bool) {
        self.gate_known(gate, open, None);
    }

    pub(super) fn gate_known(&mut self, gate: &str, is_up: bool, error: Option<&str>) {
        self.gating.will_be_known(gate, is_up);
        let error = error.map(str::to_owned);
        self.call(|s, now, fx| s.gate_known(gate, is_up, error, now, fx));
    }

    pub(super) fn order(&mut self, gate: &str, mode: GateMode) -> Result<GateView, Refusal> {
        self.call(|s, now, fx| s.order_gate(gate, mode, now, fx))
    }

    pub(super) fn gate_view(&self, gate: &str) -> GateView {
        let views = self.scheduler.gate_views(self.now);
        views.into_iter().find(|view| &*view.name == gate).unwrap()
    }

    /// What the last verb told of gates, in words.
    pub(super) fn told(&self) -> Vec<String> {
        let told = self.effects.iter().filter_map(|effect| match effect {
            Effect::Event(Event::GateChanged { gate, open, waiting, cause }) => {
                let cause = cause.as_ref().map_or(String::new(), |cause| format!(": {cause}"));
                let state = if *open { "open" } else { "closed" };
                Some(format!("{gate} {state}, {waiting} wait{cause}"))
            }
            _ => None,
        });
        told.collect()
    }
}
