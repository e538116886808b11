//! `POST /mcp`: the protocol itself, with the answers that its specification asks for.

use serde_json::{Value, json};

use super::mcp::{HEADERS, request};
use crate::daemon::{Answer, Daemon, EXTERNAL, text};

fn initialize(version: &str) -> Value {
    let client = json!({ "name": "test", "version": "1" });
    let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
    request("initialize", &params)
}

fn send(daemon: &Daemon, body: &str, more: &[(&str, &str)]) -> Answer {
    let headers: Vec<_> = HEADERS.iter().chain(more).copied().collect();
    daemon.call("POST", "/mcp", &headers, Some(body.as_bytes()))
}

#[test]
fn a_client_is_told_who_answers_and_in_which_version() {
    let daemon = Daemon::start(EXTERNAL);
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let answer = daemon.mcp(&initialize(version));
        assert_eq!(answer.header("mcp-session-id"), "", "there are no sessions");
        let result = answer.ok()["result"].clone();
        assert_eq!(result["protocolVersion"], version);
        assert_eq!(result["serverInfo"]["name"], "daedalus");
        assert_eq!(result["capabilities"], json!({ "tools": {}, "resources": {} }));
        assert!(text(&result["instructions"]).contains("submit_coordination_task"));
    }
    let other = daemon.mcp(&initialize("1999-01-01")).ok()["result"].clone();
    assert_eq!(other["protocolVersion"], "2025-11-25", "the newest that has this handshake");
    let answer = send(&daemon, &initialize("2025-11-25").to_string(), &[("mcp-session-id", "x")]);
    answer.ok();
}

#[test]
fn a_ping_is_answered_and_a_notification_only_acknowledged() {
    let daemon = Daemon::start(EXTERNAL);
    assert_eq!(daemon.mcp_result("ping", &json!({})), json!({}));
    for method in ["notifications/initialized", "notifications/cancelled", "notifications/any"] {
        let params = json!({ "requestId": 7 });
        let answer = daemon.mcp(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
        assert_eq!((answer.status, &*answer.text), (202, ""), "{method}");
    }
    let text_id = json!({ "jsonrpc": "2.0", "id": "a", "method": "ping" });
    assert_eq!(daemon.mcp(&text_id).ok()["id"], "a");
}

#[test]
fn what_is_no_message_is_400_with_the_error_of_json_rpc() {
    let daemon = Daemon::start(EXTERNAL);
    for (body, code, id) in [
        ("", -32700, json!(null)),
        ("{\"jsonrpc\": \"2.0\",", -32700, json!(null)),
        ("nope", -32700, json!(null)),
        ("7", -32600, json!(null)),
        (r#"[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]"#, -32600, json!(null)),
        (r#"{"jsonrpc": "1.0", "id": 1, "method": "ping"}"#, -32600, json!(1)),
        (r#"{"jsonrpc": "2.0", "id": null, "method": "ping"}"#, -32600, json!(null)),
        (r#"{"jsonrpc": "2.0", "id": 1}"#, -32600, json!(1)),
        (r#"{"jsonrpc": "2.0", "id": 1, "result": {}}"#, -32600, json!(1)),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}"#, -32600, json!(1)),
    ] {
        let answer = send(&daemon, body, &[]);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/json");
        let said = &answer.body;
        assert_eq!((&said["error"]["code"], &said["id"]), (&json!(code), &id), "{body}: {said}");
        assert_eq!(said["jsonrpc"], "2.0");
        assert!(!text(&said["error"]["message"]).is_empty());
    }
}

#[test]
fn a_call_that_is_well_formed_and_wrong_is_200_with_an_error_inside() {
    let daemon = Daemon::start(EXTERNAL);
    assert_eq!(daemon.mcp_error("nope", &json!({}))["code"], -32601);
    assert_eq!(daemon.mcp_error("prompts/list", &json!({}))["code"], -32601);
    for (method, params, needs) in [
        ("tools/call", json!({}), "a `name`"),
        ("tools/call", json!({ "name": 7 }), "a `name`"),
        ("tools/call", json!({ "name": "coordination_metrics", "arguments": [] }), "an object"),
        ("resources/read", json!({}), "a `uri`"),
        ("initialize", json!({}), "`protocolVersion`"),
    ] {
        let error = daemon.mcp_error(method, &params);
        assert_eq!(error["code"], -32602, "{error}");
        assert!(text(&error["message"]).contains(needs), "{error}");
    }
    let error = daemon.mcp_error("tools/call", &json!({ "name": "nope", "arguments": {} }));
    assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32602), &json!("unknown_tool")));
    assert_eq!(error["message"], "unknown_tool: there is no tool nope");
    assert_eq!(error["data"]["known"].as_array().unwrap().len(), 10);
    // Both ways to have no arguments are the same.
    let numbers = json!({ "name": "coordination_metrics" });
    assert_eq!(daemon.mcp_result("tools/call", &numbers)["isError"], false);
}

#[test]
fn only_post_is_allowed() {
    let daemon = Daemon::start(EXTERNAL);
    for method in ["GET", "DELETE", "PUT", "OPTIONS"] {
        let answer = daemon.call(method, "/mcp", &HEADERS, None);
        assert_eq!(answer.header("allow"), "POST");
        answer.refused(405, "method_not_allowed");
    }
    assert_eq!(daemon.call("HEAD", "/mcp", &HEADERS, None).status, 405);
    for path in ["/mcp/nope", "/mcpnope"] {
        let ping = request("ping", &json!({})).to_string();
        daemon.call("POST", path, &HEADERS, Some(ping.as_bytes())).refused(404, "not_found");
    }
}

#[test]
fn headers_that_the_protocol_does_not_allow_are_refused() {
    let daemon = Daemon::start(EXTERNAL);
    let ping = request("ping", &json!({})).to_string();
    let with =
        |headers: &[(&str, &str)]| daemon.call("POST", "/mcp", headers, Some(ping.as_bytes()));
    let json_body = ("content-type", "application/json");
    for accept in ["application/json", "text/event-stream", "text/html"] {
        with(&[json_body, ("accept", accept)]).refused(406, "not_acceptable");
    }
    let accept = HEADERS[1];
    for wrong in ["text/plain", "application/x-www-form-urlencoded", "application/a+json"] {
        with(&[("content-type", wrong), accept]).refused(415, "unsupported_media_type");
    }
    let problem = send(&daemon, &ping, &[("mcp-protocol-version", "1999-01-01")])
        .refused(400, "unsupported_protocol");
    assert!(text(&problem["detail"]).contains("1999-01-01"), "{problem}");
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        send(&daemon, &ping, &[("mcp-protocol-version", version)]).ok();
    }
}

#[test]
fn a_host_that_is_a_strange_name_is_refused_and_one_that_is_allowed_is_not() {
    let daemon = Daemon::start(&format!("{EXTERNAL}[http]\nallowed_hosts = [\"pool.example\"]\n"));
    let ping = request("ping", &json!({})).to_string();
    for host in ["evil.example", "evil.example:8420", "pool.example.evil"] {
        let problem = send(&daemon, &ping, &[("host", host)]).refused(403, "host_not_allowed");
        assert!(text(&problem["detail"]).contains("http.allowed_hosts"), "{problem}");
    }
    for host in ["127.0.0.1", "localhost:1", "[::1]", "192.0.2.1:80", "pool.example:443"] {
        send(&daemon, &ping, &[("host", host)]).ok();
    }
    send(&daemon, &ping, &[("origin", "http://evil.example")]).refused(403, "host_not_allowed");
    send(&daemon, &ping, &[("origin", "http://localhost:3000")]).ok();
}

#[test]
fn the_tools_stand_behind_the_base_path() {
    let daemon = Daemon::start(&format!("{EXTERNAL}[http]\nbase_path = \"/api/coordination\"\n"));
    let ping = request("ping", &json!({})).to_string();
    let at = |path: &str| daemon.call("POST", path, &HEADERS, Some(ping.as_bytes()));
    assert_eq!(at("/api/coordination/mcp").ok()["result"], json!({}));
    at("/api/coordination/mcp/").ok();
    at("/mcp").refused(404, "not_found");
    daemon.get("/api/coordination/mcp").refused(405, "method_not_allowed");
}
