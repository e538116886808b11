use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{build, in_words_of_the_api, members};
use crate::domain::{AgentKind, IdempotencyKey, Priority, TaskStatus, TaskType};
use crate::http::agents::LEASE_S;
use crate::http::complete::{MAX_CODE_CHARS, MAX_MESSAGE_CHARS};
use crate::http::problem::Code;
use crate::http::server::HttpSettings;
use crate::http::tasks::{DEFAULT_LIMIT, LIMIT, MAX_TIMEOUT_S, WAIT_S};

fn settings(base_path: &str, default_kind: AgentKind) -> HttpSettings {
    HttpSettings {
        allowed_hosts: Vec::new(),
        base_path: base_path.to_owned(),
        max_body_bytes: 1_024,
        max_in_flight: 1,
        call_timeout: Duration::from_secs(1),
        max_pool_size: 7,
        default_kind,
    }
}

fn document() -> Value {
    let document = build::document(&settings("", AgentKind::Process)).to_json().unwrap();
    serde_json::from_str(&in_words_of_the_api(document)).unwrap()
}

/// Every operation with its path and method.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(|(method, operation)| (path.clone(), method.to_uppercase(), operation))
        })
        .collect()
}

/// What stands for people only, or has a protocol of its own.
const NOT_DESCRIBED: [&str; 4] = ["/docs", "/docs/", "/docs/{file}", "/mcp"];

#[test]
fn every_route_and_method_is_described_and_no_other() {
    let table = include_str!("../routes.rs");
    let routes = table.split("at(\"").skip(1).filter_map(|rest| {
        let (path, rest) = rest.split_once("\", \"")?;
        Some((path, rest.split_once('"')?.0))
    });
    let mut expected = BTreeSet::new();
    for (path, methods) in routes.filter(|(path, _)| !NOT_DESCRIBED.contains(path)) {
        // HEAD is a GET without its body.
        for method in methods.split(", ").filter(|&method| method != "HEAD") {
            assert!(expected.insert((path.to_owned(), method.to_owned())), "{method} {path}");
        }
    }
    let document = document();
    let described: BTreeSet<_> =
        operations(&document).into_iter().map(|(path, method, _)| (path, method)).collect();
    assert!(described.len() > 20);
    assert_eq!(described, expected, "on the left is what the document has");
}

#[test]
fn every_code_is_the_answer_of_an_operation_and_stands_at_its_status() {
    let document = document();
    let mut met = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let Some(name) = answer["$ref"].as_str() else { continue };
            let answer = &document["components"]["responses"][name.rsplit('/').next().unwrap()];
            let schema = &answer["content"]["application/problem+json"]["schema"]["allOf"][1];
            let codes = schema["properties"]["code"]["enum"].as_array();
            for code in codes.unwrap_or_else(|| panic!("{method} {path}: {status} has no codes")) {
                let row = Code::ALL.map(Code::row).into_iter().find(|row| row.0 == code);
                let (_, of_row, _) = row.unwrap_or_else(|| panic!("{code} is no code"));
                assert_eq!(of_row.as_str(), status, "{method} {path}: {code}");
                met.insert(code.as_str().unwrap().to_owned());
            }
            let says_when = answer["headers"]["Retry-After"].is_object();
            assert_eq!(says_when, ["429", "503"].contains(&status.as_str()), "{method} {path}");
        }
    }
    // These are answered where there is no operation, and by what has a protocol of its own.
    met.extend(["not_found", "method_not_allowed"].map(str::to_owned));
    met.extend(["not_acceptable", "host_not_allowed", "unsupported_protocol"].map(str::to_owned));
    assert_eq!(met, Code::ALL.map(|code| code.row().0.to_owned()).into());
    let all = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    assert_eq!(*all, json!(Code::ALL.map(|code| code.row().0).as_slice()));
}

#[test]
fn every_answer_names_its_trace() {
    let document = document();
    let answers = document["components"]["responses"].as_object().unwrap().values();
    let own = operations(&document);
    let own = own.iter().flat_map(|(_, _, of)| of["responses"].as_object().unwrap().values());
    for answer in answers.chain(own).filter(|answer| answer["$ref"].is_null()) {
        assert!(answer["headers"]["X-Trace-Id"].is_object(), "{answer}");
        assert!(answer["description"].as_str().is_some_and(|says| !says.is_empty()), "{answer}");
    }
}

#[test]
fn names_are_those_of_the_domain() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let types = json!(TaskType::ALL.map(TaskType::name));
    assert_eq!(schemas["TaskType"]["enum"], types);
    assert_eq!(schemas["TaskStatus"]["enum"], json!(TaskStatus::ALL.map(TaskStatus::name)));
    let new = &schemas["NewTask"]["properties"]["task_type"];
    let names = TaskType::ALL.map(|kind| json!(kind.name()));
    assert_eq!(new["enum"], Value::from([&names[..], &[Value::Null]].concat()));
    assert_eq!(new["default"], TaskType::default().name());
}

#[test]
fn limits_are_those_of_the_code() {
    let document = document();
    let new = &document["components"]["schemas"]["NewTask"];
    let of = |name: &str| &new["properties"][name];
    assert_eq!(new["additionalProperties"], false);
    assert_eq!(new["required"], json!(["payload"]));
    assert_eq!(of("priority")["minimum"], Priority::MIN);
    assert_eq!(of("priority")["maximum"], Priority::MAX);
    assert_eq!(of("timeout_s")["exclusiveMinimum"], 0);
    assert_eq!(of("timeout_s")["maximum"], MAX_TIMEOUT_S);
    assert_eq!(of("idempotency_key")["minLength"], 1);
    assert_eq!(of("idempotency_key")["maxLength"], IdempotencyKey::MAX_CHARS);
    let error = &document["components"]["schemas"]["ReportedError"]["properties"];
    assert_eq!(error["code"]["maxLength"], MAX_CODE_CHARS);
    assert_eq!(error["message"]["maxLength"], MAX_MESSAGE_CHARS);
    let agent = &document["components"]["schemas"]["NewAgent"]["allOf"][0]["properties"];
    assert_eq!(agent["lease_s"]["minimum"], *LEASE_S.start());
    assert_eq!(agent["lease_s"]["maximum"], *LEASE_S.end());
    let size = &document["components"]["schemas"]["WantedPool"]["properties"]["size"];
    assert_eq!((&size["minimum"], &size["maximum"]), (&json!(1), &json!(7)));

    let query = |path: &str, name: &str| {
        let all = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        all.iter().find(|parameter| parameter["name"] == name).unwrap()["schema"].clone()
    };
    let limit = query("/tasks", "limit");
    assert_eq!(
        (&limit["minimum"], &limit["maximum"]),
        (&json!(LIMIT.start()), &json!(LIMIT.end()))
    );
    assert_eq!(limit["default"], DEFAULT_LIMIT);
    for path in ["/tasks/{id}", "/agents/{id}/assignment"] {
        let wait = query(path, "wait_s");
        assert_eq!(wait["minimum"].as_f64(), Some(*WAIT_S.start()), "{path}");
        assert_eq!(wait["maximum"].as_f64(), Some(*WAIT_S.end()), "{path}");
    }
}

#[test]
fn the_configuration_says_where_the_paths_stand_and_which_agents_have_leases() {
    let at = |base: &str| build::document(&settings(base, AgentKind::Process)).servers.unwrap();
    assert_eq!(at("")[0].url, "/");
    assert_eq!(at("/api/x")[0].url, "/api/x");
    let kind = |default: AgentKind| {
        let document = build::document(&settings("", default)).to_json().unwrap();
        let document: Value = serde_json::from_str(&document).unwrap();
        document["components"]["schemas"]["NewAgent"]["allOf"][1]["anyOf"][0].clone()
    };
    let process = kind(AgentKind::Process);
    assert_eq!(
        (&process["required"], &process["properties"]["kind"]["enum"]),
        (&json!(["kind"]), &json!(["external"]))
    );
    let external = kind(AgentKind::External { lease_us: None });
    assert_eq!(external["properties"]["kind"]["enum"], json!(["external", null]));
    assert_eq!(external["required"], Value::Null);
}

#[test]
fn members_are_described_where_they_are() {
    let document = document();
    for (schema, member, says) in members::SAYS {
        let schema = &document["components"]["schemas"][schema];
        let parts = schema["allOf"].as_array().into_iter().flatten().chain([schema]);
        let found = parts.map(|part| &part["properties"][member]["description"]);
        assert!(found.into_iter().any(|found| found == says), "{schema}: {member}");
    }
}

#[test]
fn comments_for_readers_of_the_code_stay_there() {
    let text = document().to_string();
    for word in ["`None`", "(rule ", "[`"] {
        assert!(!text.contains(word), "{word}");
    }
}
