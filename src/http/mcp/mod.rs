//! `POST /mcp`: the pool as tools and resources of the Model Context Protocol (streamable HTTP,
//! without sessions, JSON answers).
//!
//! A request passes the `door` first: it checks where the request comes from, reads the body like
//! any other and counts the call. The protocol itself is rmcp's. A tool parses its arguments and
//! asks the pool with the functions of the HTTP handlers beside this folder: one meaning, two doors.
//! Nothing here is built before somebody asks for it.

mod call;
mod door;
mod handler;
mod hosts;
mod inputs;
mod message;
mod outputs;
mod refusal;
mod resources;
mod tools;

use std::io;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{Error, HttpMessage, Scope, web};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp_actix_web::transport::StreamableHttpService;

use self::door::Asked;
use self::handler::Tools;
use super::server::HttpSettings;
use crate::actors::handle::PoolHandle;

/// What stands at `{base_path}/mcp`.
pub(super) fn scope(
    pool: PoolHandle,
    settings: Arc<HttpSettings>,
) -> Scope<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let path = format!("{}/mcp", settings.base_path);
    let max_body_bytes = settings.max_body_bytes;
    let tools = Tools::new(pool, settings);
    let service = StreamableHttpService::builder()
        .service_factory(Arc::new(move || Ok::<_, io::Error>(tools.clone())))
        .session_manager(Arc::new(NeverSessionManager::default()))
        .stateful_mode(false)
        .json_response(true)
        .max_request_body_bytes(max_body_bytes)
        // The door has a check of its own.
        .allowed_hosts(Vec::new())
        .on_request_fn(|request, extensions| {
            if let Some(asked) = request.extensions_mut().remove::<Asked>() {
                extensions.insert(asked);
            }
        })
        .build();
    web::scope(&path).service(service.scope()).wrap(from_fn(door::door))
}
