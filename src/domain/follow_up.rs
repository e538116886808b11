//! What becomes work when a task completes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::canonical;
use super::idempotency::{Content, Fingerprint, IdempotencyKey};
use super::ids::TaskId;
use super::json::Json;
use super::priority::Priority;
use super::task::TaskStatus;
use super::task_type::TaskType;

/// The most tasks that one completion makes by one rule.
pub const MAX_FOLLOW_UPS: usize = 200;

/// How items of a result become tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowUpRule {
    /// Its name; part of the keys of the tasks.
    pub name: String,
    /// The type of the tasks whose results are looked at.
    pub of: TaskType,
    /// The type of the tasks that are made.
    pub task_type: TaskType,
    /// A JSON pointer to the list of items in the result.
    pub items: String,
    /// Members that an item must have, with these values.
    pub filter: BTreeMap<String, Value>,
    /// The member that tells items apart.
    pub id: String,
    /// The member by which the best items are found: a number, the highest first.
    pub order_by: String,
    /// At most so many tasks of one result.
    pub top: usize,
}

/// What became of the items of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FollowUps {
    /// Tasks that were made.
    pub created: u64,
    /// Items whose task was there already.
    pub skipped: u64,
    /// Items that nothing could be made of.
    pub invalid: u64,
}

impl AddAssign for FollowUps {
    fn add_assign(&mut self, more: Self) {
        self.created += more.created;
        self.skipped += more.skipped;
        self.invalid += more.invalid;
    }
}

/// What one rule wants to make of one result.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowUpPlan {
    /// The name of the rule.
    pub rule: Arc<str>,
    /// The type of the tasks.
    pub kind: TaskType,
    /// The tasks, the best item first.
    pub tasks: Vec<PlannedTask>,
    /// Items that nothing can be made of.
    pub invalid: u64,
}

/// A task that an item of a result is to become.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedTask {
    /// The id that it gets.
    pub id: TaskId,
    /// Its key, by which the same item is known again.
    pub key: IdempotencyKey,
    /// The item.
    pub payload: Json,
    /// The status of the task that had the key when it was looked up in the store; `None`: none had.
    pub known: Option<TaskStatus>,
}

impl PlannedTask {
    /// Whether a task of this status leaves the key to the next: it did not do the work, and nobody
    /// is at it.
    #[must_use]
    pub const fn may_follow(status: TaskStatus) -> bool {
        matches!(status, TaskStatus::Failed | TaskStatus::Cancelled)
    }
}

/// An item that passes the filter and is as an item must be.
struct Item<'a> {
    key: String,
    score: f64,
    text: &'a RawValue,
}

/// What a rule says of an item.
enum Judged<'a> {
    Good(Item<'a>),
    FilteredOut,
    Invalid,
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

impl FollowUpRule {
    /// What the rule wants to make of a result: of the items that pass the filter the best ones, in
    /// the order of the list where they are equally good. The tasks get this priority and the ids
    /// that `fresh` gives; who has their keys is not known yet.
    #[must_use]
    pub fn plan(
        &self,
        result: Option<&Json>,
        priority: Priority,
        mut fresh: impl FnMut() -> TaskId,
    ) -> FollowUpPlan {
        let (rule, kind) = (self.name.as_str().into(), self.task_type);
        let Some(items) = result.and_then(|result| self.items_of(result)) else {
            return FollowUpPlan { rule, kind, tasks: Vec::new(), invalid: 1 };
        };
        let wanted = |(name, value): (&String, &Value)| {
            (name.clone(), canonical::bytes_of_text(&value.to_string()))
        };
        let filter: Vec<_> = self.filter.iter().map(wanted).collect();
        let (mut good, mut invalid) = (Vec::new(), 0);
        for item in items {
            match self.judge(item, &filter) {
                Judged::Good(item) => good.push(item),
                Judged::FilteredOut => {}
                Judged::Invalid => invalid += 1,
            }
        }
        good.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal));
        let best = good.into_iter().take(self.top.min(MAX_FOLLOW_UPS));
        let tasks = best.map(|Item { key, text, .. }| {
            let payload = Json::new(text.to_owned());
            let content = Fingerprint::of(&Content {
                kind,
                priority,
                preferred: None,
                timeout_us: None,
                of: None,
                payload: &payload,
            });
            let key = IdempotencyKey { name: key.into(), content };
            PlannedTask { id: fresh(), key, payload, known: None }
        });
        FollowUpPlan { rule, kind, tasks: tasks.collect(), invalid }
    }

    /// The list that the pointer leads to, if it leads to one.
    fn items_of<'a>(&self, result: &'a Json) -> Option<Vec<&'a RawValue>> {
        let mut text = result.as_str();
        if !self.items.is_empty() {
            for token in self.items.strip_prefix('/')?.split('/') {
                text = child(text, &token.replace("~1", "/").replace("~0", "~"))?.get();
            }
        }
        serde_json::from_str(text).ok()
    }

    fn judge<'a>(&self, text: &'a RawValue, filter: &[(String, Vec<u8>)]) -> Judged<'a> {
        let Ok(members) = serde_json::from_str::<Members<'a>>(text.get()) else {
            return Judged::Invalid;
        };
        let passes = |(name, wanted): &(String, Vec<u8>)| {
            members.get(name).is_some_and(|value| canonical::bytes_of_text(value.get()) == *wanted)
        };
        if !filter.iter().all(passes) {
            return Judged::FilteredOut;
        }
        let id = members.get(&self.id).and_then(|id| id_of(id.get()));
        let score = members.get(&self.order_by);
        let score = score.and_then(|score| serde_json::from_str(score.get()).ok());
        match (id, score) {
            (Some(id), Some(score)) => {
                let key = format!("follow_up:{}:{id}", self.name);
                if IdempotencyKey::is_name(&key) {
                    Judged::Good(Item { key, score, text })
                } else {
                    Judged::Invalid
                }
            }
            (None, _) | (_, None) => Judged::Invalid,
        }
    }
}

/// What an object or an array has under this token of a pointer.
fn child<'a>(text: &'a str, token: &str) -> Option<&'a RawValue> {
    if text.starts_with('{') {
        return serde_json::from_str::<Members<'a>>(text).ok()?.remove(token);
    }
    let is_index = token == "0" || (!token.starts_with('0') && !token.starts_with('+'));
    let index: usize = token.parse().ok().filter(|_| is_index)?;
    serde_json::from_str::<Vec<&'a RawValue>>(text).ok()?.get(index).copied()
}

/// What tells an item apart: a text that is not empty, or an integer.
fn id_of(text: &str) -> Option<String> {
    match serde_json::from_str(text).ok()? {
        Value::String(id) => Some(id).filter(|id| !id.is_empty()),
        Value::Number(number) => (number.is_i64() || number.is_u64()).then(|| number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
