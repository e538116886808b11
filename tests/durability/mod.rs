//! What goes wrong with the daemon and its files, and what must still be true afterwards.

mod checker;
mod checker_tests;
mod client;
mod history;
mod kills;
mod os;
mod site;
mod work;
