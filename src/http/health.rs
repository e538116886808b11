//! Whether the daemon lives, and whether its pool can do work.

use actix_web::{HttpResponse, http::header::CONTENT_TYPE, http::header::HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::call::Call;
use super::openapi::words;
use super::problem::{Code, Problem};
use crate::actors::handle::Readiness;

/// `GET /healthz`. Asks nobody and is never refused.
pub(super) async fn alive() -> HttpResponse {
    let json = HeaderValue::from_static("application/json");
    HttpResponse::Ok().insert_header((CONTENT_TYPE, json)).body(r#"{"status":"ok"}"#)
}

/// A pool that can work.
#[derive(Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(super) struct Ready {
    #[schema(schema_with = words::readiness)]
    status: &'static str,
    /// What waits for a dependency, a sentence each.
    reasons: Vec<String>,
}

/// `GET /readyz`.
pub(super) async fn ready(call: Call) -> Answer {
    call.no_query()?;
    let Readiness { reasons, degraded } = call.pool().readiness().await?;
    if reasons.is_empty() {
        let status = if degraded.is_empty() { "ready" } else { "degraded" };
        return answer::ok(&Ready { status, reasons: degraded });
    }
    Err(Problem::new(Code::NotReady, reasons.join("; ")).with("reasons", reasons))
}
