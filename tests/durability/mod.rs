//! What goes wrong with the daemon and its files, and what must still be true afterwards.

mod checker;
mod checker_tests;
mod history;
