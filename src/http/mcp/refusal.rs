//! Problems as errors of JSON-RPC, which no client takes for a result. (A result that says
//! `isError` is one for some.)

use rmcp::model::{ErrorCode, ErrorData};
use serde_json::{Map, Value, json};

use crate::domain::TraceId;
use crate::http::problem::{Code, Problem};

/// For refusals: the first code that JSON-RPC leaves to servers.
const REFUSED: ErrorCode = ErrorCode(-32_000);

/// The error that tells this problem: its `message` for the model, its `data` for programs.
pub(super) fn error(problem: &Problem, trace: Option<&TraceId>) -> ErrorData {
    let code = if problem.code() == Code::ValidationFailed {
        ErrorCode::INVALID_PARAMS
    } else if problem.code() == Code::Internal {
        ErrorCode::INTERNAL_ERROR
    } else {
        REFUSED
    };
    let mut data = Map::new();
    data.insert("code".to_owned(), json!(problem.code().name()));
    data.insert("message".to_owned(), json!(problem.detail()));
    data.insert("retryable".to_owned(), json!(problem.retry_after_s().is_some()));
    if let Some(seconds) = problem.retry_after_s() {
        data.insert("retry_after_s".to_owned(), json!(seconds));
    }
    if let Some(trace) = trace {
        data.insert("trace_id".to_owned(), json!(trace.as_str()));
    }
    for (name, value) in problem.extra() {
        data.insert((*name).to_owned(), value.clone());
    }
    ErrorData::new(code, problem.to_string(), Some(Value::Object(data)))
}
