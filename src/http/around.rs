//! What every request has around it: a trace, an answer that names it, a log line, and its time.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use actix_web::rt::time::Instant;
use slog::{Drain, Level, Logger, error, info};

use super::meter::{Meter, RouteMeter};
use super::problem::{Code, Problem};
use super::trace::{X_TRACE_ID, trace_of};
use crate::domain::TraceId;

/// The same for all requests of a worker thread.
pub(super) struct Around {
    log: Logger,
    /// Asked for so often that it is not logged.
    silent_path: String,
    meter: Arc<Meter>,
}

/// A request that has begun.
pub(super) struct Begun {
    around: Rc<Around>,
    trace: TraceId,
    at: Instant,
    logged: bool,
}

impl Around {
    /// For paths that begin with `base_path`.
    pub(super) fn new(log: Logger, base_path: &str, meter: Arc<Meter>) -> Self {
        Self { log, silent_path: format!("{base_path}/healthz"), meter }
    }

    /// Gives a request its trace.
    pub(super) fn begin(self: Rc<Self>, request: &ServiceRequest) -> Begun {
        let trace = trace_of(request.headers());
        request.extensions_mut().insert(trace.clone());
        let logged = self.log.is_enabled(Level::Info) && request.path() != self.silent_path;
        Begun { at: Instant::now(), logged, around: self, trace }
    }
}

impl Begun {
    /// Writes the body of a problem, names the trace, counts the request and writes its log line.
    pub(super) fn end(self, answer: ServiceResponse) -> ServiceResponse {
        let mut answer = self.with_problem(answer);
        if let Ok(trace) = HeaderValue::from_str(self.trace.as_str()) {
            answer.headers_mut().insert(X_TRACE_ID, trace);
        }
        let took = self.at.elapsed();
        self.measure(&answer, took);
        if self.logged {
            self.write_line(&answer, took);
        }
        answer
    }

    fn with_problem(&self, answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        let Some(error) = answer.response().error() else { return answer };
        let shown = match error.as_error::<Problem>() {
            Some(problem) => problem.response(&self.trace),
            None => self.foreign(answer.status(), error).response(&self.trace),
        };
        answer.into_response(shown)
    }

    /// An error that is not ours: of the framework below.
    fn foreign(&self, status: StatusCode, cause: &actix_web::Error) -> Problem {
        if status.is_client_error() {
            return Problem::new(Code::BodyUnreadable, cause.to_string());
        }
        error!(self.around.log, "request_failed";
            "trace_id" => self.trace.as_str(), "error" => %cause);
        Problem::new(Code::Internal, "something failed inside; the log has more under this trace")
    }

    fn measure(&self, answer: &ServiceResponse, took: Duration) {
        let request = answer.request();
        let route = request.app_data::<Arc<RouteMeter>>().map(|route| &**route);
        let route = route.unwrap_or_else(|| self.around.meter.nowhere());
        route.add(request.method(), answer.status(), took);
    }

    fn write_line(&self, answer: &ServiceResponse, took: Duration) {
        let request = answer.request();
        info!(self.around.log, "request";
            "method" => request.method().as_str(), "path" => request.path(),
            "response_code" => answer.status().as_u16(),
            "latency_us" => u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "trace_id" => self.trace.as_str());
    }
}
