//! The HTTP room: the server, without routes yet.

use std::io;
use std::net::TcpListener;

use actix_web::{App, HttpServer};
use slog::Logger;

use crate::actors::handle::PoolHandle;

/// The server's share of the configuration.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where the paths stand.
    pub base_path: String,
    /// The longest body that is taken.
    pub max_body_bytes: usize,
    /// How many requests may be under way.
    pub max_in_flight: usize,
    /// How many agents a pool may have.
    pub max_pool_size: usize,
}

/// A server on this listener, not running yet.
///
/// # Errors
/// When the listener cannot be used.
pub fn server(
    listener: TcpListener,
    _workers: usize,
    _pool: PoolHandle,
    _settings: HttpSettings,
    _log: Logger,
) -> io::Result<actix_web::dev::Server> {
    Ok(HttpServer::new(App::new).disable_signals().listen(listener)?.run())
}
