//! Every message between the actors, with its sender, its answer and its refusal. Requests are
//! imperative and may be refused; facts are what happened and may not.

mod canary;
mod facts;
mod gates;
mod orders;
mod reading;
mod requests;

pub use canary::*;
pub use facts::*;
pub use gates::*;
pub use orders::*;
pub use reading::*;
pub use requests::*;
