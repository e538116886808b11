//! The codes of what goes wrong, in one table with their status and title.

use actix_web::http::StatusCode;

/// What a client may branch on. The names are part of the API; the titles and details are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Code {
    ValidationFailed,
    MissingBody,
    InvalidJson,
    BodyUnreadable,
    BodyTooLarge,
    UnsupportedMediaType,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    HostNotAllowed,
    UnsupportedProtocol,
    TaskNotFound,
    AgentNotFound,
    GateNotFound,
    ScheduleNotFound,
    QueueFull,
    GateBacklogFull,
    PoolFull,
    PoolClosing,
    AlreadyFinished,
    StaleAttempt,
    AttemptRequired,
    NotRunning,
    NotExternal,
    StaleIncarnation,
    NotDegraded,
    AgentFailed,
    IdempotencyConflict,
    NotRetryable,
    TooDeep,
    TooManyChildren,
    WouldDeadlock,
    CanaryRunning,
    Draining,
    StoreFull,
    Overloaded,
    NotReady,
    Unavailable,
    NoAnswer,
    Internal,
}

impl Code {
    /// Every code.
    pub(in crate::http) const ALL: [Self; 40] = [
        Self::ValidationFailed,
        Self::MissingBody,
        Self::InvalidJson,
        Self::BodyUnreadable,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::HostNotAllowed,
        Self::UnsupportedProtocol,
        Self::TaskNotFound,
        Self::AgentNotFound,
        Self::GateNotFound,
        Self::ScheduleNotFound,
        Self::QueueFull,
        Self::GateBacklogFull,
        Self::PoolFull,
        Self::PoolClosing,
        Self::AlreadyFinished,
        Self::StaleAttempt,
        Self::AttemptRequired,
        Self::NotRunning,
        Self::NotExternal,
        Self::StaleIncarnation,
        Self::NotDegraded,
        Self::AgentFailed,
        Self::IdempotencyConflict,
        Self::NotRetryable,
        Self::TooDeep,
        Self::TooManyChildren,
        Self::WouldDeadlock,
        Self::CanaryRunning,
        Self::Draining,
        Self::StoreFull,
        Self::Overloaded,
        Self::NotReady,
        Self::Unavailable,
        Self::NoAnswer,
        Self::Internal,
    ];

    /// The name on the wire.
    pub(in crate::http) const fn name(self) -> &'static str {
        self.row().0
    }

    /// The name, the status and the title.
    pub(in crate::http) const fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::ValidationFailed => {
                ("validation_failed", S::UNPROCESSABLE_ENTITY, "A value is not allowed")
            }
            Self::MissingBody => ("missing_body", S::UNPROCESSABLE_ENTITY, "A body is needed"),
            Self::InvalidJson => ("invalid_json", S::BAD_REQUEST, "The body is not JSON"),
            Self::BodyUnreadable => {
                ("body_unreadable", S::BAD_REQUEST, "The body could not be read")
            }
            Self::BodyTooLarge => ("body_too_large", S::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", S::UNSUPPORTED_MEDIA_TYPE, "The body is no JSON")
            }
            Self::NotFound => ("not_found", S::NOT_FOUND, "There is nothing at this path"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", S::METHOD_NOT_ALLOWED, "The method is not allowed here")
            }
            Self::NotAcceptable => {
                ("not_acceptable", S::NOT_ACCEPTABLE, "The answer would not be taken")
            }
            Self::HostNotAllowed => {
                ("host_not_allowed", S::FORBIDDEN, "The host is not one of this daemon")
            }
            Self::UnsupportedProtocol => {
                ("unsupported_protocol", S::BAD_REQUEST, "This protocol is not spoken here")
            }
            Self::TaskNotFound => ("task_not_found", S::NOT_FOUND, "There is no such task"),
            Self::AgentNotFound => ("agent_not_found", S::NOT_FOUND, "There is no such agent"),
            Self::GateNotFound => ("gate_not_found", S::NOT_FOUND, "There is no such gate"),
            Self::ScheduleNotFound => {
                ("schedule_not_found", S::NOT_FOUND, "There is no such schedule")
            }
            Self::GateBacklogFull => {
                ("gate_backlog_full", S::TOO_MANY_REQUESTS, "The backlog of the gate is full")
            }
            Self::QueueFull => ("queue_full", S::TOO_MANY_REQUESTS, "The queue is full"),
            Self::PoolFull => ("pool_full", S::SERVICE_UNAVAILABLE, "The pool is full"),
            Self::PoolClosing => ("pool_closing", S::CONFLICT, "The pool is being shut down"),
            Self::AlreadyFinished => ("already_finished", S::CONFLICT, "The task has ended"),
            Self::StaleAttempt => ("stale_attempt", S::CONFLICT, "The attempt has ended"),
            Self::AttemptRequired => ("attempt_required", S::CONFLICT, "The attempt must be named"),
            Self::NotRunning => ("not_running", S::CONFLICT, "No agent has the task"),
            Self::NotExternal => ("not_external", S::CONFLICT, "Only for external agents"),
            Self::StaleIncarnation => {
                ("stale_incarnation", S::CONFLICT, "The incarnation has ended")
            }
            Self::NotDegraded => ("not_degraded", S::CONFLICT, "The agent is not degraded"),
            Self::AgentFailed => ("agent_failed", S::CONFLICT, "The agent was failed"),
            Self::IdempotencyConflict => {
                ("idempotency_conflict", S::CONFLICT, "The key was used for something else")
            }
            Self::NotRetryable => {
                ("not_retryable", S::CONFLICT, "The task did not fail and was not cancelled")
            }
            Self::TooDeep => ("too_deep", S::CONFLICT, "Children stand too far below"),
            Self::TooManyChildren => {
                ("too_many_children", S::CONFLICT, "The attempt has too many children")
            }
            Self::WouldDeadlock => {
                ("would_deadlock", S::CONFLICT, "No agent would be left to run children")
            }
            Self::CanaryRunning => ("canary_running", S::CONFLICT, "The canary runs already"),
            Self::StoreFull => ("store_full", S::SERVICE_UNAVAILABLE, "The disk is nearly full"),
            Self::Draining => ("draining", S::SERVICE_UNAVAILABLE, "The daemon is stopping"),
            Self::Overloaded => ("overloaded", S::SERVICE_UNAVAILABLE, "Too many calls are open"),
            Self::NotReady => ("not_ready", S::SERVICE_UNAVAILABLE, "The pool cannot do work"),
            Self::Unavailable => ("unavailable", S::SERVICE_UNAVAILABLE, "The pool is not there"),
            Self::NoAnswer => ("no_answer", S::GATEWAY_TIMEOUT, "No answer came in time"),
            Self::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "The daemon made a mistake"),
        }
    }

    /// What a client is told to wait before it tries again, in seconds, when nothing better is
    /// known. Every 429 and 503 says so.
    pub(super) const fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::Overloaded => Some(1),
            Self::QueueFull
            | Self::GateBacklogFull
            | Self::PoolFull
            | Self::NotReady
            | Self::Unavailable => Some(5),
            Self::Draining | Self::StoreFull => Some(10),
            Self::ValidationFailed
            | Self::MissingBody
            | Self::InvalidJson
            | Self::BodyUnreadable
            | Self::BodyTooLarge
            | Self::UnsupportedMediaType
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::NotAcceptable
            | Self::HostNotAllowed
            | Self::UnsupportedProtocol
            | Self::TaskNotFound
            | Self::AgentNotFound
            | Self::GateNotFound
            | Self::ScheduleNotFound
            | Self::PoolClosing
            | Self::AlreadyFinished
            | Self::StaleAttempt
            | Self::AttemptRequired
            | Self::NotRunning
            | Self::NotExternal
            | Self::StaleIncarnation
            | Self::NotDegraded
            | Self::AgentFailed
            | Self::IdempotencyConflict
            | Self::NotRetryable
            | Self::TooDeep
            | Self::TooManyChildren
            | Self::WouldDeadlock
            | Self::CanaryRunning
            | Self::NoAnswer
            | Self::Internal => None,
        }
    }
}
