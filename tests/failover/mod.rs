//! What goes wrong with agents, and what becomes of their tasks.

mod cancels;
mod daemon;
mod daemon_ends;
mod deaths;
mod leaving;
mod load;
mod log;
mod memory;
mod odd;
mod orders;
mod os;
mod phases;
mod poison;
mod pool;
mod silence;
mod starts;
mod storm;
