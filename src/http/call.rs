//! A call: one request on its way through a handler, counted while it is open.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::rt::time::timeout;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::body::Body;
use super::problem::{Code, Problem};
use super::query;
use super::server::HttpSettings;
use crate::actors::handle::PoolHandle;
use crate::domain::{AgentId, Refusal, TaskId, TraceId};

/// What the handlers of one worker thread share.
pub(super) struct Room {
    pool: PoolHandle,
    settings: Arc<HttpSettings>,
    bounds: Arc<Bounds>,
}

impl Room {
    pub(super) const fn new(
        pool: PoolHandle,
        settings: Arc<HttpSettings>,
        bounds: Arc<Bounds>,
    ) -> Self {
        Self { pool, settings, bounds }
    }

    /// The room that the request came to.
    pub(super) fn of(request: &HttpRequest) -> Result<Rc<Self>, Problem> {
        let lost = || Problem::new(Code::Internal, "the handler was not given its pool");
        request.app_data::<Rc<Self>>().map(Rc::clone).ok_or_else(lost)
    }

    /// The configuration.
    pub(super) fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// A place among the open calls, or among those that wait.
    pub(super) fn admit(&self, long: bool) -> Result<Permit, Problem> {
        self.bounds.admit(long)
    }

    /// Reads the body of a request, which has as long to arrive as a call may take: until then it
    /// holds a place among the open calls.
    pub(super) async fn body(
        &self,
        request: &HttpRequest,
        payload: &mut Payload,
    ) -> Result<Body, Problem> {
        let HttpSettings { max_body_bytes, call_timeout, .. } = *self.settings;
        let read = Body::read(request, payload, max_body_bytes);
        timeout(call_timeout, read).await.unwrap_or_else(|_elapsed| {
            let within = call_timeout.as_secs_f64();
            let detail = format!(
                "the body did not arrive whole within {within} s, which is http.call_timeout_s"
            );
            Err(Problem::new(Code::BodyUnreadable, detail))
        })
    }
}

/// The trace of a request.
pub(super) fn trace_of(request: &HttpRequest) -> TraceId {
    let given = request.extensions().get::<TraceId>().cloned();
    given.unwrap_or_else(|| TraceId::from_uuid(Uuid::new_v4()))
}

/// How many calls are open, over all worker threads.
#[derive(Debug)]
pub(super) struct Bounds {
    most: usize,
    short: AtomicUsize,
    long: AtomicUsize,
}

impl Bounds {
    /// At most so many of each sort.
    pub(super) const fn new(most: usize) -> Self {
        Self { most, short: AtomicUsize::new(0), long: AtomicUsize::new(0) }
    }

    const fn count(&self, long: bool) -> &AtomicUsize {
        if long { &self.long } else { &self.short }
    }

    fn admit(self: &Arc<Self>, long: bool) -> Result<Permit, Problem> {
        let before = self.count(long).fetch_add(1, Ordering::Relaxed);
        let permit = Permit { bounds: Arc::clone(self), long };
        if before < self.most {
            return Ok(permit);
        }
        let (most, sort) = (self.most, if long { "waiting calls" } else { "calls" });
        let detail = format!("{most} {sort} are open already, which is http.max_in_flight");
        Err(Problem::new(Code::Overloaded, detail))
    }
}

/// Counts a call until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    bounds: Arc<Bounds>,
    long: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.bounds.count(self.long).fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request in its handler.
pub(super) struct Call {
    request: HttpRequest,
    payload: Payload,
    room: Rc<Room>,
    _permit: Permit,
}

impl FromRequest for Call {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Self::admit(request, payload))
    }
}

impl Call {
    fn admit(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Problem> {
        let room = Room::of(request)?;
        let long = query::says_to_wait(request.query_string());
        Ok(Self {
            _permit: room.admit(long)?,
            room,
            request: request.clone(),
            payload: payload.take(),
        })
    }

    /// The pool.
    pub(super) fn pool(&self) -> &PoolHandle {
        &self.room.pool
    }

    /// The configuration.
    pub(super) fn settings(&self) -> &HttpSettings {
        &self.room.settings
    }

    /// The trace of the request.
    pub(super) fn trace(&self) -> TraceId {
        trace_of(&self.request)
    }

    /// The task of the path. What cannot be an id is the id of nothing.
    pub(super) fn task_id(&self) -> Result<TaskId, Problem> {
        TaskId::parse(self.id()).ok_or_else(|| Refusal::TaskNotFound.into())
    }

    /// The agent of the path. What cannot be an id is the id of nothing.
    pub(super) fn agent_id(&self) -> Result<AgentId, Problem> {
        AgentId::parse(self.id()).ok_or_else(|| Refusal::AgentNotFound.into())
    }

    fn id(&self) -> &str {
        self.request.match_info().get("id").unwrap_or_default()
    }

    /// The name in the path.
    pub(super) fn name(&self) -> &str {
        self.request.match_info().query("name")
    }

    /// The query, as text per name; names that `Q` does not have are refused.
    pub(super) fn query<Q: DeserializeOwned + Default>(&self) -> Result<Q, Problem> {
        query::parse(self.request.query_string())
    }

    /// Refuses any query at all.
    pub(super) fn no_query(&self) -> Result<(), Problem> {
        self.query::<query::Nothing>().map(|query::Nothing {}| ())
    }

    /// Reads the body. Handlers do this first: an answer before the body was read ends the
    /// connection.
    pub(super) async fn body(&mut self) -> Result<Body, Problem> {
        self.room.body(&self.request, &mut self.payload).await
    }

    /// Reads a body that has nothing to say: none, or an empty object.
    pub(super) async fn no_body(&mut self) -> Result<(), Problem> {
        self.body().await?.optional::<query::Nothing>().map(|query::Nothing {}| ())
    }
}

/// A duration of the API in seconds.
pub(super) fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_past_the_bound_are_refused_and_give_their_place_back() {
        let bounds = Arc::new(Bounds::new(2));
        let first = bounds.admit(false).unwrap();
        let _second = bounds.admit(false).unwrap();
        let refusal = bounds.admit(false).unwrap_err();
        assert_eq!(refusal.code(), Code::Overloaded);
        let _waits = bounds.admit(true).expect("long polls are counted apart");
        drop(first);
        bounds.admit(false).expect("a call has ended, and the refused one holds nothing");
    }
}
