//! The message of a request: JSON-RPC 2.0 as far as it must be known before it is answered.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use rmcp::model::ErrorData;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One message of a client.
#[derive(Debug)]
pub(super) struct Message {
    /// How a client knows the answer again; a notification has none.
    pub(super) id: Option<Box<RawValue>>,
    /// The arguments of a tool, as they came: a tree of values would lose digits and order.
    pub(super) arguments: Option<Arc<RawValue>>,
    /// Whether the client is prepared to wait; such calls are counted apart.
    pub(super) waits: bool,
}

/// Why a body is no message, with the id of the answer as far as there is one.
#[derive(Debug)]
pub(super) struct NoMessage {
    id: Option<Box<RawValue>>,
    error: ErrorData,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// A member that is there, even when it is null.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Waits {
    wait_s: Option<f64>,
    drain_s: Option<f64>,
}

impl Message {
    /// Reads a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, NoMessage> {
        let parsed = str::from_utf8(body).map_err(|error| error.to_string()).and_then(|text| {
            serde_json::from_str::<&RawValue>(text).map_err(|error| error.to_string())
        });
        let raw = match parsed {
            Ok(raw) => raw.get(),
            Err(why) => {
                let why = format!("the body is not JSON: {why}");
                return Err(NoMessage { id: None, error: ErrorData::parse_error(why, None) });
            }
        };
        let no_message = |id: Option<&RawValue>, why: &str| NoMessage {
            id: id.map(ToOwned::to_owned),
            error: ErrorData::invalid_request(why.to_owned(), None),
        };
        if raw.starts_with('[') {
            return Err(no_message(None, "one message a request: there are no batches"));
        }
        if !raw.starts_with('{') {
            return Err(no_message(None, "a message is a JSON object"));
        }
        let envelope: Envelope<'_> = serde_json::from_str(raw)
            .map_err(|error| no_message(None, &format!("the message is not allowed: {error}")))?;
        let text = |raw: Option<&RawValue>| raw.is_some_and(|raw| raw.get().starts_with('"'));
        let is_id = |raw: &&RawValue| text(Some(raw)) || raw.get().parse::<i64>().is_ok();
        let id = envelope.id.filter(is_id);
        if envelope.id.is_some() && id.is_none() {
            return Err(no_message(None, "`id` must be a string or an integer"));
        }
        if envelope.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
            return Err(no_message(id, "`jsonrpc` must be \"2.0\""));
        }
        if !text(envelope.method) {
            let why = "`method` must be a string: this server asks nothing and takes no answers";
            return Err(no_message(id, why));
        }
        if envelope.params.is_some_and(|params| !params.get().starts_with('{')) {
            return Err(no_message(id, "`params` must be an object"));
        }
        let arguments = envelope.params.and_then(|params| {
            serde_json::from_str::<Params<'_>>(params.get()).unwrap_or_default().arguments
        });
        let waits: Waits = arguments
            .and_then(|arguments| serde_json::from_str(arguments.get()).ok())
            .unwrap_or_default();
        Ok(Self {
            id: id.map(ToOwned::to_owned),
            arguments: arguments.map(|arguments| arguments.to_owned().into()),
            waits: waits.wait_s > Some(0.0) || waits.drain_s > Some(0.0),
        })
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    error: &'a ErrorData,
}

/// The answer that tells an error.
pub(super) fn error_answer(
    status: StatusCode,
    id: Option<&RawValue>,
    error: &ErrorData,
) -> HttpResponse {
    let answer = Answer { jsonrpc: "2.0", id, error };
    let body = serde_json::to_vec(&answer).unwrap_or_default();
    let json = HeaderValue::from_static("application/json");
    HttpResponse::build(status).insert_header((CONTENT_TYPE, json)).body(body)
}

impl NoMessage {
    /// The answer to it: 400, as the input cannot be taken.
    pub(super) fn response(&self) -> HttpResponse {
        error_answer(StatusCode::BAD_REQUEST, self.id.as_deref(), &self.error)
    }

    /// What a client may branch on.
    #[cfg(test)]
    fn code(&self) -> i32 {
        self.error.code.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Message, (i32, Option<String>)> {
        Message::parse(text.as_bytes())
            .map_err(|no| (no.code(), no.id.map(|id| id.get().to_owned())))
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        for (text, code, id) in [
            ("", -32700, None),
            ("{", -32700, None),
            ("{\"jsonrpc\": \"2.0\",}", -32700, None),
            ("[]", -32600, None),
            ("7", -32600, None),
            ("{}", -32600, None),
            (r#"{"jsonrpc": "1.0", "id": 7, "method": "ping"}"#, -32600, Some("7")),
            (r#"{"id": "a", "method": "ping"}"#, -32600, Some("\"a\"")),
            (r#"{"jsonrpc": "2.0", "id": null, "method": "ping"}"#, -32600, None),
            (r#"{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}"#, -32600, None),
            (r#"{"jsonrpc": "2.0", "id": [], "method": "ping"}"#, -32600, None),
            (r#"{"jsonrpc": "2.0", "id": 1}"#, -32600, Some("1")),
            (r#"{"jsonrpc": "2.0", "id": 1, "result": {}}"#, -32600, Some("1")),
            (r#"{"jsonrpc": "2.0", "id": 1, "method": 2}"#, -32600, Some("1")),
            (r#"{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}"#, -32600, Some("1")),
        ] {
            let refused = parse(text).unwrap_err();
            assert_eq!(refused, (code, id.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn a_call_keeps_its_arguments_as_they_came() {
        let text = r#" {"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"t","arguments":{"b":1.0,"a":12345678901234567890123}}} "#;
        let message = parse(text).unwrap();
        assert_eq!(message.id.unwrap().get(), "\"x\"");
        let arguments = message.arguments.unwrap();
        assert_eq!(arguments.get(), r#"{"b":1.0,"a":12345678901234567890123}"#);
        assert!(!message.waits);
    }

    #[test]
    fn a_message_without_an_id_is_a_notification() {
        let message = parse(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap();
        assert!(message.id.is_none() && message.arguments.is_none());
    }

    #[test]
    fn only_a_wait_above_zero_is_one() {
        let waits = |arguments: &str| {
            let params = format!(r#"{{"name":"t","arguments":{arguments}}}"#);
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{params}}}"#);
            parse(&text).unwrap().waits
        };
        assert!(waits(r#"{"task_id":"a","wait_s":0.5}"#));
        assert!(waits(r#"{"drain_s":5}"#));
        for short in ["{}", r#"{"wait_s":0}"#, r#"{"wait_s":null}"#, r#"{"wait_s":"5"}"#, "[]"] {
            assert!(!waits(short), "{short}");
        }
    }
}
