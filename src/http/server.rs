//! The server: one app per worker thread, all of them on one listener.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_web::dev::{Server, Service};
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use slog::Logger;

use super::around::Around;
use super::call::{Bounds, Room};
use super::mcp;
use super::meter::Meter;
use super::openapi::Document;
use super::routes::{self, unknown_path};
use crate::actors::handle::PoolHandle;
use crate::domain::AgentKind;

/// How long an idle connection stays open.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How many seconds open calls have when the server stops; long polls would take longer.
const SHUTDOWN_S: u64 = 2;

/// The share of the configuration that the HTTP room needs.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// What stands before every path: empty, or like `/daedalus`.
    pub base_path: String,
    /// The largest body that is taken.
    pub max_body_bytes: usize,
    /// How many calls may be open at a time; long polls are counted apart, with the same bound.
    pub max_in_flight: usize,
    /// How long a body may take to arrive.
    pub call_timeout: Duration,
    /// How large a pool may be asked for.
    pub max_pool_size: usize,
    /// The names by which tools may be asked for, beside addresses and `localhost`; `*` is any.
    pub allowed_hosts: Vec<String>,
    /// What an agent is when the client does not say.
    pub default_kind: AgentKind,
}

/// Serves the pool on `listener` with so many worker threads (0: one per core). It runs when the
/// returned server is awaited, ends when its handle says so, and catches no signals.
///
/// # Errors
/// When the listener cannot be used.
pub fn server(
    listener: TcpListener,
    workers: usize,
    handle: PoolHandle,
    settings: HttpSettings,
    log: Logger,
) -> io::Result<Server> {
    let workers = if workers == 0 { available_parallelism()?.get() } else { workers };
    let bounds = Arc::new(Bounds::new(settings.max_in_flight));
    let settings = Arc::new(settings);
    let document = Data::new(Document::default());
    let meter = Arc::new(Meter::new());
    let server = HttpServer::new(move || {
        let room = Room::new(handle.clone(), Arc::clone(&settings), Arc::clone(&bounds));
        let base = settings.base_path.clone();
        let around = Rc::new(Around::new(log.clone(), &base, Arc::clone(&meter)));
        App::new()
            .app_data(Rc::new(room))
            .app_data(document.clone())
            .app_data(Data::from(Arc::clone(&meter)))
            .configure(|app| routes::configure(app, &base, &meter))
            .service(
                mcp::scope(handle.clone(), Arc::clone(&settings)).app_data(meter.route("/mcp")),
            )
            .default_service(unknown_path())
            .wrap_fn(move |request, next| {
                let call = Rc::clone(&around).begin(&request);
                let answer = next.call(request);
                async move { Ok(call.end(answer.await?)) }
            })
    });
    let server = server
        .workers(workers)
        .keep_alive(KEEP_ALIVE)
        .tcp_nodelay(true)
        // Who hangs up has gone, and its call ends: a long poll fetches nothing for nobody.
        .h1_allow_half_closed(false)
        .shutdown_timeout(SHUTDOWN_S)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}
