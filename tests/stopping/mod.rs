//! Orders to stop, each against every sort of work at the same time, and a thousand cancels.

mod cancels;
mod late;
mod odd;
mod orders;
mod signals;
mod work;
