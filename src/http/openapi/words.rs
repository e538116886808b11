//! Single values of bodies, queries and answers, as schemas. Their limits and names are those that
//! the code goes by.

use std::ops::RangeInclusive;

use serde_json::{Value, json};
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{ArrayBuilder, Object, ObjectBuilder, Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::{IdempotencyKey, Overlap, Priority, TaskStatus, TaskType, TraceId};
use crate::http::agents::{LEASE_S, MAX_REASON};
use crate::http::complete::{MAX_CODE_CHARS, MAX_MESSAGE_CHARS};
use crate::http::pool::MAX_DRAIN_S;
use crate::http::retry::RETRYABLE;
use crate::http::tasks::{DEFAULT_LIMIT, LIMIT, MAX_TIMEOUT_S, WAIT_S};

// What a client may say. In bodies `null` is the same as nothing.

pub(in crate::http) fn payload() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("The work itself, for the agent alone."))
        .build()
}

pub(in crate::http) fn new_task_type() -> Object {
    let says = "What sort of work it is; routing learns per type which agent is fastest.";
    let names = TaskType::ALL.map(TaskType::name);
    with_default(TaskType::default().name(), or_null(one_of(&names).description(Some(says))))
}

pub(in crate::http) fn preferred_agent_id() -> Object {
    let says = "The agent that should get it if it is idle; an unknown one is passed over, and a \
                preference never waits.";
    or_null(text().description(Some(says)))
}

pub(in crate::http) fn parent_task_id() -> Object {
    let says = "The task in progress that hands this one out.";
    or_null(text().description(Some(says)))
}

pub(in crate::http) fn detach() -> Object {
    let says = "Whether it goes on when the attempt that handed it out does not complete; only with \
                a parent.";
    with_default(false, or_null(boolean().description(Some(says))))
}

pub(in crate::http) fn priority() -> Object {
    let says = "The highest goes first, strictly.";
    let range = Priority::MIN..=Priority::MAX;
    with_default(Priority::default().get(), or_null(integer_of(range).description(Some(says))))
}

pub(in crate::http) fn timeout_s() -> Object {
    let says = "How many seconds one attempt may take, from its assignment; without it, what is \
                configured for the type, or for all.";
    or_null(
        number().exclusive_minimum(Some(0)).maximum(Some(MAX_TIMEOUT_S)).description(Some(says)),
    )
}

pub(in crate::http) fn idempotency_key() -> Object {
    let says = "Makes the submit safe to repeat: the same key with the same content is the same \
                task, with other content it is refused. No control characters.";
    or_null(
        text()
            .min_length(Some(1))
            .max_length(Some(IdempotencyKey::MAX_CHARS))
            .pattern(Some(r"^[^\u0000-\u001f\u007f-\u009f]*$"))
            .description(Some(says)),
    )
}

pub(in crate::http) fn result() -> Object {
    let says = "What the agent found; only with success.";
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some(says)).build()
}

pub(in crate::http) fn error_code() -> Object {
    let says = "Stable, for programs.";
    let code = text().min_length(Some(1)).max_length(Some(MAX_CODE_CHARS));
    with_default("failed", or_null(code.description(Some(says))))
}

pub(in crate::http) fn error_message() -> Object {
    let says = "A sentence for a person.";
    or_null(text().max_length(Some(MAX_MESSAGE_CHARS)).description(Some(says)))
}

pub(in crate::http) fn retryable() -> Object {
    let says = "Whether trying again may help.";
    with_default(false, or_null(boolean().description(Some(says))))
}

pub(in crate::http) fn new_agent_kind() -> Object {
    let says = "Whether the daemon starts a process, or a program elsewhere fetches the work; \
                without it, `worker.kind` of the configuration.";
    or_null(kind().description(Some(says)))
}

pub(in crate::http) fn lease_s() -> Object {
    let says = "Only for external agents: how many seconds the agent counts as there after each \
                of its calls; without it, always.";
    or_null(number_of(LEASE_S).description(Some(says)))
}

pub(in crate::http) fn task_types() -> RefOr<Schema> {
    let says = "What it takes; without it, everything.";
    let types = ArrayBuilder::new()
        .items(Ref::from_schema_name(<TaskType as ToSchema>::name()))
        .min_items(Some(1))
        .description(Some(says));
    types.schema_type(SchemaType::from_iter([Type::Array, Type::Null])).into()
}

pub(in crate::http) fn reason() -> Object {
    let says = "Why, for people.";
    or_null(text().max_length(Some(MAX_REASON)).description(Some(says)))
}

/// The largest is `pool.max_size`, which the document knows when it is written.
pub(in crate::http) fn pool_size() -> Object {
    let says = "How many agents there should be at least; without it, `pool.size`.";
    or_null(integer_of(1..=i64::MAX).description(Some(says)))
}

// Queries.

pub(super) fn wait_s() -> Object {
    with_default(0, number_of(WAIT_S).build())
}

pub(super) fn drain_s() -> Object {
    number_of(0.0..=MAX_DRAIN_S).build()
}

pub(super) fn flag() -> Object {
    boolean().build()
}

pub(super) fn counter() -> Object {
    integer_of(1..=i64::from(u32::MAX)).build()
}

pub(super) fn limit() -> Object {
    with_default(DEFAULT_LIMIT, integer_of(LIMIT).build())
}

pub(super) fn cursor() -> Object {
    text().pattern(Some("^[0-9]{1,19}$")).build()
}

pub(super) fn status() -> Object {
    one_of(&TaskStatus::ALL.map(TaskStatus::name)).build()
}

pub(super) fn retried_status() -> Object {
    with_default(RETRYABLE[0].name(), one_of(&RETRYABLE.map(TaskStatus::name)).build())
}

pub(super) fn task_type() -> Object {
    one_of(&TaskType::ALL.map(TaskType::name)).build()
}

pub(super) fn id() -> Object {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))).build()
}

pub(super) fn name() -> Object {
    text().pattern(Some("^[a-z0-9_-]{1,64}$")).build()
}

// Of answers.

pub(in crate::http) fn overlap() -> Object {
    let says = "What happens when it is due and its last task has not ended.";
    one_of(&Overlap::ALL.map(Overlap::name)).description(Some(says)).build()
}

pub(in crate::http) fn agent_kind() -> Object {
    kind().build()
}

pub(in crate::http) fn removed() -> Object {
    one_of(&["removed"]).build()
}

pub(in crate::http) fn degraded() -> Object {
    one_of(&["degraded"]).build()
}

pub(in crate::http) fn initialized() -> Object {
    one_of(&["initialized"]).build()
}

pub(in crate::http) fn readiness() -> Object {
    one_of(&["ready", "degraded"]).build()
}

pub(in crate::http) fn shutdown_completed() -> Object {
    one_of(&["shutdown_completed"]).build()
}

impl PartialSchema for Priority {
    fn schema() -> RefOr<Schema> {
        integer_of(Self::MIN..=Self::MAX).build().into()
    }
}

impl ToSchema for Priority {}

impl PartialSchema for TraceId {
    fn schema() -> RefOr<Schema> {
        let trace = text().min_length(Some(1)).max_length(Some(Self::MAX_LEN));
        trace.pattern(Some("^[0-9A-Za-z_-]+$")).build().into()
    }
}

impl ToSchema for TraceId {}

// What these are made of.

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn number() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Number)
}

fn boolean() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

fn number_of(range: RangeInclusive<f64>) -> ObjectBuilder {
    number().minimum(Some(*range.start())).maximum(Some(*range.end()))
}

fn integer_of(range: RangeInclusive<i64>) -> ObjectBuilder {
    let integer = ObjectBuilder::new().schema_type(Type::Integer);
    integer.minimum(Some(*range.start())).maximum(Some(*range.end()))
}

fn one_of(names: &[&'static str]) -> ObjectBuilder {
    text().enum_values(Some(names.iter().copied()))
}

fn kind() -> ObjectBuilder {
    one_of(&["process", "external"])
}

fn with_default(default: impl Into<Value>, mut object: Object) -> Object {
    object.default = Some(default.into());
    object
}

/// The same, or `null`.
fn or_null(object: ObjectBuilder) -> Object {
    let mut object = object.build();
    if let SchemaType::Type(only) = &object.schema_type {
        object.schema_type = SchemaType::from_iter([only.clone(), Type::Null]);
    }
    if let Some(values) = &mut object.enum_values {
        values.push(json!(null));
    }
    object
}
