//! Whether the daemon lives, and whether its pool can do work.

use actix_web::{HttpResponse, http::header::CONTENT_TYPE, http::header::HeaderValue};
use serde_json::json;

use super::answer::{self, Answer};
use super::call::Call;
use super::problem::{Code, Problem};

/// `GET /healthz`. Asks nobody and is never refused.
pub(super) async fn alive() -> HttpResponse {
    let json = HeaderValue::from_static("application/json");
    HttpResponse::Ok().insert_header((CONTENT_TYPE, json)).body(r#"{"status":"ok"}"#)
}

/// `GET /readyz`.
pub(super) async fn ready(call: Call) -> Answer {
    call.no_query()?;
    let reasons = call.pool().readiness().await?.reasons;
    if reasons.is_empty() {
        return answer::ok(&json!({ "status": "ready" }));
    }
    Err(Problem::new(Code::NotReady, reasons.join("; ")).with("reasons", reasons))
}
