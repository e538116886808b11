//! Queries: text per name, and only names that are known.

use actix_web::error::QueryPayloadError;
use actix_web::web::Query;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A query, or a body, in which nothing may stand.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Reads a query.
pub(super) fn parse<Q: DeserializeOwned + Default>(query: &str) -> Result<Q, Problem> {
    if query.is_empty() {
        return Ok(Q::default());
    }
    Query::from_query(query).map(Query::into_inner).map_err(|error| {
        let reason = match &error {
            QueryPayloadError::Deserialize(error) => error.to_string(),
            _ => error.to_string(),
        };
        Problem::invalid(format!("the query is not allowed: {reason}"))
    })
}

/// Whether the client is prepared to wait; such calls are counted apart.
pub(super) fn says_to_wait(query: &str) -> bool {
    let waits = |pair: &str| {
        let value = pair.strip_prefix("wait_s=").or_else(|| pair.strip_prefix("drain_s="));
        value.and_then(|value| value.parse().ok()).is_some_and(|seconds: f64| seconds > 0.0)
    };
    !query.is_empty() && query.split('&').any(waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct TwoNames {
        limit: Option<String>,
        status: Option<String>,
    }

    #[test]
    fn known_names_are_taken_and_others_are_named() {
        let query: TwoNames = parse("limit=5&status=in%5Fprogress").unwrap();
        assert_eq!(query.limit.as_deref(), Some("5"));
        assert_eq!(query.status.as_deref(), Some("in_progress"));
        let problem = parse::<TwoNames>("limits=5").unwrap_err().to_string();
        assert!(problem.contains("`limits`") && problem.contains("`limit`"), "{problem}");
        let problem = parse::<TwoNames>("limit=5&limit=6").unwrap_err().to_string();
        assert!(problem.contains("duplicate field `limit`"), "{problem}");
        parse::<Nothing>("").unwrap();
        parse::<Nothing>("a=1").unwrap_err();
    }

    #[test]
    fn only_a_wait_above_zero_is_one() {
        assert!(says_to_wait("wait_s=0.5"));
        assert!(says_to_wait("incarnation=2&wait_s=60"));
        assert!(says_to_wait("drain_s=1"));
        for short in ["", "wait_s=0", "wait_s=", "wait_s=x", "limit=5", "wait_s=-1"] {
            assert!(!says_to_wait(short), "{short}");
        }
    }
}
