//! `[[schedule]]`.

use super::{load_text, refusal};
use crate::domain::{Overlap, Priority, ScheduleSpec, TaskType, When};

const EVERY: &str = "a time such as \"30s\", \"15m\", \"12h\" or \"7d\" between 1s and 3650d";
const CRON: &str = "5 fields, \"minute hour day month weekday\", or 6 with the seconds before them";

/// A schedule whose `keys` begin on line 4.
fn text(keys: &str) -> String {
    format!("[[schedule]]\nname = \"a\"\ntask_type = \"ingest\"\n{keys}\n")
}

fn schedule(keys: &str) -> ScheduleSpec {
    load_text(&text(keys), &[]).unwrap().schedules.remove(0)
}

fn refusal_of(keys: &str) -> String {
    refusal(&text(keys), &[])
}

#[test]
fn what_is_not_said_has_a_default() {
    let found = schedule("every = \"30s\"");
    assert_eq!((&*found.name, found.task_type), ("a", TaskType::Ingest));
    assert_eq!(found.when, When::Every(30_000_000));
    assert_eq!(found.payload.as_str(), "{}");
    assert_eq!((found.priority, found.overlap), (Priority::default(), Overlap::Skip));
    assert_eq!(found.jitter_us, 0);
}

#[test]
fn all_can_be_said() {
    let found = schedule(
        r#"
        cron = "15 3 * * MON-FRI"
        priority = -100
        overlap = "queue"
        jitter_s = 3600
        [schedule.payload]
        source = "docs"
        list = [1, 2.5, { deep = true }]
        since = 2026-01-02
        "#,
    );
    let When::Cron(cron) = found.when else { panic!("{:?}", found.when) };
    assert_eq!(cron, Box::new("0 15 3 * * 1-5".parse().unwrap()));
    assert_eq!(found.priority.get(), -100);
    assert_eq!(found.overlap, Overlap::Queue);
    assert_eq!(found.jitter_us, 3_600_000_000);
    assert_eq!(
        found.payload.as_str(),
        r#"{"list":[1,2.5,{"deep":true}],"since":"2026-01-02","source":"docs"}"#
    );
}

#[test]
fn a_schedule_says_in_one_way_when() {
    assert_eq!(
        refusal_of(""),
        format!(
            "test.toml:1: schedule[0].every is missing; it must be {EVERY}, or cron must say when"
        )
    );
    assert_eq!(
        refusal_of("cron = \"* * * * *\"\nevery = \"30s\""),
        "test.toml:4: schedule[0].cron cannot stand beside every; one of the two says when"
    );
}

#[test]
fn a_span_is_a_second_or_more() {
    for good in ["1s", "15m", "12h", "3650d"] {
        schedule(&format!("every = {good:?}"));
    }
    for bad in ["0s", "500ms", "30", "1.5h", "3651d", ""] {
        assert_eq!(
            refusal_of(&format!("every = {bad:?}")),
            format!("test.toml:4: schedule[0].every must be {EVERY}, found {bad:?}")
        );
    }
    assert_eq!(
        refusal_of("every = 30"),
        format!("test.toml:4: schedule[0].every must be {EVERY}, found 30")
    );
}

#[test]
fn a_pattern_has_five_fields_or_six() {
    for good in
        ["* * * * *", "*/10 * * * * *", "0 0 29 2 *", "@daily", "0 12 L * FRI#2", "0 0 13 * +FRI"]
    {
        schedule(&format!("cron = {good:?}"));
    }
    for (bad, reason) in [
        ("", "CronPattern cannot be an empty string"),
        ("* * * *", "Pattern must have 5 or 6 fields when years are disallowed"),
        ("* * * * * * *", "Pattern must have 5 or 6 fields when years are disallowed"),
        ("60 * * * *", "Number out of bounds"),
        ("0 0 0 1 *", "Number out of bounds"),
        ("5-1 * * * *", "Range out of bounds"),
        ("*/0 * * * *", "Step cannot be zero"),
        ("x * * * *", "CronPattern contains illegal character 'X' in part 'X'"),
        ("1,,2 * * * *", "a comma stands between two numbers"),
        (", * * * *", "a comma stands between two numbers"),
    ] {
        assert_eq!(
            refusal_of(&format!("cron = {bad:?}")),
            format!("test.toml:4: schedule[0].cron must be {CRON}, found {bad:?}: {reason}")
        );
    }
    for never in ["0 0 30 2 *", "* * * 31 4,6,9,11 *", "0 0 31 6 +MON"] {
        assert_eq!(
            refusal_of(&format!("cron = {never:?}")),
            format!("test.toml:4: schedule[0].cron must match some time, and {never:?} never does")
        );
    }
}

#[test]
fn a_run_is_not_late_by_a_whole_interval() {
    for good in ["every = \"2s\"\njitter_s = 1.9", "cron = \"* * * * * *\"\njitter_s = 3600"] {
        schedule(good);
    }
    assert_eq!(
        refusal_of("every = \"2s\"\njitter_s = 2"),
        "test.toml:5: schedule[0].jitter_s must be less than every (2s), found 2"
    );
    assert_eq!(
        refusal_of("every = \"7d\"\njitter_s = 3601"),
        "test.toml:5: schedule[0].jitter_s must be between 0 and 3600 (seconds), found 3601"
    );
}

#[test]
fn a_payload_is_as_long_as_that_of_a_request_at_most() {
    let of = |length: usize| {
        let payload = format!("payload = {{ a = {:?} }}", "x".repeat(length));
        format!("http.max_body_bytes = 1024\n{}", text(&format!("every = \"1s\"\n{payload}")))
    };
    load_text(&of(1024 - 8), &[]).unwrap();
    assert_eq!(
        refusal(&of(1024 - 7), &[]),
        "test.toml:6: schedule[0].payload must be at most http.max_body_bytes (1024) long as JSON, \
         found 1025"
    );
    assert_eq!(
        refusal_of("every = \"1s\"\npayload = { api_key = nan }"),
        "test.toml:5: schedule[0].payload.api_key must be a finite number"
    );
    assert_eq!(
        refusal_of("every = \"1s\"\npayload = [1]"),
        "test.toml:5: schedule[0].payload must be a table such as { name = \"value\" }"
    );
}

#[test]
fn words_and_numbers_are_those_that_exist() {
    for (keys, problem) in [
        ("priority = 101", "priority must be between -100 and 100, found 101"),
        ("priority = -101", "priority must be between -100 and 100, found -101"),
        ("overlap = \"wait\"", "overlap must be one of \"skip\", \"queue\", found \"wait\""),
    ] {
        assert_eq!(
            refusal_of(&format!("every = \"1s\"\n{keys}")),
            format!("test.toml:5: schedule[0].{problem}")
        );
    }
    let types = r#""discovery", "migration", "heartbeat", "ingest", "research", "general""#;
    let of =
        |kind: &str| refusal(&format!("[[schedule]]\nname = \"a\"\nevery = \"1s\"\n{kind}"), &[]);
    assert_eq!(
        of(""),
        format!("test.toml:1: schedule[0].task_type is missing; it must be one of {types}")
    );
    assert_eq!(
        of("task_type = \"writing\""),
        format!("test.toml:4: schedule[0].task_type must be one of {types}, found \"writing\"")
    );
}

#[test]
fn a_schedule_has_a_name_of_its_own_and_known_keys() {
    let one = text("every = \"1s\"");
    assert_eq!(
        refusal(&format!("{one}{one}"), &[]),
        "test.toml:6: schedule[1].name must be its own, but schedule[0] is called \"a\", too"
    );
    assert_eq!(
        refusal_of("every = \"1s\"\nevery_s = 1"),
        "test.toml:5: unknown key schedule[0].every_s; [[schedule]] has name, every, cron, \
         task_type, payload, priority, overlap, jitter_s"
    );
    assert_eq!(
        refusal("[schedule]\nname = \"a\"", &[]),
        "test.toml:2: unknown key schedule.name; every schedule begins with [[schedule]]"
    );
    assert_eq!(
        refusal("", &[("DAEDALUS_SCHEDULE__NAME", "a")]),
        "DAEDALUS_SCHEDULE__NAME: unknown key schedule.name; [[schedule]] can be set in the file \
         only"
    );
}
