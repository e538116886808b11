//! Old tasks go.

use super::sample::{changed, ended, key, new, payload, pending, running, task_id};
use super::{Place, bytes, on_both};
use crate::domain::{ListQuery, Seq, TaskStatus};
use crate::store::{Expired, History, Store};

/// Expires step by step until there is no more, and says how many went.
fn expire(store: &mut dyn Store, before_s: u64) -> u64 {
    let mut tasks = 0;
    for _ in 0..1_000 {
        let step = store.expire(before_s * 1_000_000, u64::MAX).unwrap();
        assert!(step.tasks <= 256, "a step is small");
        tasks += step.tasks;
        if !step.more {
            return tasks;
        }
    }
    panic!("it goes on for ever");
}

fn left(history: &mut dyn History) -> Vec<u64> {
    let query = ListQuery { status: None, kind: None, limit: 1_000, before: None };
    history.page(&query).unwrap().tasks.iter().map(|task| task.seq.get()).collect()
}

#[test]
fn tasks_that_ended_before_go_and_others_stay() {
    on_both(|store, history| {
        let done = |seq| new(ended(seq, TaskStatus::Completed));
        let mut with_key = ended(2, TaskStatus::Failed);
        with_key.spec.key = Some(key("mine"));
        store.commit(vec![done(1), new(with_key), new(pending(3)), new(running(4))]).unwrap();
        store.commit(vec![done(5), done(6), done(7), new(pending(8))]).unwrap();
        assert_eq!(expire(store, 1), 0);
        assert_eq!(expire(store, 7), 3, "6 ended at that very moment");
        assert_eq!(left(history), [8, 7, 6, 4, 3]);
        assert!(history.task_of_key("mine").unwrap().is_none());
        assert!(history.task(task_id(1)).unwrap().is_none());
        assert_eq!(store.expire(7_000_000, u64::MAX).unwrap(), Expired::default());
        let mut late = ended(3, TaskStatus::Completed);
        late.state = ended(8, TaskStatus::Completed).state;
        store.commit(vec![changed(late)]).unwrap();
        assert_eq!(expire(store, 10), 3, "each walk begins at the oldest");
        assert_eq!(left(history), [8, 4]);
    });
}

#[test]
fn many_tasks_go_in_many_steps() {
    on_both(|store, history| {
        store
            .commit((1..=2_000).map(|seq| new(ended(seq, TaskStatus::Completed))).collect())
            .unwrap();
        store.commit(vec![new(pending(2_001))]).unwrap();
        assert!(store.expire(1_000 * 1_000_000, u64::MAX).unwrap().more);
        assert_eq!(expire(store, 1_000), 998 - 256);
        assert_eq!(expire(store, 10_000), 1_002);
        assert_eq!(left(history), [2_001]);
    });
}

#[test]
fn the_newest_number_is_never_forgotten() {
    on_both(|store, _| {
        store.commit((1..=10).map(|seq| new(ended(seq, TaskStatus::Completed))).collect()).unwrap();
        expire(store, 1_000);
        assert_eq!(store.load().unwrap().last_seq, Some(Seq::new(10)));
    });
}

#[test]
fn an_expired_task_that_is_tried_again_is_there_again() {
    on_both(|store, history| {
        let mut task = ended(1, TaskStatus::Failed);
        task.spec.payload = payload(9_000);
        store.commit(vec![new(task.clone()), new(pending(2))]).unwrap();
        assert_eq!(expire(store, 100), 1);
        task.state = pending(1).state;
        store.commit(vec![changed(task.clone())]).unwrap();
        assert_eq!(history.task(task_id(1)).unwrap(), Some(task));
    });
}

#[test]
fn the_file_gets_smaller_again() {
    let place = Place::new();
    let mut store = place.open();
    let large = payload(3_000);
    let larger = payload(6_000);
    for batch in 0..20_u64 {
        let task = |seq| {
            let mut task = ended(seq, TaskStatus::Completed);
            task.spec.payload = if seq % 2 == 0 { large.clone() } else { larger.clone() };
            new(task)
        };
        store.commit((1..=250).map(|n| task(batch * 250 + n)).collect()).unwrap();
    }
    store.checkpoint().unwrap();
    let full = bytes(&place.file());
    assert!(full > 20_000_000, "{full}");
    assert_eq!(expire(&mut store, 1_000_000), 4_999);
    store.checkpoint().unwrap();
    let left = bytes(&place.file());
    assert!(left < 5_000_000, "{left} of {full}");
}

/// In memory there is an end to the number of ended tasks, whatever their times say.
#[test]
fn a_task_of_a_time_when_the_clock_was_ahead_holds_up_no_other() {
    let place = Place::new();
    let mut store = place.open();
    let mut ahead = ended(2, TaskStatus::Completed);
    let year_us = 365 * 24 * 3_600 * 1_000_000;
    ahead.created.wall_us += year_us;
    ahead.state = ended(2 + 365 * 24 * 3_600, TaskStatus::Completed).state;
    store.commit(vec![new(ended(1, TaskStatus::Completed)), new(ahead)]).unwrap();
    store.commit((3..=9).map(|seq| new(ended(seq, TaskStatus::Completed))).collect()).unwrap();
    let expired = store.expire(8_000_000, 20_000_000).unwrap();
    let mut history = store.history().unwrap();
    assert_eq!((expired.tasks, left(history.as_mut())), (5, vec![9, 8, 7, 2]));
}
