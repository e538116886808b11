//! What becomes work when a task completes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::task_type::TaskType;

/// The most tasks that one completion makes.
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
