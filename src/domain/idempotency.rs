//! What tells the repetition of a submit from a new one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A client's name for one submit, with what it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The name: 1 to 200 characters.
    pub name: Arc<str>,
    /// What was asked for.
    pub content: Fingerprint,
}

impl IdempotencyKey {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 200;
}

/// Tells contents apart: SHA-256 over what a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub [u8; 32]);
