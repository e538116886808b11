//! What the pool measures of itself.

use actix_web::HttpRequest;
use actix_web::web::Data;

use super::answer::Answer;
use super::call::Call;
use super::meter::Meter;
use super::prometheus;

/// `GET /metrics`.
pub(super) async fn metrics(call: Call, request: HttpRequest, meter: Data<Meter>) -> Answer {
    call.no_query()?;
    prometheus::answer(&request, call.pool().metrics().await?, &meter)
}
