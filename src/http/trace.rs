//! Which trace a request belongs to (rule 16).

use actix_web::http::header::{HeaderMap, HeaderName};
use uuid::Uuid;

use crate::domain::TraceId;

/// Where a trace comes in, and goes out with every answer.
pub(super) const X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace of a request: that of `traceparent`, else that of `X-Trace-Id`, else a new one. One
/// that is not of its form counts as absent.
pub(super) fn trace_of(headers: &HeaderMap) -> TraceId {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let given = text(TRACEPARENT)
        .and_then(of_traceparent)
        .or_else(|| text(X_TRACE_ID).and_then(TraceId::parse));
    given.unwrap_or_else(|| TraceId::from_uuid(Uuid::new_v4()))
}

/// The trace id of a W3C `traceparent`: `version-traceid-parentid-flags`, in lower-case
/// hexadecimal digits. A version after 00 may say more behind a further dash.
fn of_traceparent(text: &str) -> Option<TraceId> {
    let mut parts = text.trim().split('-');
    let mut hex = |len: usize| {
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        parts.next().filter(|part| part.len() == len && part.bytes().all(lower_hex))
    };
    let (version, trace, parent, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let bad_version = version == "ff" || (version == "00" && parts.next().is_some());
    if bad_version || is_zero(trace) || is_zero(parent) {
        return None;
    }
    TraceId::parse(trace)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn trace(headers: &[(HeaderName, &str)]) -> String {
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        trace_of(&pairs.collect()).to_string()
    }

    #[test]
    fn a_traceparent_wins_over_a_trace_id_and_that_over_a_new_one() {
        let both = [(X_TRACE_ID, "mine"), (TRACEPARENT, PARENT)];
        assert_eq!(trace(&both), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace(&both[..1]), "mine");
        let new = trace(&[]);
        assert_eq!(new.len(), 32);
        assert_ne!(new, trace(&[]));
    }

    #[test]
    fn what_is_not_of_its_form_counts_as_absent() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert_eq!(trace(&[(TRACEPARENT, bad), (X_TRACE_ID, "mine")]), "mine", "{bad}");
        }
        let long = "x".repeat(65);
        for bad in ["", "two words", "a.b", long.as_str()] {
            assert_eq!(trace(&[(X_TRACE_ID, bad)]).len(), 32, "{bad}");
        }
        let longest = "x".repeat(64);
        assert_eq!(trace(&[(X_TRACE_ID, &longest)]), longest);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = format!("01{}-more", &PARENT[2..]);
        assert_eq!(trace(&[(TRACEPARENT, &later)]), "4bf92f3577b34da6a3ce929d0e0e4736");
    }
}
