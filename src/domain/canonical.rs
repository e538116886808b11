//! One form for all spellings of a JSON value.
//!
//! Two texts have the same form when they say the same: white space, the order of the members of an
//! object and the escapes in strings make no difference, and neither does how a number is written:
//! `1`, `1.0` and `10e-1` are one number, as are `0` and `-0`. Numbers are compared exactly, as
//! decimals: two that a reader would round to the same float are still two numbers. Of several
//! members with one name the last one counts, as for nearly every reader of JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::json::Json;

/// The form: every value begins with a tag and says where it ends, so no two different values have
/// the same. An object is there as the hash of its members: that keeps sorting them cheap, however
/// deep objects are nested.
pub(super) fn bytes(json: &Json) -> Vec<u8> {
    bytes_of_text(json.as_str())
}

/// The form of a text that is JSON.
pub(super) fn bytes_of_text(text: &str) -> Vec<u8> {
    Writer::write(text)
}

/// How the form says a length.
pub(super) fn length(length: usize) -> [u8; 8] {
    (length as u64).to_le_bytes()
}

/// Goes through a text that is known to be JSON, once and without recursion.
struct Writer<'a> {
    rest: &'a str,
    out: Vec<u8>,
    /// The arrays and objects whose end has not come yet.
    open: Vec<Open<'a>>,
}

struct Open<'a> {
    /// Where it begins in what was written.
    from: usize,
    /// `None` for an array.
    members: Option<Members<'a>>,
}

#[derive(Default)]
struct Members<'a> {
    /// The name of the one that comes next.
    name: Option<Cow<'a, str>>,
    /// Where the value of each is in what was written.
    values: BTreeMap<Cow<'a, str>, Range<usize>>,
}

impl<'a> Writer<'a> {
    fn write(text: &'a str) -> Vec<u8> {
        let mut writer = Self { rest: text, out: Vec::with_capacity(text.len()), open: Vec::new() };
        while let Some(first) = writer.rest.bytes().next() {
            match first {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => drop(writer.take(1)),
                b'[' => writer.begin(None),
                b'{' => writer.begin(Some(Members::default())),
                b']' | b'}' => writer.end(),
                b'"' => writer.string(),
                b't' | b'f' | b'n' => writer.word(),
                _ => writer.number(),
            }
        }
        writer.out
    }

    /// Takes so many bytes of what is left.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Takes what is left up to the first byte that is not of a word or number.
    fn take_token(&mut self) -> &'a str {
        let ends =
            |byte: u8| !matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'-' | b'+' | b'.');
        let end = self.rest.bytes().position(ends).unwrap_or(self.rest.len());
        self.take(end.max(1))
    }

    fn begin(&mut self, members: Option<Members<'a>>) {
        self.take(1);
        self.open.push(Open { from: self.out.len(), members });
        self.out.push(b'[');
    }

    fn end(&mut self) {
        self.take(1);
        let Some(Open { from, members }) = self.open.pop() else { return };
        match members {
            None => self.out.push(b']'),
            Some(members) => {
                let mut hash = Sha256::new();
                for (name, value) in members.values {
                    hash.update(length(name.len()));
                    hash.update(name.as_bytes());
                    hash.update(&self.out[value]);
                }
                self.out.truncate(from);
                self.out.push(b'{');
                self.out.extend_from_slice(&hash.finalize());
            }
        }
        self.value_ended(from);
    }

    /// What was written from there on is a value.
    fn value_ended(&mut self, from: usize) {
        let object = self.open.last_mut().and_then(|open| open.members.as_mut());
        if let Some(Members { name, values }) = object {
            values.insert(name.take().unwrap_or_default(), from..self.out.len());
        }
    }

    /// A name, where an object waits for one, or else a value.
    fn string(&mut self) {
        let text = self.take_string();
        let object = self.open.last_mut().and_then(|open| open.members.as_mut());
        if let Some(Members { name: name @ None, .. }) = object {
            *name = Some(text);
            return;
        }
        let from = self.out.len();
        self.out.push(b'"');
        self.out.extend_from_slice(&length(text.len()));
        self.out.extend_from_slice(text.as_bytes());
        self.value_ended(from);
    }

    fn take_string(&mut self) -> Cow<'a, str> {
        let mut escaped = false;
        let ends = |byte: u8| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        };
        let inner = self.rest.bytes().skip(1).position(ends).unwrap_or(self.rest.len());
        let quoted = self.take(inner + 2);
        match quoted.get(1..=inner).filter(|inner| !inner.contains('\\')) {
            Some(inner) => Cow::Borrowed(inner),
            // What cannot be a string is in no text that was checked; as it stands it is still
            // the same as itself alone.
            None => serde_json::from_str(quoted).map_or(Cow::Borrowed(quoted), Cow::Owned),
        }
    }

    fn word(&mut self) {
        let from = self.out.len();
        let first = self.take_token().bytes().take(1);
        self.out.extend(first);
        self.value_ended(from);
    }

    fn number(&mut self) {
        let from = self.out.len();
        let text = self.take_token();
        match Decimal::parse(text) {
            Some(Decimal { digits, .. }) if digits.is_empty() => self.out.push(b'0'),
            Some(Decimal { negative, digits, power }) => {
                self.out.extend(negative.then_some(b'-'));
                self.out.extend_from_slice(&digits);
                self.out.extend_from_slice(format!("e{power}").as_bytes());
            }
            // Its exponent is beyond everything: only the same text is the same number.
            None => {
                self.out.push(b'x');
                self.out.extend_from_slice(text.as_bytes());
            }
        }
        self.out.push(b';');
        self.value_ended(from);
    }
}

/// A number: its digits, without zeros at either end, as an integer times a power of ten.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    power: i128,
}

impl Decimal {
    /// Reads a number of JSON; `None` when its exponent does not fit.
    fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let unsigned = mantissa.strip_prefix('-');
        let negative = unsigned.is_some();
        let mantissa = unsigned.unwrap_or(mantissa);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<_> = whole.bytes().chain(fraction.bytes()).collect();
        let all = digits.len();
        digits.truncate(digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1));
        let dropped = all - digits.len();
        digits.drain(..digits.iter().position(|&digit| digit != b'0').unwrap_or(0));
        if digits.is_empty() {
            return Some(Self { negative: false, digits, power: 0 });
        }
        let exponent: i64 = exponent.parse().ok()?;
        let power = i128::from(exponent) - fraction.len() as i128 + dropped as i128;
        Some(Self { negative, digits, power })
    }
}
