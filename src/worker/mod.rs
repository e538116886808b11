//! Worker processes: their protocol, the launcher and the tree under it, the spawner thread, and
//! what the operating system says of them.
//!
//! A worker is never a child of the daemon itself. The daemon's spawner thread ([`spawner`]) starts
//! one launcher per worker ([`launcher`]), and the launcher starts the worker, adopts whatever the
//! worker leaves behind and ends only when all of it is gone. So the end of a launcher with one of
//! the codes of [`exit`] is the verified end of a whole process tree.

pub mod builtin;
pub mod cgroup;
pub mod environment;
pub mod exit;
pub mod frames;
pub mod inspect;
pub mod launcher;
pub mod leftovers;
pub mod proc;
pub mod protocol;
pub mod sandbox;
pub mod spawner;
pub mod workdir;

mod builtin_actions;
mod builtin_canary;
mod builtin_frames;
mod builtin_listen;
mod builtin_look;
mod builtin_tools;
mod spawner_thread;
mod sweep;
mod tree;
