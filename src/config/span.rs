//! Times that are given with their unit: `"90s"`, `"15m"`, `"12h"`, `"7d"`.

use std::time::Duration;

/// The units with their lengths in seconds, the longest first.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a whole number with one unit behind it.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let number = &text[..text.len() - unit.len_utf8()];
    let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = is_plain.then(|| number.parse().ok())??;
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// Writes whole seconds in the longest unit that fits.
pub(super) fn show(span: Duration) -> String {
    let seconds = span.as_secs();
    let fits = |(_, length): &(char, u64)| seconds.is_multiple_of(*length) && seconds >= *length;
    let (name, length) = UNITS.into_iter().find(fits).unwrap_or(('s', 1));
    format!("{}{name}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_again() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("12h", 43_200),
            ("7d", 604_800),
            ("25h", 90_000),
            ("0s", 0),
        ] {
            let span = Duration::from_secs(seconds);
            assert_eq!(parse(text), Some(span));
            assert_eq!(show(span), text);
        }
        assert_eq!(parse("60m"), parse("1h"));
        assert_eq!(parse("007d"), parse("7d"));
    }

    #[test]
    fn anything_else_is_no_time() {
        for text in ["", "d", "7", "7 d", " 7d", "+7d", "-7d", "7.5d", "7D", "7w", "1h30m", "7é"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("18446744073709551615d"), None);
        assert_eq!(parse("99999999999999999999s"), None);
    }
}
