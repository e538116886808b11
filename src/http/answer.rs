//! Answers that went well.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use super::problem::{Code, Problem};
use crate::domain::{Now, SECOND_US};

/// What a handler gives back.
pub(super) type Answer = Result<HttpResponse, Problem>;

/// Most answers are shorter than this.
const USUAL_BYTES: usize = 256;

/// 200 with this body.
pub(super) fn ok(body: &impl Serialize) -> Answer {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, body)
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let json = HeaderValue::from_static("application/json");
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, json)).body(bytes))
}

/// A moment as the API shows it: Unix seconds.
pub(super) fn unix_seconds(at: Now) -> f64 {
    seconds(at.wall_us)
}

/// Microseconds as seconds.
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / SECOND_US as f64
}
