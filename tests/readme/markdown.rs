//! As much of Markdown as these tests need.

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// What stands behind the opening fence.
    pub info: String,
    /// The line of the opening fence; the first is 1.
    pub line: usize,
    /// What stands between the fences.
    pub text: String,
}

/// The fenced blocks of a text, in their order.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        let fence = line.strip_prefix("```");
        open = match (open, fence) {
            (None, None) => None,
            (None, Some(info)) => {
                Some(Block { info: info.trim().to_owned(), line: index + 1, text: String::new() })
            }
            (Some(block), Some("")) => {
                blocks.push(block);
                None
            }
            (Some(mut block), _) => {
                block.text += line;
                block.text.push('\n');
                Some(block)
            }
        };
    }
    assert!(open.is_none(), "a fence is not closed: {open:?}");
    blocks
}

/// Whether `printed` is what `shown` says. White space does not count, and `...` stands for
/// anything.
pub fn matches(shown: &str, printed: &str) -> bool {
    let squeezed = |text: &str| -> String { text.split_whitespace().collect() };
    let (shown, printed) = (squeezed(shown), squeezed(printed));
    let mut parts = shown.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[test]
fn a_wildcard_stands_for_anything_and_white_space_for_nothing() {
    for (shown, printed) in [
        ("", " \n"),
        ("{\"a\": 1}", "{\"a\":1}\n"),
        ("a ... b", "a c d b"),
        ("a...", "a"),
        ("...a...b...", "xaxbx"),
        ("[\"...\", \"...\"]", "[\"one\",\"two\"]"),
    ] {
        assert!(matches(shown, printed), "{shown} {printed}");
    }
    for (shown, printed) in [
        ("", "a"),
        ("a", ""),
        ("a", "ab"),
        ("a...b", "axbx"),
        ("a...b...b", "ab"),
        ("ab...bc", "abc"),
    ] {
        assert!(!matches(shown, printed), "{shown} {printed}");
    }
}

#[test]
fn blocks_are_found_with_their_lines() {
    let found = blocks("text\n```sh\na\n\nb\n```\n``` text no-run\n```\n");
    let block = |info: &str, line, text: &str| Block { info: info.into(), line, text: text.into() };
    assert_eq!(found, [block("sh", 2, "a\n\nb\n"), block("text no-run", 7, "")]);
}
