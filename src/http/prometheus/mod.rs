//! The numbers as text for Prometheus, when a client asks for that.

mod accept;
mod families;

use std::fmt;

use actix_web::http::header::{CONTENT_TYPE, HeaderValue, VARY};
use actix_web::{HttpRequest, HttpResponse};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use super::answer::{self, Answer};
use super::meter::Meter;
use super::problem::{Code, Problem};
use crate::domain::Metrics;
use accept::Form;
use families::Moment;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What stands before the name of each metric.
const PREFIX: &str = "daedalus";

/// The numbers in the form that the client likes best.
pub(super) fn answer(request: &HttpRequest, metrics: Metrics, meter: &Meter) -> Answer {
    let form = accept::best(request);
    let mut answer = if form == Form::Json {
        answer::ok(&metrics)?
    } else {
        let media_type =
            if form == Form::Text { prometheus_text::CONTENT_TYPE } else { OPENMETRICS };
        let shown = shown(form, Moment::new(metrics, meter));
        let shown = shown.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        HttpResponse::Ok().insert_header((CONTENT_TYPE, media_type)).body(shown)
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(answer)
}

fn shown(form: Form, moment: Moment) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(moment));
    let mut shown = String::new();
    if form == Form::OpenMetrics {
        text::encode(&mut shown, &registry)?;
    } else {
        prometheus_text::encode(&mut shown, &registry)?;
    }
    Ok(shown)
}
