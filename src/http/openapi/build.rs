//! Makes the document of the table of operations.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use utoipa::PartialSchema;
use utoipa::openapi::header::Header;
use utoipa::openapi::info::{Info, License};
use utoipa::openapi::link::{Link, LinkBuilder};
use utoipa::openapi::path::{self, Parameter, ParameterIn, Paths};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder, SchemaType, Type};
use utoipa::openapi::server::Server;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    AllOfBuilder, ArrayBuilder, Components, Content, Object, ObjectBuilder, OpenApi, Ref, RefOr,
    Required, Response, ResponseBuilder, Schema,
};

use super::members;
use super::operation::{Operation, Part, Shows};
use super::operations::operations;
use super::problems::{by_status, problem};
use super::words;
use crate::domain::{AgentKind, TraceId};
use crate::http::problem::PROBLEM_JSON;
use crate::http::server::HttpSettings;

const JSON: &str = "application/json";
/// Members of answers that may be absent; every other one is always there, if only as `null`.
const MAY_BE_ABSENT: [(&str, &str); 1] = [("Decision", "preference")];

/// The whole document.
pub(super) fn document(settings: &HttpSettings) -> OpenApi {
    let mut components = Parts::default();
    let mut paths = Paths::new();
    let operations = operations();
    for operation in &operations {
        let shown = components.operation(operation, &operations);
        paths.add_path_operation(operation.path, vec![operation.method.clone()], shown);
    }
    let components = components.finish(settings);
    let mut openapi = OpenApi::new(info(), paths);
    let base = if settings.base_path.is_empty() { "/" } else { &settings.base_path };
    openapi.servers = Some(vec![Server::new(base)]);
    openapi.components = Some(components);
    let tag = |(name, says)| TagBuilder::new().name(name).description(Some(says)).build();
    openapi.tags = Some(TAGS.map(tag).into());
    openapi
}

const TAGS: [(&str, &str); 6] = [
    ("tasks", "Units of work: submitted, given to agents, ended once."),
    ("pool", "All agents together."),
    ("agents", "Who does the work: processes of the daemon, and programs elsewhere."),
    ("gates", "Dependencies that some task types need, and what waits for them."),
    ("schedules", "Tasks that the daemon submits again and again."),
    ("daemon", "Numbers, reports, health."),
];

fn info() -> Info {
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").to_owned());
    let mut info = Info::new("Daedalus", env!("CARGO_PKG_VERSION"));
    info.license = Some(license);
    info.description = Some(
        "A daemon that coordinates a pool of worker agents on one machine.\n\n\
         A request belongs to the trace of its `traceparent` (W3C), else of its `X-Trace-Id`, else \
         to a new one; every answer names it. A refusal is a problem (RFC 9457); its `code` is for \
         programs and stable. Whatever is refused changed nothing, but `no_answer` and \
         `unavailable` are no refusals: the call may have taken effect. Every `GET` but that of an \
         assignment also answers `HEAD`."
            .to_owned(),
    );
    info
}

/// What operations share.
#[derive(Default)]
struct Parts {
    schemas: BTreeMap<String, RefOr<Schema>>,
    refusals: BTreeMap<String, Response>,
}

impl Parts {
    fn operation(&mut self, of: &Operation, all: &[Operation]) -> path::Operation {
        let mut shown = path::OperationBuilder::new()
            .operation_id(Some(of.id))
            .tag(of.tag())
            .summary(Some(of.summary));
        if !of.says.is_empty() {
            shown = shown.description(Some(of.says));
        }
        if of.path.contains("{id}") {
            let says = "What cannot be an id is the id of nothing.";
            shown = shown.parameter(parameter("id", ParameterIn::Path, words::id(), says));
        }
        if of.path.contains("{name}") {
            let says = "The name in the configuration.";
            shown = shown.parameter(parameter("name", ParameterIn::Path, words::name(), says));
        }
        for query in of.query {
            let schema = (query.schema)();
            shown = shown.parameter(parameter(query.name, ParameterIn::Query, schema, query.says));
        }
        if let Some((part, required)) = of.body {
            let required = if required { Required::True } else { Required::False };
            let content = Content::new(Some(self.refer(part)));
            let body = RequestBodyBuilder::new().content(JSON, content).required(Some(required));
            shown = shown.request_body(Some(body.build()));
        }
        let done = links(of, all)
            .into_iter()
            .fold(self.done(of), |done, (name, link)| done.link(name, link));
        shown = shown.response("200", traced(done));
        if let Some(says) = of.nothing {
            shown = shown.response("204", traced(ResponseBuilder::new().description(says)));
        }
        for (status, codes) in by_status(of) {
            let name = self.refusal(status, &codes);
            shown = shown.response(status.to_string(), Ref::from_response_name(name));
        }
        shown.build()
    }

    fn done(&mut self, of: &Operation) -> ResponseBuilder {
        let done = ResponseBuilder::new().description(of.done);
        let (schema, texts): (RefOr<Schema>, &[&str]) = match of.shows {
            Shows::One(part) => (self.refer(part).into(), &[]),
            Shows::List(part) => (ArrayBuilder::new().items(self.refer(part)).build().into(), &[]),
            Shows::Status(word) => {
                let word = string().enum_values(Some([word]));
                let object = ObjectBuilder::new().property("status", word).required("status");
                (object.build().into(), &[])
            }
            Shows::Metrics(part) => {
                (self.refer(part).into(), &["text/plain", "application/openmetrics-text"])
            }
            Shows::Document => (ObjectBuilder::new().build().into(), &[]),
        };
        let done = done.content(JSON, Content::new(Some(schema)));
        let text = |done: ResponseBuilder, media_type: &&str| {
            done.content(*media_type, Content::new(Some(string().build())))
        };
        texts.iter().fold(done, text)
    }

    /// Takes a type in and says where it is.
    fn refer(&mut self, part: Part) -> Ref {
        let name = (part.name)();
        if !self.schemas.contains_key(&*name) {
            let mut parts = Vec::new();
            (part.parts)(&mut parts);
            self.schemas.extend(parts);
            self.schemas.insert(name.to_string(), (part.schema)());
        }
        Ref::from_schema_name(name)
    }

    /// Takes an answer in that says one of these codes, and says how it is called.
    fn refusal(&mut self, status: u16, codes: &BTreeSet<&'static str>) -> String {
        let codes: Vec<_> = codes.iter().copied().collect();
        let name = codes.join("-");
        if !self.refusals.contains_key(&name) {
            let one_of = ObjectBuilder::new()
                .property("code", string().enum_values(Some(codes.iter().copied())))
                .property("status", integer().enum_values(Some([status])));
            let schema = AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(one_of);
            let says = codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ");
            let mut refusal = ResponseBuilder::new()
                .description(says)
                .content(PROBLEM_JSON, Content::new(Some(Schema::AllOf(schema.build()))));
            if matches!(status, 429 | 503) {
                let mut header = Header::new(integer().minimum(Some(1)).build());
                header.description = Some("When to try again, in seconds.".to_owned());
                refusal = refusal.header("Retry-After", header);
            }
            self.refusals.insert(name.clone(), traced(refusal));
        }
        name
    }

    fn finish(mut self, settings: &HttpSettings) -> Components {
        self.schemas.insert("Problem".to_owned(), problem().into());
        for (name, schema) in &mut self.schemas {
            say_what_is_there(name, schema);
            members::describe(name, schema);
        }
        if let Some(RefOr::T(Schema::Object(pool))) = self.schemas.get_mut("WantedPool")
            && let Some(RefOr::T(Schema::Object(size))) = pool.properties.get_mut("size")
        {
            size.maximum = Some(settings.max_pool_size.into());
        }
        if let Some(RefOr::T(agent)) = self.schemas.remove("NewAgent") {
            let agent = AllOfBuilder::new().item(agent).item(no_lease_of_a_process(settings));
            self.schemas.insert("NewAgent".to_owned(), Schema::AllOf(agent.build()).into());
        }
        let mut components = Components::new();
        components.schemas = self.schemas.into_iter().collect();
        let refusals = self.refusals.into_iter();
        components.responses = refusals.map(|(name, refusal)| (name, refusal.into())).collect();
        components
    }
}

/// What can be done next, with the id that the answer names.
fn links(of: &Operation, all: &[Operation]) -> Vec<(&'static str, Link)> {
    let Some((paths, member)) = of.leads else { return Vec::new() };
    let next = all.iter().filter(|next| next.path.starts_with(paths));
    let link = |next: &Operation| {
        let id = format!("$response.body#/{member}");
        (next.id, LinkBuilder::new().operation_id(next.id).parameter("id", id).build())
    };
    next.map(link).collect()
}

/// Only external agents have leases. Which kind is meant when the body does not say is configured.
fn no_lease_of_a_process(settings: &HttpSettings) -> Schema {
    let external = ObjectBuilder::new();
    let external = if settings.default_kind == AgentKind::Process {
        external.property("kind", one_of(vec!["external".into()])).required("kind")
    } else {
        external.property("kind", one_of(vec!["external".into(), Value::Null]))
    };
    let no_lease =
        ObjectBuilder::new().property("lease_s", ObjectBuilder::new().schema_type(Type::Null));
    Schema::AnyOf(AnyOfBuilder::new().item(external).item(no_lease).build())
}

/// Bodies are closed: what may be left out is known of them. An answer has all of its members.
fn say_what_is_there(name: &str, schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) if !is_closed(object) && name != "Problem" => {
            let absent = |member: &str| MAY_BE_ABSENT.contains(&(name, member));
            let all = object.properties.keys().filter(|member| !absent(member));
            object.required = all.cloned().collect();
        }
        RefOr::T(Schema::AllOf(all)) => {
            all.items.iter_mut().for_each(|item| say_what_is_there(name, item));
        }
        RefOr::T(_) | RefOr::Ref(_) => {}
    }
}

fn is_closed(object: &Object) -> bool {
    matches!(object.additional_properties.as_deref(), Some(AdditionalProperties::FreeForm(false)))
}

fn parameter(name: &str, place: ParameterIn, schema: Object, says: &str) -> Parameter {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    let mut parameter = Parameter::new(name);
    parameter.parameter_in = place;
    parameter.required = required;
    parameter.description = Some(says.to_owned());
    parameter.schema = Some(schema.into());
    parameter
}

/// An answer with the trace that every answer names.
fn traced(answer: ResponseBuilder) -> Response {
    let mut header = Header::new(TraceId::schema());
    header.description = Some("The trace that the request belongs to.".to_owned());
    answer.header("X-Trace-Id", header).build()
}

pub(super) fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn one_of(values: Vec<Value>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).enum_values(Some(values))
}

pub(super) fn integer() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer)
}
