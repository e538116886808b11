//! How requests are refused: which codes each of them can meet, and what a refusal is.

use std::collections::{BTreeMap, BTreeSet};

use utoipa::openapi::schema::{SchemaFormat, SchemaType};
use utoipa::openapi::{HttpMethod, Object, ObjectBuilder, Ref};

use super::build::{integer, string};
use super::operation::{Operation, Reach};
use crate::http::problem::{Code, EXTRA_MEMBERS};

/// What every request can meet that goes to the edge, to the pool, or brings a body.
const OF_THE_EDGE: [Code; 3] = [Code::ValidationFailed, Code::Overloaded, Code::Internal];
const OF_THE_POOL: [Code; 2] = [Code::Unavailable, Code::NoAnswer];
const OF_BODIES: [Code; 4] =
    [Code::InvalidJson, Code::BodyUnreadable, Code::BodyTooLarge, Code::UnsupportedMediaType];

/// The names of the codes that an operation can answer, by status.
pub(super) fn by_status(of: &Operation) -> BTreeMap<u16, BTreeSet<&'static str>> {
    let mut codes = of.refusals.to_vec();
    if of.reach != Reach::Nowhere {
        codes.extend(OF_THE_EDGE);
    }
    if of.reach == Reach::Pool {
        codes.extend(OF_THE_POOL);
    }
    if of.method != HttpMethod::Get {
        codes.extend(OF_BODIES);
    }
    if of.body.is_some_and(|(_, required)| required) {
        codes.push(Code::MissingBody);
    }
    let mut by_status = BTreeMap::<_, BTreeSet<_>>::new();
    for code in codes {
        let (name, status, _) = code.row();
        by_status.entry(status.as_u16()).or_default().insert(name);
    }
    by_status
}

/// What every refusal is.
pub(super) fn problem() -> Object {
    let names = Code::ALL.map(|code| code.row().0);
    let mut problem = ObjectBuilder::new()
        .description(Some("Why a request was not done (RFC 9457)."))
        .property("type", string().format(Some(SchemaFormat::Custom("uri".to_owned()))))
        .property("title", string().description(Some("The code as a sentence.")))
        .property("status", integer().minimum(Some(400)).maximum(Some(599)))
        .property("detail", string().description(Some("What was wrong, and what to do.")))
        .property("code", string().enum_values(Some(names)))
        .property("trace_id", Ref::from_schema_name("TraceId"));
    for name in ["type", "title", "status", "detail", "code", "trace_id"] {
        problem = problem.required(name);
    }
    for (name, says) in EXTRA_MEMBERS {
        let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        problem = problem.property(name, any.description(Some(says)));
    }
    problem.build()
}
