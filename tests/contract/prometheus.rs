//! The numbers as text for Prometheus.

use std::collections::BTreeMap;

use serde_json::json;

use crate::daemon::{Answer, Daemon, EXTERNAL};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn scrape(daemon: &Daemon, accept: &str) -> Answer {
    daemon.call("GET", "/metrics", &[("accept", accept)], None)
}

/// The value of a series, written as it stands in the text.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

#[test]
fn the_form_is_what_accept_asks_for_and_json_otherwise() {
    let daemon = Daemon::start(EXTERNAL);
    for (accept, media_type) in [
        ("text/plain", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.6, */*;q=0.1", OPENMETRICS),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
    ] {
        let answer = scrape(&daemon, accept);
        assert_eq!((answer.status, answer.header("content-type")), (200, media_type), "{accept}");
        assert_eq!(answer.header("vary"), "Accept");
        let ends = answer.text.ends_with("# EOF\n");
        assert_eq!(ends, media_type == OPENMETRICS, "{accept}");
    }
    daemon
        .call("GET", "/metrics?x=1", &[("accept", "text/plain")], None)
        .refused(422, "validation_failed");
}

#[test]
fn the_text_says_what_the_json_says() {
    let (daemon, agents) = Daemon::with_external(1);
    let tasks: Vec<_> = (0..3).map(|_| daemon.submit(&json!({ "payload": {} }))).collect();
    daemon.get(&format!("/agents/{}/assignment", agents[0])).ok();
    daemon.order(&format!("/tasks/{}/complete", tasks[0])).ok();
    daemon.order(&format!("/tasks/{}/cancel", tasks[2])).ok();
    daemon.get("/tasks/none").refused(404, "task_not_found");
    daemon.get("/nowhere").refused(404, "not_found");
    let text = scrape(&daemon, "text/plain").text;
    for (series, expected) in [
        ("daedalus_tasks_submitted_total", 3.0),
        ("daedalus_tasks{status=\"pending\"}", 0.0),
        ("daedalus_tasks{status=\"in_progress\"}", 1.0),
        ("daedalus_tasks_ended_total{status=\"completed\"}", 1.0),
        ("daedalus_tasks_ended_total{status=\"cancelled\"}", 1.0),
        ("daedalus_assignments_total", 2.0),
        ("daedalus_agents{status=\"analyzing\"}", 1.0),
        ("daedalus_task_queue_wait_seconds_count", 2.0),
        ("daedalus_assignment_latency_seconds_count", 1.0),
        ("daedalus_attempt_duration_seconds_count{outcome=\"completed\"}", 1.0),
        (
            "daedalus_http_request_duration_seconds_count\
             {route=\"/tasks\",method=\"POST\",status_class=\"2xx\"}",
            3.0,
        ),
        (
            "daedalus_http_request_duration_seconds_count\
             {route=\"/tasks/{id}\",method=\"GET\",status_class=\"4xx\"}",
            1.0,
        ),
        (
            "daedalus_http_request_duration_seconds_count\
             {route=\"none\",method=\"GET\",status_class=\"4xx\"}",
            1.0,
        ),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    let version = format!("daedalus_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&text, &version), 1.0);
    assert!(value(&text, "daedalus_process_start_time_seconds") > 1.6e9);
}

#[test]
fn no_client_makes_a_series_of_its_own() {
    let daemon = Daemon::start(EXTERNAL);
    let of_requests = || {
        let text = scrape(&daemon, "text/plain").text;
        let count = "daedalus_http_request_duration_seconds_count";
        text.lines().filter(|line| line.starts_with(count)).map(str::to_owned).collect::<Vec<_>>()
    };
    for n in 0..20 {
        daemon.get(&format!("/tasks/{n}"));
        daemon.get(&format!("/nowhere/{n}"));
        let method = ["PUT", "PATCH", "OPTIONS"][n % 3];
        daemon.call(method, "/tasks", &[], None).refused(405, "method_not_allowed");
    }
    let series = of_requests();
    assert!(series.len() <= 5, "{series:#?}");
}

/// The rows of the document: each metric with its type.
#[test]
fn every_metric_is_described_with_its_type_and_labels() {
    let daemon = Daemon::start(EXTERNAL);
    daemon.submit(&json!({ "payload": {} }));
    scrape(&daemon, "text/plain");
    let text = scrape(&daemon, "text/plain").text;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let found: BTreeMap<_, _> =
        types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let document = std::fs::read_to_string(document).unwrap();
    let rows = document.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `daedalus_")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`');
        Some((format!("daedalus_{name}"), cells.next()?.to_owned(), cells.next()?.to_owned()))
    });
    let rows: Vec<_> = rows.collect();
    let described: BTreeMap<_, _> =
        rows.iter().map(|(name, kind, _)| (name.clone(), kind.clone())).collect();
    assert_eq!(described, found, "docs/metrics.md: on the left is what it says");
    for (name, _, labels) in rows {
        for series in text.lines().filter(|line| line.starts_with(&name) && line.contains('{')) {
            let (_, pairs) = series.split_once('{').unwrap();
            let names = pairs.split("=\"").filter_map(|part| part.rsplit(['{', ',', '"']).next());
            let last_is_a_value = names.clone().count() - 1;
            for label in names.take(last_is_a_value).filter(|label| *label != "le") {
                assert!(labels.contains(&format!("`{label}`")), "{name}: {label} is not described");
            }
        }
    }
}
