//! Bodies: read up to a limit, and JSON objects with known members only.

use std::future::poll_fn;
use std::pin::Pin;

use actix_web::HttpRequest;
use actix_web::body::{BodyStream, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Bytes, BytesMut};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::problem::{Code, Problem};

/// A body that was read whole; a body with content is said to be JSON.
#[derive(Debug)]
pub(super) struct Body(Bytes);

impl Body {
    /// Reads a body of at most `limit` bytes. One that came in one piece is not copied.
    pub(super) async fn read(
        request: &HttpRequest,
        payload: &mut Payload,
        limit: usize,
    ) -> Result<Self, Problem> {
        let announced = request.headers().get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|announced| announced > limit) {
            return Err(too_large(limit));
        }
        let mut whole = Bytes::new();
        let mut pieces = BytesMut::new();
        let mut stream = BodyStream::new(payload);
        while let Some(piece) = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
            let piece = piece.map_err(|error| {
                let detail = format!("the body could not be read: {error}");
                Problem::new(Code::BodyUnreadable, detail)
            })?;
            if whole.len() + pieces.len() + piece.len() > limit {
                return Err(too_large(limit));
            }
            if whole.is_empty() && pieces.is_empty() {
                whole = piece;
                continue;
            }
            if pieces.is_empty() {
                pieces.reserve(announced.unwrap_or(2 * whole.len()));
                pieces.extend_from_slice(&std::mem::take(&mut whole));
            }
            pieces.extend_from_slice(&piece);
        }
        let bytes = if pieces.is_empty() { whole } else { pieces.freeze() };
        if !bytes.is_empty() {
            check_type(request)?;
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub(super) fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The object that the body must be.
    pub(super) fn required<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        if self.0.is_empty() {
            return Err(Problem::new(Code::MissingBody, "this needs a JSON object as its body"));
        }
        object(&self.0)
    }

    /// The object that the body may be; nothing is the same as an empty one.
    pub(super) fn optional<'a, T: Deserialize<'a> + Default>(&'a self) -> Result<T, Problem> {
        if self.0.is_empty() { Ok(T::default()) } else { object(&self.0) }
    }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body has more than {limit} bytes, which is http.max_body_bytes");
    Problem::new(Code::BodyTooLarge, detail).with("max_body_bytes", limit)
}

fn check_type(request: &HttpRequest) -> Result<(), Problem> {
    let given = request.headers().get(CONTENT_TYPE).map(|given| given.to_str().unwrap_or("?"));
    match given {
        Some(given) if is_json(given) => Ok(()),
        Some(given) => Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("a body must be application/json, found {given}"),
        )),
        None => Err(Problem::new(
            Code::UnsupportedMediaType,
            "a body must say what it is; add the header Content-Type: application/json",
        )),
    }
}

/// `application/json`, or a type that builds on it, whatever its parameters.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let application = b"application/";
    let Some((head, subtype)) = essence.as_bytes().split_at_checked(application.len()) else {
        return false;
    };
    let suffix = &subtype[subtype.len().saturating_sub(5)..];
    head.eq_ignore_ascii_case(application)
        && (subtype.eq_ignore_ascii_case(b"json") || suffix.eq_ignore_ascii_case(b"+json"))
}

/// Reads an object. What is no JSON at all is told apart from what is not allowed in it.
fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let reason = if first == Some(&b'{') {
        match serde_json::from_slice(bytes) {
            Ok(object) => return Ok(object),
            Err(error) => error.to_string(),
        }
    } else {
        "it must be a JSON object".to_owned()
    };
    // The first thing that is not allowed may stand before something that is no JSON.
    let broken = match str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str::<IgnoredAny>(text).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    Err(match broken {
        Some(why) => Problem::new(Code::InvalidJson, format!("the body is not JSON: {why}")),
        None => Problem::invalid(format!("the body is not allowed: {reason}")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example<'a> {
        #[serde(borrow)]
        size: Option<&'a RawValue>,
    }

    fn code(text: &'static [u8]) -> Option<Code> {
        let body = Body(Bytes::from_static(text));
        body.required::<Example<'_>>().err().map(|problem| problem.code())
    }

    #[test]
    fn what_is_no_json_is_told_apart_from_what_is_not_allowed() {
        assert_eq!(code(b""), Some(Code::MissingBody));
        assert_eq!(code(br#" {"size": {"any": [1]}} "#), None);
        for broken in [
            &b"{"[..],
            b" ",
            b"nope",
            b"{\"size\": 1,}",
            b"{\"size\": 1} 2",
            b"{\"size\": 01}",
            b"{'size': 1}",
            b"{\"unknown\": 1, ",
            b"[1, ",
            b"{\"size\": \"\xff\"}",
        ] {
            assert_eq!(code(broken), Some(Code::InvalidJson), "{broken:?}");
        }
        for refused in [
            &b"[]"[..],
            b"[1]",
            b"null",
            b"7",
            b"\"x\"",
            b"{\"unknown\": 1}",
            b"{\"size\": 1, \"size\": 2}",
        ] {
            assert_eq!(code(refused), Some(Code::ValidationFailed), "{refused:?}");
        }
    }

    #[test]
    fn an_absent_body_may_be_an_empty_object() {
        let absent = Body(Bytes::new());
        assert!(absent.optional::<Example<'_>>().unwrap().size.is_none());
        Body(Bytes::from_static(b" ")).optional::<Example<'_>>().unwrap_err();
    }

    #[test]
    fn json_has_several_media_types() {
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/a+json"] {
            assert!(is_json(good), "{good}");
        }
        for bad in ["", "text/plain", "application/jsonx", "application/", "json", "text/json"] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
