//! The API described for programs (OpenAPI 3.1), and as a page for people.
//!
//! What a body or an answer holds is derived from the types that the handlers read and show;
//! `words` has the single values with the limits that the code goes by, `members` what the members of
//! answers are, `operations` what each request is and how it may be refused, and `build` makes one
//! document of it.

mod build;
mod members;
mod operation;
mod operations;
mod page;
mod problems;
#[cfg(test)]
mod tests;
pub(super) mod words;

use std::sync::OnceLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::web::{Bytes, Data};

use super::answer::Answer;
use super::call::Call;
use super::problem::{Code, Problem};
use super::server::HttpSettings;
pub(super) use page::{file, to_page};

/// How many rules of the pool comments refer to.
const RULES: u32 = 17;

/// The document, written when somebody asks for it first and kept as text.
#[derive(Debug, Default)]
pub(super) struct Document(OnceLock<Bytes>);

impl Document {
    fn text(&self, settings: &HttpSettings) -> Result<Bytes, Problem> {
        if let Some(text) = self.0.get() {
            return Ok(text.clone());
        }
        let text = build::document(settings).to_json();
        let text = text.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        Ok(self.0.get_or_init(|| Bytes::from(in_words_of_the_api(text))).clone())
    }
}

/// The comments of the code describe the document, too; what only readers of the code know does not
/// belong into it.
fn in_words_of_the_api(text: String) -> String {
    let text = text.replace("`None`", "`null`");
    (1..=RULES).fold(text, |text, rule| text.replace(&format!(" (rule {rule})"), ""))
}

/// `GET /openapi.json`.
pub(super) async fn document(call: Call, document: Data<Document>) -> Answer {
    call.no_query()?;
    let json = HeaderValue::from_static("application/json");
    let text = document.text(call.settings())?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, json)).body(text))
}
