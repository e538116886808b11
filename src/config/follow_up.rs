//! The keys of `[[follow_up]]`.

use super::defaults;
use super::entries::{entries, task_type};
use super::error::ConfigError;
use super::reader::Reader;
use super::worker::json;
use crate::domain::{FollowUpRule, MAX_FOLLOW_UPS};

/// Each is asked at every completion of its type.
const FOLLOW_UPS_MAX: usize = 64;

const POINTER_TEXT: &str =
    "a JSON pointer, empty for the whole result, or such as \"/components\" or \"/report/items\"";
const MEMBER_TEXT: &str = "the name of a member of an item";

/// Every `[[follow_up]]`.
pub(super) fn follow_ups(reader: &mut Reader) -> Result<Vec<FollowUpRule>, ConfigError> {
    entries(reader, "follow_up", FOLLOW_UPS_MAX, |reader, section, name| {
        let key = |name: &str| format!("{section}.{name}");
        let default = defaults::follow_up(name);
        let pointer = |text: &str| is_pointer(text).then(|| text.to_owned());
        let member = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(FollowUpRule {
            of: task_type(reader, &key("of"), Some(default.of))?,
            task_type: task_type(reader, &key("task_type"), Some(default.task_type))?,
            items: reader.text(&key("items"), POINTER_TEXT, pointer, default.items)?,
            filter: reader
                .optional_table(&key("filter"), |_, value| json(value))?
                .unwrap_or(default.filter),
            id: reader.text(&key("id"), MEMBER_TEXT, member, default.id)?,
            order_by: reader.text(&key("order_by"), MEMBER_TEXT, member, default.order_by)?,
            top: reader.integer(&key("top"), 1..=MAX_FOLLOW_UPS, default.top)?,
            ..default
        })
    })
}

/// RFC 6901: each step begins with "/", and "~" stands only in "~0" and "~1".
fn is_pointer(text: &str) -> bool {
    let is_escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    (text.is_empty() || text.starts_with('/')) && is_escaped
}
