//! Reads of the history.

use super::sample::{changed, ended, new, pending, running, task_id};
use super::{Place, on_both};
use crate::domain::{ListQuery, Seq, TaskPage, TaskStatus, TaskType, TaskTypes};
use crate::store::{History, Store};

const ALL: ListQuery = ListQuery { status: None, kind: None, limit: 7, before: None };

fn numbers(page: &TaskPage) -> Vec<u64> {
    page.tasks.iter().map(|task| task.seq.get()).collect()
}

/// All pages, one after the other; `between` happens after each.
fn pages(history: &mut dyn History, query: ListQuery, mut between: impl FnMut()) -> Vec<u64> {
    let (mut seen, mut query) = (Vec::new(), query);
    loop {
        let page = history.page(&query).unwrap();
        assert!(page.tasks.len() <= query.limit);
        seen.extend(numbers(&page));
        between();
        match page.next {
            Some(next) => query.before = Some(next),
            None => return seen,
        }
    }
}

const STATES: [TaskStatus; 5] = TaskStatus::ALL;

/// 100 tasks of every status and type.
fn fill(store: &mut dyn Store) {
    let task = |seq: u64| match STATES[seq as usize / 3 % 5] {
        TaskStatus::Pending => pending(seq),
        TaskStatus::InProgress => running(seq),
        status @ (TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled) => {
            ended(seq, status)
        }
    };
    store.commit((1..=100).map(|seq| new(task(seq))).collect()).unwrap();
}

#[test]
fn a_list_has_every_task_that_is_wanted_the_newest_first() {
    on_both(|store, history| {
        fill(store);
        assert_eq!(pages(history, ALL, || {}), (1..=100).rev().collect::<Vec<u64>>());
        for status in STATES.map(Some).into_iter().chain([None]) {
            for kind in TaskType::ALL.map(Some).into_iter().chain([None]) {
                let is_wanted = |&seq: &u64| {
                    status.is_none_or(|status| STATES[seq as usize / 3 % 5] == status)
                        && kind.is_none_or(|kind| TaskType::ALL[seq as usize % 6] == kind)
                };
                let wanted: Vec<u64> = (1..=100).rev().filter(is_wanted).collect();
                for limit in [1, 7, 1_000] {
                    let query = ListQuery { status, kind, limit, before: None };
                    assert_eq!(pages(history, query, || {}), wanted, "{query:?}");
                }
            }
        }
    });
}

#[test]
fn the_last_page_says_so() {
    on_both(|store, history| {
        assert_eq!(history.page(&ALL).unwrap().next, None);
        fill(store);
        let first = history.page(&ListQuery { limit: 100, ..ALL }).unwrap();
        assert_eq!((first.tasks.len(), first.next), (100, None));
        let first = history.page(&ListQuery { limit: 99, ..ALL }).unwrap();
        assert_eq!((first.tasks.len(), first.next), (99, Some(Seq::new(2))));
        let nothing = history.page(&ListQuery { before: Some(Seq::FIRST), ..ALL }).unwrap();
        assert_eq!((nothing.tasks.len(), nothing.next), (0, None));
    });
}

#[test]
fn a_list_shows_what_a_summary_shows() {
    on_both(|store, history| {
        let mut task = ended(1, TaskStatus::Failed);
        task.failures = 3;
        task.failed_on = vec![task.attempts[0].agent];
        task.error = Some(crate::domain::TaskError {
            code: "code".to_owned(),
            message: "message".to_owned(),
            retryable: true,
        });
        store.commit(vec![new(task.clone())]).unwrap();
        let page = history.page(&ALL).unwrap();
        assert_eq!(format!("{:?}", page.tasks[0]), format!("{:?}", task.summary(None)));
    });
}

#[test]
fn paging_neither_skips_nor_repeats_while_others_come_and_go() {
    on_both(|store, history| {
        let stay: Vec<u64> = (1..=300).map(|n| n * 3).collect();
        let go = |n: u64| n * 3 - 1;
        store.commit(stay.iter().map(|&seq| new(pending(seq))).collect()).unwrap();
        store
            .commit((1..=300).map(|n| new(ended(go(n), TaskStatus::Completed))).collect())
            .unwrap();
        let mut turn = 0;
        let seen = pages(history, ALL, || {
            turn += 1;
            store.commit(vec![new(pending(1_000 + turn)), changed(running(turn * 3))]).unwrap();
            store.expire(turn * 15_000_000, u64::MAX).unwrap();
        });
        let seen_of_those: Vec<u64> =
            seen.iter().copied().filter(|seq| stay.contains(seq)).collect();
        assert_eq!(seen_of_those, stay.into_iter().rev().collect::<Vec<u64>>());
        assert!(seen.is_sorted_by(|newer, older| newer > older), "no task twice");
    });
}

#[test]
fn a_page_looks_at_a_bounded_number_of_tasks() {
    on_both(|store, history| {
        let task = |seq: u64| ended(seq * 6, TaskStatus::Completed);
        store.commit((1..=6_000).map(|seq| new(task(seq))).collect()).unwrap();
        store.commit(vec![new(ended(1, TaskStatus::Completed))]).unwrap();
        let query = ListQuery { kind: Some(TaskType::Migration), ..ALL };
        let first = history.page(&query).unwrap();
        assert_eq!((first.tasks.len(), first.next), (0, Some(Seq::new(1_001 * 6))));
        let second = history.page(&ListQuery { before: first.next, ..query }).unwrap();
        assert_eq!((numbers(&second), second.next), (vec![1], None));
    });
}

#[test]
fn the_unsuccessful_ones_are_read_the_oldest_first_and_counted() {
    on_both(|store, history| {
        fill(store);
        for status in [TaskStatus::Failed, TaskStatus::Cancelled] {
            let all: Vec<u64> =
                (1..=100).filter(|&seq| STATES[seq as usize / 3 % 5] == status).collect();
            let (tasks, count) =
                history.unsuccessful(status, TaskTypes::ALL, TaskTypes::ALL, 4).unwrap();
            let oldest: Vec<_> = all[..4].iter().map(|&seq| ended(seq, status)).collect();
            assert_eq!((tasks, count), (oldest, all.len() as u64));
            let all_count = all.len() as u64;
            let of_kind: Vec<u64> = all.into_iter().filter(|&seq| seq % 6 == 4).collect();
            let kind = TaskTypes::from_iter([TaskType::Research]);
            let (tasks, count) = history.unsuccessful(status, kind, kind, 1_000).unwrap();
            let found: Vec<u64> = tasks.iter().map(|task| task.seq.get()).collect();
            assert_eq!(count, found.len() as u64);
            assert_eq!(found, of_kind);
            assert_eq!(history.unsuccessful(status, kind, kind, 0).unwrap().0, []);
            let (some, of_all) = history.unsuccessful(status, TaskTypes::ALL, kind, 1_000).unwrap();
            assert_eq!((some.len() as u64, of_all), (count, all_count));
        }
    });
}

#[test]
fn a_reader_sees_every_commit_that_was_done_before() {
    on_both(|store, history| {
        for seq in 1..=100 {
            store.commit(vec![new(pending(seq))]).unwrap();
            assert!(history.task(task_id(seq)).unwrap().is_some());
        }
    });
}

#[test]
fn queries_use_their_indexes() {
    let place = Place::new();
    let mut store = place.open();
    fill(&mut store);
    let plans = crate::store::sqlite::query_plans(&place.file());
    assert!(plans.len() >= 7, "{plans:?}");
    for (query, plan) in plans {
        let by_index = plan.iter().all(|step| {
            step.starts_with("SEARCH") || step.starts_with("CORRELATED SCALAR SUBQUERY")
        });
        assert!(by_index, "{query}\n{plan:?}");
    }
}
