//! The orders, one a test: in each of them every sort of work is stopped at the same time.

mod late;
mod orders;
mod work;
