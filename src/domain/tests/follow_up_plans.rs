//! What a rule makes of a result.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::task;
use crate::domain::{FollowUpRule, Json, MAX_FOLLOW_UPS, Priority, TaskType};

pub(super) fn rule() -> FollowUpRule {
    FollowUpRule {
        name: "migrate".into(),
        of: TaskType::Discovery,
        task_type: TaskType::Migration,
        items: "/components".into(),
        filter: BTreeMap::from([("migration_recommended".into(), json!(true))]),
        id: "component_id".into(),
        order_by: "composite_score".into(),
        top: 20,
    }
}

pub(super) fn to_json(value: &Value) -> Json {
    serde_json::from_str(&value.to_string()).unwrap()
}

pub(super) fn item(id: impl Into<Value>, score: impl Into<Value>) -> Value {
    json!({
        "component_id": id.into(), "composite_score": score.into(), "migration_recommended": true,
    })
}

pub(super) fn of_items(items: &[Value]) -> Json {
    to_json(&json!({ "components": items }))
}

/// What the rule plans: the last parts of the keys, and how many items are invalid.
fn planned(rule: &FollowUpRule, result: &Json) -> (Vec<String>, u64) {
    let mut number = 0;
    let fresh = || {
        number += 1;
        task(&format!("n{number}"))
    };
    let plan = rule.plan(Some(result), Priority::default(), fresh);
    let id = |key: &str| key.strip_prefix("follow_up:migrate:").unwrap().to_owned();
    (plan.tasks.iter().map(|planned| id(&planned.key.name)).collect(), plan.invalid)
}

#[test]
fn the_best_items_come_first_and_equals_as_in_the_list() {
    let items = [item("a", 1), item("b", 2.5), item("c", 2.5), item("d", -1), item("e", 1.0)];
    let order = |top| planned(&FollowUpRule { top, ..rule() }, &of_items(&items)).0.join("");
    assert_eq!(order(20), "bcaed");
    assert_eq!(order(3), "bca");
    let many: Vec<_> = (0..300).map(|number| item(number, number)).collect();
    let (all, _) = planned(&FollowUpRule { top: 1_000, ..rule() }, &of_items(&many));
    assert_eq!((all.len(), &*all[0]), (MAX_FOLLOW_UPS, "299"));
}

#[test]
fn only_what_passes_the_filter_counts() {
    let mut wrong = item("a", 1);
    wrong["migration_recommended"] = json!(false);
    let mut missing = item(Value::Null, "no number");
    missing.as_object_mut().unwrap().remove("migration_recommended");
    let items = of_items(&[wrong, missing, item("b", 1)]);
    assert_eq!(planned(&rule(), &items), (vec!["b".to_owned()], 0));
}

#[test]
fn the_filter_compares_by_value() {
    let passes = |wanted: Value, text: &str| {
        let filter = BTreeMap::from([("x".into(), wanted)]);
        let text = format!(r#"[{{"component_id":"a","composite_score":1,"x":{text}}}]"#);
        let rule = FollowUpRule { filter, items: String::new(), ..rule() };
        planned(&rule, &serde_json::from_str(&text).unwrap()) == (vec!["a".to_owned()], 0)
    };
    assert!(passes(json!(1), "1.0") && passes(json!(1.0), "1") && passes(json!(100), "1e2"));
    assert!(passes(json!("a"), r#""\u0061""#) && passes(json!(null), "null"));
    assert!(passes(json!({"a": [1], "b": 2}), r#"{"b": 2.0, "a": [1]}"#));
    assert!(!passes(json!(1), "2") && !passes(json!(1), r#""1""#) && !passes(json!(1), "true"));
}

#[test]
fn bad_items_are_invalid_and_the_others_are_made() {
    let long = "x".repeat(200);
    let bad = [
        json!("no object"),
        json!([]),
        item(Value::Null, 1),
        item("", 1),
        item(1.5, 1),
        item(true, 1),
        item("a\nb", 1),
        item(long, 1),
        item("no score", Value::Null),
        item("no number", "1"),
    ];
    let mut no_id = item("a", 1);
    no_id.as_object_mut().unwrap().remove("component_id");
    // What is no object has nothing that a filter could want.
    let items: Vec<_> = bad.into_iter().chain([no_id, item("good", 1)]).collect();
    let count = items.len() as u64 - 1;
    assert_eq!(planned(&rule(), &of_items(&items)), (vec!["good".to_owned()], count));
}

#[test]
fn a_key_is_as_long_as_a_key_may_be() {
    let fits = 200 - "follow_up:migrate:".len();
    for (length, invalid) in [(fits, 0), (fits + 1, 1)] {
        assert_eq!(planned(&rule(), &of_items(&[item("é".repeat(length), 1)])).1, invalid);
    }
}

#[test]
fn an_integer_is_an_id_as_its_text() {
    let items = of_items(&[item(7, 3), item(-7, 2), item(u64::MAX, 1)]);
    assert_eq!(planned(&rule(), &items).0, ["7", "-7", &u64::MAX.to_string()]);
}

#[test]
fn a_pointer_leads_to_the_list_or_to_one_invalid_item() {
    let result = to_json(&json!({"a/b": {"m~n": [0, [item("x", 1)]]}, "": {"": [item("y", 1)]}}));
    let at = |items: &str| planned(&FollowUpRule { items: items.into(), ..rule() }, &result);
    assert_eq!(at("/a~1b/m~0n/1"), (vec!["x".to_owned()], 0));
    assert_eq!(at("//"), (vec!["y".to_owned()], 0));
    for nowhere in ["", "/", "/a", "/a~1b", "/a~1b/m~0n/01", "/a~1b/m~0n/2", "/a~1b/m~0n/-", "x"] {
        assert_eq!(at(nowhere), (Vec::new(), 1), "{nowhere}");
    }
    let plan = rule().plan(None, Priority::default(), || task("n"));
    assert_eq!((plan.tasks.len(), plan.invalid), (0, 1), "there is no result at all");
}

#[test]
fn the_payload_is_the_item_as_it_was_written() {
    let text = r#"{"components": [{"composite_score": 1.50, "component_id": "a",  "big":
        123456789012345678901234567890, "migration_recommended": true}]}"#;
    let plan =
        rule().plan(Some(&serde_json::from_str(text).unwrap()), Priority::default(), || task("n"));
    let payload = plan.tasks[0].payload.as_str();
    assert!(payload.contains("1.50") && payload.contains("123456789012345678901234567890"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let name = prop_oneof![
            Just("components".to_owned()),
            Just("component_id".to_owned()),
            Just("composite_score".to_owned()),
            Just("migration_recommended".to_owned()),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An item with members that may be missing or of any sort.
fn any_item() -> impl Strategy<Value = Value> {
    let member = |good: BoxedStrategy<Value>| prop_oneof![6 => good.prop_map(Some), 1 => any_json().prop_map(Some), 1 => Just(None)];
    let members = (
        member((0..9_i64).prop_map(Value::from).boxed()),
        member((-5..5_i64).prop_map(Value::from).boxed()),
        member(any::<bool>().prop_map(Value::from).boxed()),
    );
    members.prop_map(|(id, score, wanted)| {
        let names = ["component_id", "composite_score", "migration_recommended"];
        let members = names.into_iter().zip([id, score, wanted]);
        Value::Object(members.filter_map(|(name, value)| Some((name.into(), value?))).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_result_breaks_a_rule(result in any_json(), top in 0..4_usize) {
        let (ids, _) = planned(&FollowUpRule { top, ..rule() }, &to_json(&result));
        prop_assert!(ids.len() <= top);
    }

    /// The same as by sorting and counting with the values themselves.
    #[test]
    fn a_plan_is_the_best_of_the_good_items(
        items in prop::collection::vec(prop_oneof![5 => any_item(), 1 => any_json()], 0..12),
        top in 0..6_usize,
    ) {
        let (mut good, mut invalid) = (Vec::new(), 0);
        for item in &items {
            if item.is_object() && item.get("migration_recommended") != Some(&json!(true)) {
                continue;
            }
            let id = match item.get("component_id") {
                Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
                Some(Value::Number(id)) if !id.is_f64() => Some(id.to_string()),
                _ => None,
            };
            let id = id.filter(|id| !id.chars().any(char::is_control));
            match (id, item.get("composite_score").and_then(Value::as_f64)) {
                (Some(id), Some(score)) => good.push((score, id)),
                _ => invalid += 1,
            }
        }
        good.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap());
        let best: Vec<_> = good.into_iter().take(top).map(|(_, id)| id).collect();
        let plan = planned(&FollowUpRule { top, ..rule() }, &of_items(&items));
        prop_assert_eq!(plan, (best, invalid));
    }
}
