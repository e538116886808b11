//! What tells the repetition of a submit from a new one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::canonical;
use super::ids::AgentId;
use super::json::Json;
use super::parent::ChildOf;
use super::priority::Priority;
use super::task_type::TaskType;

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

    /// Whether a key may be called so: 1 to 200 characters, none of them a control character.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        let fits = !name.is_empty() && name.chars().nth(Self::MAX_CHARS).is_none();
        fits && !name.chars().any(char::is_control)
    }
}

/// Tells contents apart: SHA-256 over what a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub [u8; 32]);

/// What a client asked for, as far as it makes two submits different. What was left out stands
/// here as its default, so saying it makes no difference.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// What sort of work it is.
    pub kind: TaskType,
    /// How urgent it is.
    pub priority: Priority,
    /// The agent that the client would like best, as it said so.
    pub preferred: Option<&'a str>,
    /// How long one attempt may take, in microseconds. To leave it to the configuration is not the
    /// same as to ask for what is configured.
    pub timeout_us: Option<u64>,
    /// Whose child it is. Which attempt of the parent asks makes no difference.
    pub of: Option<&'a ChildOf>,
    /// The work itself. Two payloads that say the same are the same, however they are written.
    pub payload: &'a Json,
}

impl Fingerprint {
    /// The fingerprint of a content. It is stored, so it must be the same in every version.
    #[must_use]
    pub fn of(content: &Content<'_>) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"task\0");
        hash.update(content.kind.name());
        hash.update([0, content.priority.get().to_le_bytes()[0]]);
        match content.preferred.map(|text| (text, AgentId::parse(text))) {
            None => hash.update(b"-"),
            // An id has several spellings.
            Some((_, Some(id))) => hash.update([b"a", id.uuid().as_bytes().as_slice()].concat()),
            Some((text, None)) => {
                hash.update(b"t");
                hash.update(canonical::length(text.len()));
                hash.update(text);
            }
        }
        match content.timeout_us {
            None => hash.update(b"-"),
            Some(us) => {
                hash.update(b"u");
                hash.update(us.to_le_bytes());
            }
        }
        if let Some(of) = content.of {
            hash.update([b"c", of.parent.uuid().as_bytes().as_slice()].concat());
            hash.update([u8::from(of.detach), u8::from(of.inherits_priority)]);
        }
        hash.update(canonical::bytes(content.payload));
        Self(hash.finalize().into())
    }
}
