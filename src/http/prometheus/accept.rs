//! In which form a client wants the numbers.

use actix_web::HttpRequest;
use actix_web::http::header::{Accept, Header, Quality};

/// A form of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The JSON of the API.
    Json,
    /// The text format of Prometheus.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

/// Every form with its type; of two that are wanted alike the first is taken.
const FORMS: [(Form, &str, &str); 3] = [
    (Form::Json, "application", "json"),
    (Form::Text, "text", "plain"),
    (Form::OpenMetrics, "application", "openmetrics-text"),
];

/// The form with the highest quality; of two alike the one that was asked for more exactly. JSON
/// when nothing was asked for, or nothing that there is.
pub(super) fn best(request: &HttpRequest) -> Form {
    let Ok(accept) = Accept::parse(request) else { return Form::Json };
    let mut best = (Form::Json, (Quality::ZERO, 0));
    for (form, kind, subtype) in FORMS {
        if let Some(wish) = wish(&accept, kind, subtype)
            && wish > best.1
        {
            best = (form, wish);
        }
    }
    best.0
}

/// How much a type is wanted: the quality of the range that names it most exactly, and how exactly.
fn wish(accept: &Accept, kind: &str, subtype: &str) -> Option<(Quality, u8)> {
    let ranges = accept.0.iter().filter_map(|wanted| {
        let range = &wanted.item;
        let exactness = match (range.type_().as_str(), range.subtype().as_str()) {
            ("*", "*") => 0,
            (of_kind, "*") if of_kind == kind => 1,
            (of_kind, of_subtype) if of_kind == kind && of_subtype == subtype => 2,
            _ => return None,
        };
        Some((exactness, wanted.quality))
    });
    // Of several versions of one type, the one that is wanted most.
    ranges
        .max()
        .filter(|(_, quality)| *quality > Quality::ZERO)
        .map(|(exactness, quality)| (quality, exactness))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn form(accept: &[&str]) -> Form {
        let mut request = TestRequest::default();
        for value in accept {
            request = request.append_header(("Accept", *value));
        }
        best(&request.to_http_request())
    }

    #[test]
    fn json_is_the_answer_to_everything_else() {
        for accept in [
            &[][..],
            &["*/*"],
            &["application/json"],
            &["application/*"],
            &["image/png"],
            &[""],
            &["nonsense"],
            &["application/json, text/plain"],
            &["text/plain;q=0.5, */*"],
            &["text/plain;q=0"],
            &["text/plain;q=0, */*;q=0.1"],
            &["application/openmetrics-text;q=0.3, application/json;q=0.4"],
        ] {
            assert_eq!(form(accept), Form::Json, "{accept:?}");
        }
    }

    #[test]
    fn text_is_the_answer_to_who_wants_it_most() {
        for accept in [
            &["text/plain"][..],
            &["text/plain;version=0.0.4"],
            &["text/*"],
            &["Text/Plain; q=0.2"],
            &["text/plain, */*"],
            &["*/*, text/plain"],
            &["application/json;q=0.4, text/plain;q=0.5"],
            &["application/json;q=0.4", "text/plain;q=0.5"],
            &["application/openmetrics-text;q=0.4,text/plain;q=0.5"],
        ] {
            assert_eq!(form(accept), Form::Text, "{accept:?}");
        }
    }

    #[test]
    fn openmetrics_is_what_prometheus_asks_for_first() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,\
                          text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in
            [prometheus, "application/openmetrics-text", "application/openmetrics-text, */*"]
        {
            assert_eq!(form(&[accept]), Form::OpenMetrics, "{accept}");
        }
    }
}
