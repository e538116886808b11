//! Two contents have one fingerprint when they say the same, and only then.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{
    AgentId, ChildOf, Content, Fingerprint, IdempotencyKey, Json, Priority, TaskId, TaskType,
};

fn json(text: &str) -> Json {
    Json::new(RawValue::from_string(text.to_owned()).unwrap_or_else(|_| panic!("no JSON: {text}")))
}

fn of_payload(text: &str) -> Fingerprint {
    Fingerprint::of(&Content { payload: &json(text), ..general(&json("{}")) })
}

fn general(payload: &Json) -> Content<'_> {
    let (kind, priority) = (TaskType::default(), Priority::default());
    Content { kind, priority, preferred: None, timeout_us: None, of: None, payload }
}

#[test]
fn spelling_makes_no_difference() {
    for same in [
        &["{}", " { } ", "{\n}"][..],
        &[r#"{"a":1,"b":[1,2]}"#, "{\"b\": [1,\t2],\n \"a\": 1}"],
        &[r#"{"a":"é/\"\n"}"#, r#"{"a":"\u00e9\/\u0022\u000A"}"#, r#"{"\u0061":"\u00E9/\"\n"}"#],
        &[r#"{"a":"😀"}"#, r#"{"a":"\ud83d\ude00"}"#],
        &[r#"{"a":1}"#, r#"{"a":1.0}"#, r#"{"a":10e-1}"#, r#"{"a":0.1E+1}"#, r#"{"a":1e0000}"#],
        &[r#"{"a":0}"#, r#"{"a":-0}"#, r#"{"a":0.00}"#, r#"{"a":0e99999999999999999999}"#],
        &[r#"{"a":1200}"#, r#"{"a":12e2}"#, r#"{"a":1200.000}"#, r#"{"a":0.012e5}"#],
        &[r#"{"a":-0.5}"#, r#"{"a":-5e-1}"#],
        &[r#"{"a":1,"a":2}"#, r#"{"a":2}"#, r#"{"a":{"b":3},"a":2}"#, r#"{"a":1,"\u0061":2}"#],
        &[r#"{"a":{"c":1,"b":{}}}"#, r#"{"a":{"b":{},"c":1}}"#],
    ] {
        for other in &same[1..] {
            assert_eq!(of_payload(same[0]), of_payload(other), "{} and {other}", same[0]);
        }
    }
}

#[test]
fn everything_else_does() {
    let different = [
        "{}",
        r#"{"a":null}"#,
        r#"{"a":true}"#,
        r#"{"a":false}"#,
        r#"{"a":0}"#,
        r#"{"a":1}"#,
        r#"{"a":-1}"#,
        r#"{"a":10}"#,
        r#"{"a":0.1}"#,
        // The same float as the one before, and another number.
        r#"{"a":0.1000000000000000055511151231257827}"#,
        r#"{"a":9007199254740992}"#,
        r#"{"a":9007199254740993}"#,
        r#"{"a":123456789012345678901234567890}"#,
        r#"{"a":123456789012345678901234567891}"#,
        r#"{"a":1e-400}"#,
        r#"{"a":1e-401}"#,
        r#"{"a":1e-99999999999999999999}"#,
        r#"{"a":1e-99999999999999999998}"#,
        r#"{"a":""}"#,
        r#"{"a":"1"}"#,
        r#"{"a":"null"}"#,
        r#"{"a":" "}"#,
        r#"{"a":"\u0000"}"#,
        // Composed and decomposed: not the same text.
        r#"{"a":"\u00e9"}"#,
        r#"{"a":"e\u0301"}"#,
        r#"{"A":1}"#,
        r#"{"":1}"#,
        r#"{"a":1,"b":1}"#,
        r#"{"b":1}"#,
        r#"{"a":[]}"#,
        r#"{"a":[[]]}"#,
        r#"{"a":[[],[]]}"#,
        r#"{"a":{}}"#,
        r#"{"a":[{}]}"#,
        r#"{"a":[1,2]}"#,
        r#"{"a":[2,1]}"#,
        r#"{"a":[12]}"#,
        r#"{"a":[1,[2]]}"#,
        r#"{"a":[[1],2]}"#,
        r#"{"a":["1,2"]}"#,
        r#"{"a":{"a":1}}"#,
        r#"{"aa":{"":1}}"#,
        r#"{"a":1,"c":{"b":2}}"#,
        r#"{"a":1,"b":2,"c":{}}"#,
    ];
    let mut seen = BTreeMap::new();
    for text in different {
        let before = seen.insert(of_payload(text).0, text);
        assert_eq!(before, None, "the same as {text}");
    }
}

#[test]
fn every_part_of_a_content_counts() {
    let payload = json("{}");
    let plain = general(&payload);
    let id = "0198c0de-0000-7000-8000-00000000000a";
    let parent = TaskId::parse(id).unwrap();
    let of = ChildOf { parent, detach: false, inherits_priority: false, caller: None };
    let different = [
        plain,
        Content { kind: TaskType::Ingest, ..plain },
        Content { priority: Priority::new(1).unwrap(), ..plain },
        Content { priority: Priority::new(-1).unwrap(), ..plain },
        Content { preferred: Some(id), ..plain },
        Content { preferred: Some("0198c0de-0000-7000-8000-00000000000b"), ..plain },
        Content { preferred: Some("anna"), ..plain },
        Content { preferred: Some("Anna"), ..plain },
        Content { preferred: Some(""), ..plain },
        Content { timeout_us: Some(1), ..plain },
        Content { timeout_us: Some(2), ..plain },
        Content { of: Some(&of), ..plain },
        Content { of: Some(&ChildOf { detach: true, ..of }), ..plain },
        Content { of: Some(&ChildOf { inherits_priority: true, ..of }), ..plain },
        Content { of: Some(&ChildOf { parent: TaskId::from_uuid(Uuid::max()), ..of }), ..plain },
    ];
    let seen: BTreeMap<_, _> = different
        .iter()
        .enumerate()
        .map(|(index, content)| (Fingerprint::of(content).0, index))
        .collect();
    assert_eq!(seen.len(), different.len());
    let upper = id.to_uppercase();
    assert_eq!(AgentId::parse(id), AgentId::parse(&upper));
    let respelled = Content { preferred: Some(&upper), ..plain };
    assert_eq!(Fingerprint::of(&respelled), Fingerprint::of(&different[4]));
}

/// What is stored must mean the same in every version.
#[test]
fn a_fingerprint_is_for_ever() {
    let payload = json(r#"{"b":[null,true,-1.50,"é"],"a":{"c":1e-99999999999999999999}}"#);
    let content = Content {
        kind: TaskType::Research,
        priority: Priority::new(-7).unwrap(),
        preferred: Some("anna"),
        timeout_us: Some(1_500_000),
        of: None,
        payload: &payload,
    };
    let hex = |print: Fingerprint| print.0.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(
        hex(Fingerprint::of(&content)),
        "d38ca8047a9ec16b90945fec95f1206f23a5dced34295de52e11fa1855579399"
    );
    assert_eq!(
        hex(of_payload("{}")),
        "f33b90e315f630ccaf67d43c0b63267478022eb7f01b38b93437ce5d2386eadd"
    );
}

#[test]
fn depth_and_size_are_no_trouble() {
    // Far deeper than what is accepted.
    let nested = |inner: &str| {
        let (open, close) = ("[{\"a\":".repeat(10_000), "}]".repeat(10_000));
        format!("{open}{inner}{close}")
    };
    assert_eq!(of_payload(&nested("1")), of_payload(&nested("1.0")));
    assert_ne!(of_payload(&nested("1")), of_payload(&nested("2")));
    let wide = |last: &str| format!("{{\"a\":[{}{last}]}}", r#"{"":1},"#.repeat(20_000));
    assert_eq!(of_payload(&wide("[1e1]")), of_payload(&wide("[ 10 ]")));
    assert_ne!(of_payload(&wide("1")), of_payload(&wide("2")));
}

#[test]
fn a_key_has_1_to_200_characters_and_no_control_characters() {
    for good in ["a", " ", "a b", "ключ", "\u{1F600}", &"é".repeat(200), "{\"a\":1}"] {
        assert!(IdempotencyKey::is_name(good), "{good}");
    }
    for bad in ["", "\n", "a\0", "a\u{7f}", "\u{85}", &"é".repeat(201)] {
        assert!(!IdempotencyKey::is_name(bad), "{bad:?}");
    }
}

/// A value as a model: a number is an integer times a power of ten.
#[derive(Clone, Debug)]
enum Value {
    Null,
    Bool(bool),
    Number(i64, i8),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// The same for values that say the same.
#[derive(Clone, Debug, PartialEq)]
enum Meaning {
    Null,
    Bool(bool),
    Number(i64, i32),
    Text(String),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

impl Value {
    fn meaning(&self) -> Meaning {
        match self {
            Self::Null => Meaning::Null,
            Self::Bool(bool) => Meaning::Bool(*bool),
            Self::Number(0, _) => Meaning::Number(0, 0),
            Self::Number(integer, power) => {
                let (mut integer, mut power) = (*integer, i32::from(*power));
                while integer % 10 == 0 {
                    (integer, power) = (integer / 10, power + 1);
                }
                Meaning::Number(integer, power)
            }
            Self::Text(text) => Meaning::Text(text.clone()),
            Self::List(items) => Meaning::List(items.iter().map(Self::meaning).collect()),
            Self::Object(members) => Meaning::Object(
                members.iter().map(|(name, value)| (name.clone(), value.meaning())).collect(),
            ),
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let text = "[ab\"\\\\/é\u{1F600}\n]{0,3}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-20..20_i64, -2..3_i8).prop_map(|(integer, power)| Value::Number(integer, power)),
        (any::<i64>(), any::<i8>()).prop_map(|(integer, power)| Value::Number(integer, power)),
        text.prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec(("[abc\"é]{0,1}", inner), 0..4).prop_map(Value::Object),
        ]
    })
}

/// Writes a value in one of the many ways that there are.
struct Pen {
    choices: u64,
    out: String,
}

impl Pen {
    fn write(value: &Value, choices: u64) -> String {
        let mut pen = Self { choices, out: String::new() };
        pen.value(value);
        pen.out
    }

    /// A choice among so many.
    fn choose(&mut self, of: u64) -> u64 {
        self.choices = self.choices.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.choices >> 33) % of
    }

    fn space(&mut self) {
        let space = ["", " ", "\t", "\r\n", "  "][self.choose(5) as usize];
        self.out.push_str(space);
    }

    fn value(&mut self, value: &Value) {
        self.space();
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(bool) => self.out.push_str(&bool.to_string()),
            Value::Number(integer, power) => self.number(*integer, i32::from(*power)),
            Value::Text(text) => self.text(text),
            Value::List(items) => {
                self.out.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.out.push_str(if index > 0 { "," } else { "" });
                    self.value(item);
                }
                self.out.push(']');
            }
            Value::Object(members) => self.object(members),
        }
        self.space();
    }

    /// In any order, but for members of one name: of these the last counts.
    fn object(&mut self, members: &[(String, Value)]) {
        let mut left: Vec<_> = members.iter().collect();
        self.out.push('{');
        while !left.is_empty() {
            let any = self.choose(left.len() as u64) as usize;
            let first = left.iter().position(|(name, _)| *name == left[any].0).unwrap();
            let (name, value) = left.remove(first);
            self.space();
            self.text(name);
            self.space();
            self.out.push(':');
            self.value(value);
            self.out.push_str(if left.is_empty() { "" } else { "," });
        }
        self.out.push('}');
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for unit in text.chars() {
            let must = unit.is_control() || matches!(unit, '"' | '\\');
            if must || self.choose(3) == 0 {
                for half in unit.encode_utf16(&mut [0; 2]) {
                    self.out.push_str(&format!("\\u{half:04x}"));
                }
            } else {
                self.out.push(unit);
            }
        }
        self.out.push('"');
    }

    fn number(&mut self, integer: i64, power: i32) {
        let zeros = if integer == 0 { 0 } else { self.choose(3) as usize };
        let mut digits = format!("{}{}", integer.unsigned_abs(), "0".repeat(zeros));
        let mut point = self.choose(digits.len() as u64) as usize;
        if self.choose(3) == 0 {
            point = digits.len() + self.choose(2) as usize;
            digits.insert_str(0, &"0".repeat(point + 1 - digits.len()));
        }
        let (whole, fraction) = digits.split_at(digits.len() - point);
        let power = power + (point as i32) - (zeros as i32);
        let sign = if integer < 0 { "-" } else { "" };
        let dot = if fraction.is_empty() { "" } else { "." };
        let e = ["e", "E"][self.choose(2) as usize];
        let plus = if power >= 0 && self.choose(2) == 0 { "+" } else { "" };
        let is_plain = power == 0 && self.choose(2) == 0;
        let exponent = if is_plain { String::new() } else { format!("{e}{plus}{power}") };
        self.out.push_str(&format!("{sign}{whole}{dot}{fraction}{exponent}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(2_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn however_a_value_is_written_it_has_one_fingerprint(
        value in value(),
        one in any::<u64>(),
        other in any::<u64>(),
    ) {
        let (one, other) = (Pen::write(&value, one), Pen::write(&value, other));
        prop_assert_eq!(of_payload(&one), of_payload(&other), "{} and {}", one, other);
    }

    #[test]
    fn two_values_have_one_fingerprint_only_when_they_say_the_same(
        one in value(),
        other in value(),
        choices in any::<u64>(),
    ) {
        let same = one.meaning() == other.meaning();
        let (one, other) = (Pen::write(&one, choices), Pen::write(&other, !choices));
        prop_assert_eq!(of_payload(&one) == of_payload(&other), same, "{} and {}", one, other);
    }

    #[test]
    fn a_change_anywhere_gives_another_fingerprint(
        value in value(),
        at in any::<prop::sample::Index>(),
        to in prop_oneof![Just(Value::Null), Just(Value::Number(7, 0)), Just(Value::List(vec![]))],
        choices in any::<u64>(),
    ) {
        let mut changed = value.clone();
        let nodes = count(&changed);
        replace(&mut changed, &mut at.index(nodes), &to);
        let same = value.meaning() == changed.meaning();
        let (one, other) = (Pen::write(&value, choices), Pen::write(&changed, choices));
        prop_assert_eq!(of_payload(&one) == of_payload(&other), same, "{} and {}", one, other);
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(members) => 1 + members.iter().map(|(_, value)| count(value)).sum::<usize>(),
        _ => 1,
    }
}

/// Puts `to` in the place of the node of this number, counted from the root.
fn replace(value: &mut Value, number: &mut usize, to: &Value) {
    if *number == 0 {
        *value = to.clone();
    }
    *number = number.wrapping_sub(1);
    match value {
        Value::List(items) => items.iter_mut().for_each(|item| replace(item, number, to)),
        Value::Object(members) => {
            members.iter_mut().for_each(|(_, value)| replace(value, number, to));
        }
        _ => {}
    }
}
