//! `[[follow_up]]`.

use std::collections::BTreeMap;

use serde_json::json;

use super::{load_text, refusal};
use crate::domain::{FollowUpRule, TaskType};

fn rules(text: &str) -> Vec<FollowUpRule> {
    load_text(text, &[]).unwrap().follow_ups
}

/// The refusal of a rule whose `keys` begin on line 3.
fn refusal_of(keys: &str) -> String {
    refusal(&format!("[[follow_up]]\nname = \"a\"\n{keys}\n"), &[])
}

#[test]
fn a_name_alone_takes_what_a_discovery_recommends() {
    let migrate = FollowUpRule {
        name: "migrate".to_owned(),
        of: TaskType::Discovery,
        task_type: TaskType::Migration,
        items: "/components".to_owned(),
        filter: BTreeMap::from([("migration_recommended".to_owned(), json!(true))]),
        id: "component_id".to_owned(),
        order_by: "composite_score".to_owned(),
        top: 20,
    };
    assert_eq!(rules("[[follow_up]]\nname = \"migrate\"\n"), [migrate]);
}

#[test]
fn all_can_be_said() {
    let text = r#"
        [[follow_up]]
        name = "a"
        of = "research"
        task_type = "research"
        items = ""
        id = "é"
        order_by = "score"
        top = 200
        [follow_up.filter]
        kind = "x"
        size = 1.5
        tags = ["a", { b = 1 }]
        [[follow_up]]
        name = "b"
        filter = {}
        items = "/a~1b/0/~0"
        [[follow_up]]
        name = "c"
        filter.deep.down = true
    "#;
    let rules = rules(text);
    let [a, b, c] = &rules[..] else { panic!("{rules:?}") };
    assert_eq!((a.of, a.task_type), (TaskType::Research, TaskType::Research));
    assert_eq!((&*a.items, &*a.id, &*a.order_by, a.top), ("", "é", "score", 200));
    assert_eq!(json!(a.filter), json!({ "kind": "x", "size": 1.5, "tags": ["a", { "b": 1 }] }));
    assert_eq!(b.filter, BTreeMap::new(), "an empty filter is not the default");
    assert_eq!(b.items, "/a~1b/0/~0");
    assert_eq!(json!(c.filter), json!({ "deep": { "down": true } }));
}

#[test]
fn a_rule_is_refused_with_what_is_allowed() {
    let types = r#""discovery", "migration", "heartbeat", "ingest", "research", "general""#;
    for (keys, problem) in [
        ("of = \"all\"", format!("of must be one of {types}, found \"all\"")),
        ("task_type = 1", format!("task_type must be one of {types}, found 1")),
        ("id = \"\"", "id must be the name of a member of an item, found \"\"".to_owned()),
        (
            "order_by = [\"a\"]",
            "order_by must be the name of a member of an item, found [\"a\"]".to_owned(),
        ),
        ("top = 0", "top must be between 1 and 200, found 0".to_owned()),
        ("top = 201", "top must be between 1 and 200, found 201".to_owned()),
        ("filter = true", "filter must be a table such as { name = \"value\" }".to_owned()),
        ("filter = { score = nan }", "filter.score must be a finite number".to_owned()),
    ] {
        assert_eq!(refusal_of(keys), format!("test.toml:3: follow_up[0].{problem}"));
    }
}

#[test]
fn a_pointer_is_empty_or_begins_with_a_slash() {
    for bad in ["components", "components/0", "$.components", "/a~", "/a~2", "#/a"] {
        assert_eq!(
            refusal_of(&format!("items = {bad:?}")),
            format!(
                "test.toml:3: follow_up[0].items must be a JSON pointer, empty for the whole \
                 result, or such as \"/components\" or \"/report/items\", found {bad:?}"
            )
        );
    }
}

#[test]
fn a_rule_has_a_name_of_its_own_and_known_keys() {
    let rule = "[[follow_up]]\nname = \"a\"\n";
    assert_eq!(
        refusal(&format!("{rule}{rule}"), &[]),
        "test.toml:4: follow_up[1].name must be its own, but follow_up[0] is called \"a\", too"
    );
    assert_eq!(
        refusal_of("limit = 3"),
        "test.toml:3: unknown key follow_up[0].limit; [[follow_up]] has name, of, task_type, \
         items, filter, id, order_by, top"
    );
    assert_eq!(
        refusal("[follow_up]\nname = \"a\"", &[]),
        "test.toml:2: unknown key follow_up.name; every follow_up begins with [[follow_up]]"
    );
}
