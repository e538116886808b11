//! What goes in comes out: every field, of any content.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use super::Place;
use super::sample::{at, json, new, pending};
use crate::domain::{
    AgentId, Attempt, AttemptEnded, AttemptRecord, Candidate, Decision, Failure, Fingerprint,
    FollowUps, Hold, IdempotencyKey, Incarnation, Now, Outcome, Parent, Preference, Priority, Rule,
    Stop, StopReason, Task, TaskError, TaskId, TaskState, TaskStatus, TaskType, Usage, Wait,
};
use crate::store::Store;

/// The end of the times that the daemon can meet.
const FAR: u64 = 1 << 60;

fn time() -> impl Strategy<Value = Now> {
    (0..FAR).prop_map(at)
}

fn agent() -> impl Strategy<Value = AgentId> {
    any::<u128>().prop_map(|number| AgentId::from_uuid(Uuid::from_u128(number)))
}

fn preference() -> impl Strategy<Value = Preference> {
    prop_oneof![
        Just(Preference::Used),
        Just(Preference::Unknown),
        Just(Preference::TypeNotTaken),
        Just(Preference::Excluded),
        Just(Preference::NotIdle),
    ]
}

/// Milliseconds as the daemon computes them, of whole microseconds.
fn ms() -> impl Strategy<Value = f64> {
    (0..1_u64 << 42).prop_map(|us| us as f64 / 1_000.0)
}

fn decision() -> impl Strategy<Value = Decision> {
    let rule = prop_oneof![
        Just(Rule::Preferred),
        Just(Rule::Affinity),
        Just(Rule::LongestIdle),
        Just(Rule::OldestFailure),
    ];
    let candidate = (agent(), option::of(ms()))
        .prop_map(|(agent_id, score_ms)| Candidate { agent_id, score_ms });
    let parts = (rule, vec(candidate, 0..5), any::<u32>(), vec(agent(), 0..3));
    (parts, any::<bool>(), ms(), option::of(preference())).prop_map(
        |((rule, candidates, total, excluded), relaxed, waited_ms, preference)| Decision {
            rule,
            candidates,
            candidates_total: total as usize,
            excluded,
            relaxed,
            waited_ms,
            preference,
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Completed),
        Just(Outcome::Failed),
        Just(Outcome::AgentFailed),
        Just(Outcome::TimedOut),
        Just(Outcome::Cancelled),
        Just(Outcome::Interrupted),
    ]
}

fn end() -> impl Strategy<Value = AttemptEnded> {
    let usage = any::<[u64; 4]>().prop_map(|[input_tokens, output_tokens, model_calls, steps]| {
        Usage { input_tokens, output_tokens, model_calls, steps }
    });
    let failure =
        (any::<String>(), any::<String>()).prop_map(|(cause, detail)| Failure { cause, detail });
    (time(), outcome(), any::<bool>(), option::of(failure), option::of(usage)).prop_map(
        |(at, outcome, counted, failure, usage)| AttemptEnded {
            at,
            outcome,
            counted,
            failure,
            usage,
        },
    )
}

fn stop() -> impl Strategy<Value = Stop> {
    let reason = (0..StopReason::ALL.len()).prop_map(|number| StopReason::ALL[number]);
    let steps = [option::of(time()), option::of(time()), option::of(time()), option::of(time())];
    (reason, steps).prop_map(|(reason, [asked, signalled, killed, over])| Stop {
        reason,
        asked,
        signalled,
        killed,
        over,
    })
}

fn attempt() -> impl Strategy<Value = AttemptRecord> {
    let numbers = (any::<[u32; 3]>(), any::<bool>(), option::of(stop()));
    (numbers, agent(), decision(), time(), option::of(time()), option::of(end())).prop_map(
        |(
            ([attempt, incarnation, children], overlap_possible, stop),
            agent,
            decision,
            assigned,
            started,
            end,
        )| {
            AttemptRecord {
                attempt: Attempt::new(attempt),
                agent,
                incarnation: Incarnation::new(incarnation),
                decision,
                assigned,
                started,
                end,
                overlap_possible,
                stop,
                children,
            }
        },
    )
}

fn state() -> impl Strategy<Value = TaskState> {
    let hold = prop_oneof![
        option::of(0..FAR).prop_map(|until_us| Hold::Excluding { until_us }),
        Just(Hold::Relaxed),
        (0..FAR).prop_map(|until_us| Hold::Backoff { until_us }),
    ];
    let terminal = prop_oneof![
        Just(TaskStatus::Completed),
        Just(TaskStatus::Failed),
        Just(TaskStatus::Cancelled)
    ];
    prop_oneof![
        (0..FAR, any::<bool>(), hold).prop_map(|(since_us, counted, hold)| TaskState::Pending(
            Wait { since_us, counted, hold }
        )),
        agent().prop_map(|agent| TaskState::InProgress { agent }),
        (terminal, time()).prop_map(|(status, at)| TaskState::Ended { status, at }),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), (0..20_000_usize).prop_map(|length| "x".repeat(length)),]
}

prop_compose! {
    fn task()(
        spec in (
            0..TaskType::COUNT,
            text(),
            -100..=100_i64,
            option::of(prop_oneof![agent().prop_map(Ok), preference().prop_map(Err)]),
            option::of(any::<u64>()),
            option::of((any::<String>(), any::<[u8; 32]>())),
        ),
        created in time(),
        state in state(),
        numbers in any::<(u32, u32, u32, u64)>(),
        follow_ups in option::of(any::<[u64; 3]>()),
        attempts in vec(attempt(), 0..4),
        failed_on in vec(agent(), 0..4),
        (asked, first_started) in (time(), option::of(time())),
        parent in option::of(any::<(u128, u32, u8, bool, bool)>()),
        result in option::of(text()),
        error in option::of((any::<String>(), any::<String>(), any::<bool>())),
    ) -> Task {
        let mut task = pending(1);
        let (kind, payload, priority, preferred, timeout_us, key) = spec;
        task.spec.kind = TaskType::ALL[kind];
        task.spec.payload = json(&serde_json::to_string(&[payload]).unwrap());
        task.spec.priority = Priority::new(priority).unwrap();
        task.spec.preferred = preferred;
        task.spec.timeout_us = timeout_us;
        task.spec.key = key.map(|(name, content)| IdempotencyKey {
            name: name.into(),
            content: Fingerprint(content),
        });
        task.created = created;
        task.parent = parent.map(|(id, attempt, depth, detach, follow_up)| Parent {
            task_id: TaskId::from_uuid(Uuid::from_u128(id)),
            attempt: Attempt::new(attempt),
            depth,
            detach,
            follow_up,
        });
        task.state = state;
        let (attempt, failures, interruptions, gated_us) = numbers;
        task.attempt = Attempt::new(attempt);
        task.attempts = attempts;
        task.failures = failures;
        task.failed_on = failed_on;
        task.interruptions = interruptions;
        task.gated_us = gated_us;
        task.follow_ups = follow_ups
            .map(|[created, skipped, invalid]| FollowUps { created, skipped, invalid });
        task.asked = asked;
        task.first_started = first_started;
        task.result = result.map(|result| json(&serde_json::to_string(&result).unwrap()));
        task.error =
            error.map(|(code, message, retryable)| TaskError { code, message, retryable });
        task
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn every_field_of_a_task_comes_back(task in task(), later in task()) {
        let place = Place::new();
        let mut store = place.open();
        let mut history = store.history().unwrap();
        store.commit(vec![new(task.clone())]).unwrap();
        prop_assert_eq!(history.task(task.id).unwrap(), Some(task.clone()));
        let live = store.load().unwrap().tasks;
        prop_assert_eq!(live.first(), Some(&task).filter(|task| !task.status().is_terminal()));

        // A change of it: all but what it was submitted with.
        let mut changed = later;
        changed.spec = crate::domain::TaskSpec {
            preferred: changed.spec.preferred,
            timeout_us: changed.spec.timeout_us,
            ..task.spec
        };
        changed.created = task.created;
        store.commit(vec![super::sample::changed(changed.clone())]).unwrap();
        prop_assert_eq!(history.task(task.id).unwrap(), Some(changed));
    }
}
