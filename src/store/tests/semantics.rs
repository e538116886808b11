//! What a commit means, to a start and to readers.

use super::sample::{
    agent, agent_id, changed, ended, key, lesson, new, payload, pending, running, task_id,
};
use super::{Place, on_both};
use crate::domain::limits::ENDED_TASKS_KEPT;
use crate::domain::{
    AgentKind, AgentRecord, Attempt, Change, Incarnation, Launcher, Leaving, Seq, StatusReason,
    Task, TaskStatus, TaskType, TaskTypes,
};
use crate::store::{MemoryStore, Store};

fn live(store: &mut dyn Store) -> Vec<Task> {
    store.load().unwrap().tasks
}

#[test]
fn a_start_finds_what_is_live_and_nothing_of_the_history() {
    on_both(|store, _| {
        let empty = store.load().unwrap();
        assert_eq!((empty.tasks.len(), empty.last_seq, empty.target), (0, None, None));
        let tasks = [running(3), pending(1), ended(2, TaskStatus::Completed), pending(5)];
        store.commit(tasks.map(new).into()).unwrap();
        store.commit(vec![new(ended(9, TaskStatus::Failed)), Change::Target(7)]).unwrap();
        let snapshot = store.load().unwrap();
        assert_eq!(snapshot.tasks, [pending(1), running(3), pending(5)]);
        assert_eq!(snapshot.last_seq, Some(Seq::new(9)), "ended ones have numbers, too");
        assert_eq!(snapshot.target, Some(7));
        store.commit(vec![Change::Target(0)]).unwrap();
        assert_eq!(store.load().unwrap().target, Some(0));
    });
}

#[test]
fn a_note_is_found_by_its_name_and_the_newest_counts() {
    on_both(|store, _| {
        let note = |name: &str, text: &str| Change::Note { name: name.into(), text: text.into() };
        assert_eq!(store.load().unwrap().notes.len(), 0);
        store.commit(vec![note("gates", "1"), note("schedule:a", "2")]).unwrap();
        store.commit(vec![note("gates", "3"), Change::Target(1)]).unwrap();
        let notes = store.load().unwrap().notes;
        let found: Vec<_> = notes.iter().map(|(name, text)| (&**name, &**text)).collect();
        assert_eq!(found, [("gates", "3"), ("schedule:a", "2")]);
    });
}

#[test]
fn a_task_that_ends_leaves_the_start_and_stays_in_the_history() {
    on_both(|store, history| {
        store.commit(vec![new(running(1))]).unwrap();
        let done = ended(1, TaskStatus::Completed);
        store.commit(vec![changed(done.clone())]).unwrap();
        assert_eq!(live(store), []);
        assert_eq!(history.task(task_id(1)).unwrap(), Some(done));
        assert_eq!(history.task(task_id(2)).unwrap(), None);
    });
}

#[test]
fn of_several_images_the_last_one_counts() {
    on_both(|store, history| {
        let batch = vec![
            new(pending(1)),
            new(pending(2)),
            changed(running(1)),
            changed(ended(1, TaskStatus::Completed)),
        ];
        store.commit(batch).unwrap();
        assert_eq!(live(store), [pending(2)]);
        assert_eq!(history.task(task_id(1)).unwrap(), Some(ended(1, TaskStatus::Completed)));
        store.commit(vec![changed(ended(2, TaskStatus::Failed)), new(pending(2))]).unwrap();
        store.commit(vec![new(pending(2)), changed(running(2))]).unwrap();
        assert_eq!(live(store), [running(2)]);
    });
}

#[test]
fn a_task_that_is_tried_again_is_stored_whole() {
    for large in [10, 10_000] {
        on_both(|store, history| {
            let mut first = ended(1, TaskStatus::Failed);
            first.spec.key = Some(key("mine"));
            first.spec.payload = payload(large);
            store.commit(vec![new(first.clone())]).unwrap();
            let mut again = first.clone();
            again.state = pending(1).state;
            again.error = None;
            store.commit(vec![changed(again.clone())]).unwrap();
            assert_eq!(live(store), [again.clone()]);
            assert_eq!(history.task_of_key("mine").unwrap(), Some(again));
            let all = TaskTypes::ALL;
            let (failed, count) = history.unsuccessful(TaskStatus::Failed, all, all, 9).unwrap();
            assert_eq!((failed.len(), count), (0, 0), "it is among the failed ones no more");
            store.commit(vec![changed(first.clone())]).unwrap();
            assert_eq!(history.task(task_id(1)).unwrap(), Some(first));
        });
    }
}

#[test]
fn a_change_of_a_task_that_was_forgotten_brings_it_back() {
    on_both(|store, history| {
        let mut task = ended(1, TaskStatus::Cancelled);
        task.spec.key = Some(key("mine"));
        store.commit(vec![changed(task.clone())]).unwrap();
        assert_eq!(history.task_of_key("mine").unwrap(), Some(task));
    });
}

#[test]
fn a_key_leads_to_its_task() {
    on_both(|store, history| {
        for seq in 1..=3 {
            let mut task = pending(seq);
            task.spec.key = (seq != 2).then(|| key(&format!("key {seq} 'ü'")));
            store.commit(vec![new(task)]).unwrap();
        }
        let found = |name: &str, history: &mut dyn super::History| {
            history.task_of_key(name).unwrap().map(|task| task.seq.get())
        };
        assert_eq!(found("key 1 'ü'", history), Some(1));
        assert_eq!(found("key 3 'ü'", history), Some(3));
        assert_eq!(found("key 2 'ü'", history), None);
        assert_eq!(found("", history), None);
    });
}

#[test]
fn every_field_of_an_agent_comes_back() {
    on_both(|store, _| {
        let plain = agent(1);
        let full = AgentRecord {
            kind: AgentKind::External { lease_us: Some(5) },
            types: [TaskType::Ingest, TaskType::General].into_iter().collect(),
            incarnation: Incarnation::new(77),
            degraded: Some((StatusReason::LeaseLost, "no \"heartbeat\"\n".to_owned())),
            leaving: Some(Leaving { until_us: Some(7), drain_us: 9, discard: true }),
            launcher: Some(Launcher { pid: 4_000_000_000, start_ticks: 1 << 60 }),
            cancelled_run: Some((task_id(4), Attempt::new(9))),
            ..agent(2)
        };
        let by_hand = AgentRecord { kind: AgentKind::External { lease_us: None }, ..agent(3) };
        for record in [&by_hand, &full, &plain] {
            store.commit(vec![Change::Agent(Box::new(record.clone()))]).unwrap();
        }
        assert_eq!(store.load().unwrap().agents, [plain.clone(), full, by_hand.clone()]);
        let less = AgentRecord { types: TaskTypes::ALL, ..agent(2) };
        store.commit(vec![Change::Agent(Box::new(less.clone()))]).unwrap();
        assert_eq!(store.load().unwrap().agents, [plain, less, by_hand]);
    });
}

#[test]
fn a_start_finds_what_an_agent_may_still_be_at_although_it_was_cancelled() {
    on_both(|store, _| {
        let task = ended(4, TaskStatus::Cancelled);
        store.commit(vec![new(ended(3, TaskStatus::Cancelled)), new(task.clone())]).unwrap();
        for n in [4, 5] {
            let cancelled_run = Some((task_id(n), Attempt::new(1)));
            let record = AgentRecord { cancelled_run, ..agent(n.into()) };
            store.commit(vec![Change::Agent(Box::new(record))]).unwrap();
        }
        let snapshot = store.load().unwrap();
        assert_eq!((snapshot.cancelled, snapshot.tasks), (vec![task], vec![]), "5 is forgotten");
    });
}

#[test]
fn lessons_fill_a_window_and_go_with_their_agent() {
    on_both(|store, _| {
        store.commit((0..5).map(|n| Change::Learned(lesson(n, n * 100))).collect()).unwrap();
        let mut other = lesson(8, 1);
        other.agent = agent_id(0);
        store.commit(vec![Change::Learned(other), Change::Agent(Box::new(agent(1)))]).unwrap();
        let window = [lesson(2, 200), lesson(3, 300), lesson(4, 400)];
        assert_eq!(store.load().unwrap().lessons[1..], window, "the newest, the oldest first");
        store.commit(vec![Change::AgentGone(agent_id(1))]).unwrap();
        let snapshot = store.load().unwrap();
        assert_eq!((snapshot.lessons, snapshot.agents), (vec![other], vec![]));
        // The order within one commit counts.
        let batch = vec![Change::AgentGone(agent_id(0)), Change::Learned(other)];
        store.commit(batch).unwrap();
        assert_eq!(store.load().unwrap().lessons, [other]);
    });
}

#[test]
fn lessons_stay_in_their_window_however_many_there_are() {
    on_both(|store, _| {
        for n in 0..1_000 {
            let batch = (n * 10..n * 10 + 10).map(|n| Change::Learned(lesson(n, n)));
            store.commit(batch.collect()).unwrap();
        }
        let window = [9_997, 9_998, 9_999].map(|n| lesson(n, n));
        assert_eq!(store.load().unwrap().lessons, window);
        store.commit(vec![Change::Learned(lesson(10_000, 1))]).unwrap();
        let window = [lesson(9_998, 9_998), lesson(9_999, 9_999), lesson(10_000, 1)];
        assert_eq!(store.load().unwrap().lessons, window);
    });
}

#[test]
fn in_memory_the_tasks_that_ended_first_go_first() {
    let mut store = MemoryStore::new();
    let kept = ENDED_TASKS_KEPT as u64;
    for seq in 1..=kept {
        let mut task = ended(seq, TaskStatus::Failed);
        task.spec.key = Some(key(&seq.to_string()));
        store.commit(vec![new(task)]).unwrap();
    }
    store.commit(vec![new(running(1))]).unwrap();
    store.commit(vec![new(ended(kept + 1, TaskStatus::Completed))]).unwrap();
    let mut history = store.history().unwrap();
    let mut is_there = |seq| history.task(task_id(seq)).unwrap().is_some();
    assert!(is_there(1) && is_there(2), "there is room");
    store.commit(vec![new(ended(kept + 2, TaskStatus::Completed))]).unwrap();
    assert!(is_there(1) && !is_there(2), "one is live again, the next one was too old");
    store.commit(vec![changed(ended(1, TaskStatus::Failed))]).unwrap();
    assert!(is_there(1) && !is_there(3), "it ended last");
    assert!(history.task_of_key("3").unwrap().is_none());
    assert_eq!(store.load().unwrap().last_seq, Some(Seq::new(kept + 2)));
}

#[test]
fn a_number_that_another_task_has_is_an_error_and_replaces_nothing() {
    let place = Place::new();
    let mut store = place.open();
    store.commit(vec![new(pending(1))]).unwrap();
    let mut other = pending(1);
    other.id = task_id(77);
    store.commit(vec![new(other)]).unwrap_err();
    let mut history = store.history().unwrap();
    assert!(history.task(task_id(1)).unwrap().is_some());
    assert!(history.task(task_id(77)).unwrap().is_none());
}

#[test]
fn the_log_of_lessons_does_not_grow_from_start_to_start() {
    let place = Place::new();
    let rows = || {
        let connection = rusqlite::Connection::open(place.file()).unwrap();
        let count = "SELECT count(*) FROM lesson_log";
        connection.query_row(count, [], |row| row.get::<_, u64>(0)).unwrap()
    };
    for start in 0..3 {
        let mut store = place.open();
        store.load().unwrap();
        assert_eq!(rows(), 0, "start {start}");
        store.commit(vec![Change::Learned(lesson(start, 5))]).unwrap();
        assert_eq!(rows(), 1);
    }
    assert_eq!(place.open().load().unwrap().lessons.len(), 3);
}
