//! The way in: what every request to `/mcp` passes before the protocol sees it, and what its
//! answer passes on the way out.

use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse};
use serde_json::value::RawValue;

use super::message::{Message, error_answer};
use super::{hosts, refusal};
use crate::domain::TraceId;
use crate::http::call::{Permit, Room, trace_of};
use crate::http::problem::{Code, Problem};

/// What a tool gets of the request, beside what the protocol hands it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) trace: TraceId,
    pub(super) arguments: Option<Arc<RawValue>>,
}

/// Lets a request in or answers it, and counts it while it is open.
pub(super) async fn door(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !matches!(request.match_info().unprocessed(), "" | "/") {
        // Below this path is nothing.
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    match enter(&mut request).await {
        Ok(_permit) => Ok(leave(next.call(request).await?.map_into_boxed_body()).await),
        Err(Stopped::Request(problem)) => Ok(request.error_response(problem)),
        Err(Stopped::Message(answer)) => Ok(request.into_response(answer)),
    }
}

/// Why a request was not let in.
enum Stopped {
    /// It cannot be taken at all.
    Request(Problem),
    /// It was read, and is answered as a message.
    Message(HttpResponse),
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        Self::Request(problem)
    }
}

async fn enter(request: &mut ServiceRequest) -> Result<Option<Permit>, Stopped> {
    if request.method() != Method::POST {
        return Err(Problem::method_not_allowed("POST").into());
    }
    let room = Room::of(request.request())?;
    hosts::check(request.headers(), &room.settings().allowed_hosts)?;
    // A refusal must name the message that it refuses, so that the body is read all the same.
    let while_it_is_read = room.admit(false);
    let mut payload = request.take_payload();
    let body = room.body(request.request(), &mut payload).await?.into_bytes();
    let message = Message::parse(&body).map_err(|no| Stopped::Message(no.response()))?;
    let permit = if message.waits { room.admit(true) } else { while_it_is_read };
    let trace = trace_of(request.request());
    let permit = match (permit, &message.id) {
        (Ok(permit), _) => Some(permit),
        // 200, because clients were seen that never ask again after another status.
        (Err(problem), Some(id)) => {
            let error = refusal::error(&problem, Some(&trace));
            return Err(Stopped::Message(error_answer(StatusCode::OK, Some(id), &error)));
        }
        // A notification is only acknowledged.
        (Err(_full), None) => None,
    };
    request.extensions_mut().insert(Asked { trace, arguments: message.arguments });
    request.set_payload(Payload::from(body));
    Ok(permit)
}

/// Gives what the protocol could not take the form of our other problems.
async fn leave(answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = answer.status();
    let given = answer.headers().get(CONTENT_TYPE).and_then(|given| given.to_str().ok());
    let is_message = given.is_some_and(|given| given.starts_with("application/json"));
    let is_problem = answer.response().error().is_some();
    let went_well = !status.is_client_error() && !status.is_server_error();
    if went_well || is_message || is_problem {
        return answer;
    }
    let (request, response) = answer.into_parts();
    let said = to_bytes(response.into_body()).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let (code, detail) = match status {
        StatusCode::NOT_ACCEPTABLE => (
            Code::NotAcceptable,
            "the header Accept must name both application/json and text/event-stream".to_owned(),
        ),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            (Code::UnsupportedMediaType, "a message must be application/json".to_owned())
        }
        _ if status.is_client_error() => {
            let said = said.split_once(": ").map_or(&*said, |(_status, why)| why);
            (Code::UnsupportedProtocol, said.to_owned())
        }
        _ => (Code::Internal, "the tools failed inside".to_owned()),
    };
    ServiceResponse::from_err(Problem::new(code, detail), request)
}
