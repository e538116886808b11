//! The end of a task, as its agent or somebody for it says it.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::call::Call;
use super::fields::{attempt, boolean, json, not_allowed, string};
use super::openapi::words;
use super::problem::Problem;
use super::tasks::Changed;
use crate::actors::handle::PoolHandle;
use crate::domain::{Attempt, MAX_CODE_BYTES, MAX_MESSAGE_BYTES, Report, TaskError, TaskId};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompleteQuery {
    success: Option<String>,
    attempt: Option<String>,
}

/// The longest `code` of an error, in characters.
pub(super) const MAX_CODE_CHARS: usize = MAX_CODE_BYTES;
/// The longest `message` of an error, in characters.
pub(super) const MAX_MESSAGE_CHARS: usize = MAX_MESSAGE_BYTES;

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = TaskEnd)]
#[serde(deny_unknown_fields)]
pub(super) struct CompleteBody<'a> {
    #[serde(borrow)]
    #[schema(schema_with = words::result)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(value_type = Option<ErrorBody<'a>>)]
    error: Option<&'a RawValue>,
}

/// Why an attempt failed; only with `success=false`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ReportedError)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorBody<'a> {
    #[serde(borrow)]
    #[schema(schema_with = words::error_code)]
    pub(super) code: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(schema_with = words::error_message)]
    pub(super) message: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(schema_with = words::retryable)]
    pub(super) retryable: Option<&'a RawValue>,
}

impl CompleteBody<'_> {
    fn ending(&self, success: bool) -> Result<Ending<'_>, Problem> {
        let error = self.error.map(error_body).transpose()?;
        Ok(Ending { success, result: self.result, error, names: BODY_NAMES })
    }
}

fn error_body(raw: &RawValue) -> Result<ErrorBody<'_>, Problem> {
    let shape = "an object of code, message and retryable";
    if !raw.get().starts_with('{') {
        return Err(not_allowed("error", shape, raw.get()));
    }
    serde_json::from_str(raw.get())
        .map_err(|error| Problem::invalid(format!("`error` must be {shape}: {error}")))
}

/// What is said of the end of an attempt.
pub(super) struct Ending<'a> {
    pub(super) success: bool,
    pub(super) result: Option<&'a RawValue>,
    pub(super) error: Option<ErrorBody<'a>>,
    pub(super) names: ErrorNames,
}

/// How the members of the error are called where they were said.
pub(super) struct ErrorNames {
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    pub(super) retryable: &'static str,
}

const BODY_NAMES: ErrorNames =
    ErrorNames { code: "error.code", message: "error.message", retryable: "error.retryable" };

impl Ending<'_> {
    /// Ends the attempt of the task.
    pub(super) async fn complete(
        &self,
        pool: &PoolHandle,
        task_id: TaskId,
        attempt: Option<Attempt>,
    ) -> Result<Changed, Problem> {
        Ok(Changed { task_id, status: pool.complete(task_id, attempt, self.report()?).await? })
    }

    fn report(&self) -> Result<Report, Problem> {
        match (self.success, self.result, &self.error) {
            (true, result, None) => {
                let result = result.map(|result| json("result", result)).transpose()?;
                Ok(Report::Completed { result, usage: None })
            }
            (false, None, error) => {
                let unsaid = ErrorBody::default();
                let error = error.as_ref().unwrap_or(&unsaid).parse(&self.names)?;
                Ok(Report::Failed { error, usage: None })
            }
            (true, _, Some(_)) => Err(Problem::invalid(
                "an error contradicts success=true, which is the default; \
                 say success=false or leave the error out",
            )),
            (false, Some(_), _) => Err(Problem::invalid(
                "a `result` contradicts success=false; say why it failed in the error",
            )),
        }
    }
}

impl ErrorBody<'_> {
    fn parse(&self, names: &ErrorNames) -> Result<TaskError, Problem> {
        let text = |name, raw: Option<&RawValue>, allowed: RangeInclusive<usize>, unsaid: &str| {
            let Some(raw) = raw else { return Ok(unsaid.to_owned()) };
            let text = string(name, raw)?.into_owned();
            if allowed.contains(&text.chars().count()) {
                return Ok(text);
            }
            let (least, most) = (allowed.start(), allowed.end());
            let allowed = format_args!("a string of {least} to {most} characters");
            Err(not_allowed(name, allowed, raw.get()))
        };
        let retryable = self.retryable.map(|raw| match raw.get() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(not_allowed(names.retryable, "true or false", other)),
        });
        let unsaid = "the agent reported failure";
        Ok(TaskError {
            code: text(names.code, self.code, 1..=MAX_CODE_CHARS, "failed")?,
            message: text(names.message, self.message, 0..=MAX_MESSAGE_CHARS, unsaid)?,
            retryable: retryable.transpose()?.unwrap_or(false),
        })
    }
}

/// `POST /tasks/{id}/complete`.
pub(super) async fn one(mut call: Call) -> Answer {
    let body = call.body().await?;
    let task_id = call.task_id()?;
    let query: CompleteQuery = call.query()?;
    let success = query.success.as_deref().map(|success| boolean("success", success));
    let success = success.transpose()?.unwrap_or(true);
    let attempt = query.attempt.as_deref().map(attempt).transpose()?;
    let body: CompleteBody<'_> = body.optional()?;
    answer::ok(&body.ending(success)?.complete(call.pool(), task_id, attempt).await?)
}
