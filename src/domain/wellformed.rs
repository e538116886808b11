//! Walks through a JSON value without keeping anything of it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value of which only one thing is known: that every reader can take it. It nests no
/// deeper than `serde_json` follows, its numbers fit, and its strings are Unicode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wellformed;

impl<'de> Deserialize<'de> for Wellformed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Wellformed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Wellformed, E> {
        Ok(Wellformed)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Wellformed, E> {
        Ok(Wellformed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Wellformed, E> {
        Ok(Wellformed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Wellformed, E> {
        Ok(Wellformed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Wellformed, E> {
        Ok(Wellformed)
    }

    fn visit_str<E>(self, _: &str) -> Result<Wellformed, E> {
        Ok(Wellformed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Wellformed, A::Error> {
        while let Some(Wellformed) = items.next_element()? {}
        Ok(Wellformed)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Wellformed, A::Error> {
        while let Some((Wellformed, Wellformed)) = entries.next_entry()? {}
        Ok(Wellformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walks(text: &str) -> bool {
        serde_json::from_str::<Wellformed>(text).is_ok()
    }

    #[test]
    fn everything_that_readers_take_passes() {
        for good in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "123456789012345678901234567890",
            "1e308",
            r#""\ud83d\ude00 \u0000""#,
            r#"{"a": [1, {"b": null}], "a": 2}"#,
        ] {
            assert!(walks(good), "{good}");
        }
        assert!(walks(&format!("{}{}", "[".repeat(127), "]".repeat(127))));
    }

    #[test]
    fn what_some_readers_choke_on_does_not() {
        for bad in ["1e999", r#""\ud83d""#, r#"{"\udc00": 1}"#, "[1,]", "{\"a\"}", "nul", ""] {
            assert!(!walks(bad), "{bad}");
        }
        assert!(!walks(&"[".repeat(100_000)));
        assert!(!walks(&format!("{}{}", "[".repeat(128), "]".repeat(128))));
    }
}
