//! The page of the document: Swagger UI, with all of its files in the program.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use utoipa_swagger_ui::Config;

use crate::http::answer::Answer;
use crate::http::call::Call;
use crate::http::problem::{Code, Problem};

/// `GET /docs`: leads to the page. Where it leads is said from here, so that it is right behind a
/// proxy that knows the path by another name.
pub(in crate::http) async fn to_page(call: Call) -> Answer {
    call.no_query()?;
    let page = HeaderValue::from_static("docs/");
    Ok(HttpResponse::TemporaryRedirect().insert_header((LOCATION, page)).finish())
}

/// `GET /docs/` and `GET /docs/{file}`: the page, and what it is made of.
pub(in crate::http) async fn file(_call: Call, request: HttpRequest) -> Answer {
    let name = request.match_info().get("file").unwrap_or_default();
    // Its own document and nothing outside: the validator would be a service elsewhere.
    let config = Config::new(["../openapi.json"]).validator_url("none");
    let found = utoipa_swagger_ui::serve(name, Arc::new(config))
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let nothing = || Problem::new(Code::NotFound, format!("the page has no file {name}"));
    let found = found.ok_or_else(nothing)?;
    let body = match found.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_TYPE, found.content_type));
    if found.gzpipped {
        answer.insert_header((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
    }
    Ok(answer.body(body))
}
