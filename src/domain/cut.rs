//! Bounds for texts of others.

/// What a cut text ends with.
const MARK: &str = " [cut]";

/// Cuts `text` to at most `max_bytes`, the mark at its end included, and never inside of a
/// character. What was cut off holds no memory any more.
#[must_use]
pub fn cut(mut text: String, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text;
    }
    let mark = &MARK[..MARK.len().min(max_bytes)];
    let mut end = max_bytes - mark.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(mark);
    text.shrink_to_fit();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_stays_as_it_is() {
        for text in ["", "a", "0123456789", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"] {
            assert_eq!(cut(text.into(), 10), text);
        }
    }

    #[test]
    fn a_longer_one_ends_with_the_mark_within_the_limit() {
        assert_eq!(cut("0123456789a".into(), 10), "0123 [cut]");
        assert_eq!(cut("0123456789a".into(), 3), " [c");
        assert_eq!(cut("0123456789a".into(), 0), "");
    }

    #[test]
    fn no_character_is_cut_in_two() {
        let text = "\u{1f600}".repeat(100);
        for max_bytes in 0..text.len() {
            let short = cut(text.clone(), max_bytes);
            assert!(short.len() <= max_bytes && short.len() + 4 > max_bytes, "{short:?}");
        }
    }

    #[test]
    fn what_was_cut_off_is_freed() {
        assert!(cut("x".repeat(1_000_000), 100).capacity() < 1_000);
    }
}
