//! JSON that passes through: checked when it came in, never looked into here.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::wellformed::Wellformed;

/// A JSON text that is well-formed and stands on one line, so that it can be put into a frame of
/// JSON Lines as it is. Cheap to clone.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Json(Arc<RawValue>);

impl Json {
    /// Takes a text that was parsed before. Line breaks can stand only between tokens of JSON
    /// (inside of strings they are escaped), so a space means the same.
    #[must_use]
    pub fn new(raw: Box<RawValue>) -> Self {
        if !raw.get().contains(['\n', '\r']) {
            return Self(raw.into());
        }
        let one_line = raw.get().replace(['\n', '\r'], " ");
        Self(RawValue::from_string(one_line).map_or_else(|_| raw.into(), Into::into))
    }

    /// Takes a text if every reader of JSON can: it nests no deeper than 127 levels, its numbers fit,
    /// and its strings are Unicode.
    pub fn checked(raw: Box<RawValue>) -> serde_json::Result<Self> {
        let Wellformed = serde_json::from_str(raw.get())?;
        Ok(Self::new(raw))
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::new)
    }
}
