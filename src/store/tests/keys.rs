//! Who has an idempotency key.

use super::on_both;
use super::sample::{changed, ended, key, new, pending, running, task_id};
use crate::domain::{Task, TaskStatus};

fn with_key(mut task: Task) -> Task {
    task.spec.key = Some(key("mine"));
    task
}

#[test]
fn a_key_that_was_used_again_meanwhile_stays_with_its_new_task() {
    on_both(|store, history| {
        // The first one was forgotten, and comes back when an operator tries it again.
        store.commit(vec![new(with_key(pending(2)))]).unwrap();
        store.commit(vec![changed(with_key(pending(1)))]).unwrap();
        assert_eq!(history.task_of_key("mine").unwrap().unwrap().id, task_id(2));
        assert_eq!(history.task(task_id(1)).unwrap().unwrap().spec.key, None);
    });
}

#[test]
fn a_new_task_takes_its_key_from_the_one_that_had_it() {
    for in_one_batch in [false, true] {
        on_both(|store, history| {
            let first = new(with_key(ended(1, TaskStatus::Failed)));
            let second = new(with_key(pending(2)));
            if in_one_batch {
                store.commit(vec![first, second]).unwrap();
            } else {
                store.commit(vec![first]).unwrap();
                assert_eq!(history.status_of_key("mine").unwrap(), Some(TaskStatus::Failed));
                store.commit(vec![second]).unwrap();
            }
            assert_eq!(history.task_of_key("mine").unwrap().unwrap().id, task_id(2));
            assert_eq!(history.status_of_key("mine").unwrap(), Some(TaskStatus::Pending));
            assert_eq!(history.task(task_id(1)).unwrap().unwrap().spec.key, None);
            // Even when somebody who saw it before tries the first one again.
            store.commit(vec![changed(with_key(running(1)))]).unwrap();
            assert_eq!(history.task_of_key("mine").unwrap().unwrap().id, task_id(2));
            assert_eq!(history.task(task_id(1)).unwrap().unwrap().spec.key, None);
            let keys: Vec<_> =
                store.load().unwrap().tasks.iter().map(|task| task.spec.key.clone()).collect();
            assert_eq!(keys, [None, Some(key("mine"))]);
        });
    }
}

#[test]
fn the_end_of_a_task_that_lost_its_key_leaves_the_key_alone() {
    on_both(|store, history| {
        store.commit(vec![new(with_key(ended(1, TaskStatus::Cancelled)))]).unwrap();
        store.commit(vec![new(with_key(pending(5)))]).unwrap();
        store.expire(3_000_000, 9_000_000).unwrap();
        assert!(history.task(task_id(1)).unwrap().is_none(), "it is forgotten");
        assert_eq!(history.status_of_key("mine").unwrap(), Some(TaskStatus::Pending));
    });
}

#[test]
fn a_key_that_nobody_has_has_no_status() {
    on_both(|store, history| {
        assert_eq!(history.status_of_key("mine").unwrap(), None);
        store
            .commit(vec![new(with_key(ended(1, TaskStatus::Completed))), new(pending(5))])
            .unwrap();
        assert_eq!(history.status_of_key("mine").unwrap(), Some(TaskStatus::Completed));
        store.expire(3_000_000, 9_000_000).unwrap();
        assert_eq!(history.status_of_key("mine").unwrap(), None);
    });
}
