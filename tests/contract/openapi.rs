//! The API described for programs, and its page.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL};

/// Every operation: method, path with ids that are none, and what the document says.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((
                method.to_uppercase(),
                path.replace("{id}", "none").replace("{name}", "none"),
                operation,
            ));
        }
    }
    all
}

#[test]
fn the_document_is_json_of_openapi_3_1_behind_the_base_path() {
    let daemon = Daemon::start(&format!("{EXTERNAL}[http]\nbase_path = \"/pool-a\"\n"));
    let document = daemon.get("/pool-a/openapi.json").ok();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["servers"], json!([{ "url": "/pool-a" }]));
    assert_eq!(daemon.get("/pool-a/openapi.json").ok(), document, "the second time, too");
    daemon.get("/openapi.json").refused(404, "not_found");
    daemon.get("/pool-a/openapi.json?pretty=1").refused(422, "validation_failed");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.keys().all(|path| !path.starts_with("/pool-a")), "servers have it already");
}

/// What serde expects where a name is not known: the names that there are.
fn expected_names(detail: &str) -> BTreeSet<String> {
    let Some((_, expected)) = detail.split_once("expected ") else { return BTreeSet::new() };
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_names_of_queries_and_bodies_are_those_that_are_taken() {
    let (daemon, agents) = Daemon::with_external(1);
    let document = daemon.get("/openapi.json").ok();
    // An id that is none is refused before the query.
    let (task, agent) = (daemon.submit(&json!({ "payload": {} })), &agents[0]);
    let mut with_body = 0;
    for (method, path, operation) in operations(&document) {
        let id = if path.starts_with("/tasks") { &task } else { agent };
        let path = path.replace("/none", &format!("/{id}"));
        if path == "/healthz" {
            continue; // asks for nothing, so that it is always answered
        }
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let described: BTreeSet<_> = parameters
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        let refusal = daemon.call(&method, &format!("{path}?no_such_name=1"), &[], None);
        let refusal = if refusal.body["code"] == "missing_body" {
            let body = json!({ "payload": {} }).to_string();
            let json = [("content-type", "application/json")];
            daemon.call(&method, &format!("{path}?no_such_name=1"), &json, Some(body.as_bytes()))
        } else {
            refusal
        };
        let detail = refusal.refused(422, "validation_failed")["detail"].to_string();
        assert_eq!(described, expected_names(&detail), "{method} {path}: {detail}");

        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let Some(name) = schema["$ref"].as_str() else { continue };
        with_body += 1;
        let schema = &document["components"]["schemas"][name.rsplit('/').next().unwrap()];
        let schema = if schema["allOf"].is_array() { &schema["allOf"][0] } else { schema };
        let described: BTreeSet<_> =
            schema["properties"].as_object().unwrap().keys().cloned().collect();
        let refusal = daemon.post(&path, &json!({ "no_such_name": 1 }));
        let detail = refusal.refused(422, "validation_failed")["detail"].to_string();
        assert_eq!(described, expected_names(&detail), "{method} {path}: {detail}");
    }
    assert_eq!(with_body, 5, "submit, complete, initialize, spawn, fail");
}

#[test]
fn the_page_has_all_its_assets_here() {
    let daemon = Daemon::start(&format!("{EXTERNAL}[http]\nbase_path = \"/pool-a\"\n"));
    let page = daemon.get("/pool-a/docs/");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    let there = daemon.get("/pool-a/docs");
    // The client follows: the path of the page is relative to that of the request.
    assert_eq!((there.status, there.text.as_str()), (200, page.text.as_str()));
    let assets: Vec<_> = ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|start| page.text.split(start).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(assets.len() > 5, "{assets:?}");
    for asset in assets {
        assert!(!asset.contains("//") && !asset.starts_with('/'), "{asset} is not beside the page");
        let name = asset.trim_start_matches("./");
        let file = daemon.call("HEAD", &format!("/pool-a/docs/{name}"), &[], None);
        assert_eq!(file.status, 200, "{name}");
        assert!(!file.header("x-trace-id").is_empty(), "{name}");
    }
    let starts = daemon.get("/pool-a/docs/swagger-initializer.js").text;
    assert!(starts.contains(r#""url": "../openapi.json""#), "{starts}");
    assert!(starts.contains(r#""validatorUrl": "none""#), "{starts}");
    assert!(!starts.contains("//petstore") && !starts.contains("https:"), "{starts}");
    daemon.get("/pool-a/docs/nothing.js").refused(404, "not_found");
    daemon.get("/pool-a/docs/..%2f..%2fCargo.toml").refused(404, "not_found");
    daemon.order("/pool-a/docs").refused(405, "method_not_allowed");
}
