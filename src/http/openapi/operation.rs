//! What a request of the API is, as far as the document says it.

use std::borrow::Cow;

use utoipa::ToSchema;
use utoipa::openapi::{HttpMethod, Object, RefOr, Schema};

use crate::http::problem::Code;

/// A type as a schema.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Its name in the document.
    pub(super) name: fn() -> Cow<'static, str>,
    /// What it is.
    pub(super) schema: fn() -> RefOr<Schema>,
    /// What it is made of.
    pub(super) parts: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Part {
    pub(super) const fn of<T: ToSchema>() -> Self {
        Self { name: T::name, schema: T::schema, parts: T::schemas }
    }
}

/// A name of a query.
#[derive(Clone, Copy)]
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) schema: fn() -> Object,
    pub(super) says: &'static str,
}

/// What the body of an answer is.
#[derive(Clone, Copy)]
pub(super) enum Shows {
    /// One of these.
    One(Part),
    /// A list of them.
    List(Part),
    /// `{"status": ...}` with this word.
    Status(&'static str),
    /// The numbers, also as text.
    Metrics(Part),
    /// This document.
    Document,
}

/// How far a request goes, and so what can go wrong on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nowhere: it is always answered.
    Nowhere,
    /// To the edge of the daemon.
    Edge,
    /// To the pool.
    Pool,
}

/// One request of the API.
pub(super) struct Operation {
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) says: &'static str,
    pub(super) query: &'static [Query],
    /// What the body is, and whether there must be one.
    pub(super) body: Option<(Part, bool)>,
    pub(super) shows: Shows,
    /// What the 200 means.
    pub(super) done: &'static str,
    /// What a 204 means, if there is one.
    pub(super) nothing: Option<&'static str>,
    /// Where its answer leads: the beginning of paths, and which member is their id.
    pub(super) leads: Option<(&'static str, &'static str)>,
    /// The refusals that are its own.
    pub(super) refusals: &'static [Code],
    pub(super) reach: Reach,
}

impl Operation {
    const fn new(
        method: HttpMethod,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        shows: Shows,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            says: "",
            query: &[],
            body: None,
            shows,
            done: "Done.",
            nothing: None,
            leads: None,
            refusals: &[],
            reach: Reach::Pool,
        }
    }

    pub(super) const fn get(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        shows: Shows,
    ) -> Self {
        Self { done: "What there is.", ..Self::new(HttpMethod::Get, path, id, summary, shows) }
    }

    pub(super) const fn post(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        shows: Shows,
    ) -> Self {
        Self::new(HttpMethod::Post, path, id, summary, shows)
    }

    pub(super) const fn delete(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        shows: Shows,
    ) -> Self {
        Self::new(HttpMethod::Delete, path, id, summary, shows)
    }

    /// What the requests of its kind are called together.
    pub(super) fn tag(&self) -> &'static str {
        match self.path.split('/').nth(1) {
            Some("tasks") => "tasks",
            Some("pool") => "pool",
            Some("agents") => "agents",
            Some("gates") => "gates",
            Some("schedules") => "schedules",
            _ => "daemon",
        }
    }
}
