//! Daedalus: a coordination daemon for pools of AI worker agents on one machine.

pub mod actors;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod logging;
pub mod store;
pub mod systemd;
pub mod worker;
