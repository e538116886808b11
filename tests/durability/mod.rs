//! What goes wrong with the daemon and its files, and what must still be true afterwards.

mod checker;
mod checker_tests;
mod client;
mod damage;
mod disk;
mod files;
mod history;
mod kills;
mod leases;
mod long_history;
mod os;
mod pages;
mod restarts;
mod site;
mod story;
mod work;
