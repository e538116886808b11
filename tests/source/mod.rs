//! Rust files as text: only the code of them, and which rooms it names.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of ours.
pub(crate) struct RustFile {
    /// From the top of the project, with slashes.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Without comments, contents of strings and inline tests.
    pub(crate) code: String,
}

impl RustFile {
    /// The room of a file of `src`: its folder there, or its own name.
    pub(crate) fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    /// Whether all of the file is for tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// How many times `super::` leads from the file's own module to the root of the crate.
    pub(crate) fn depth(&self) -> usize {
        let parts = self.path.split('/').count() - 1;
        if self.path.ends_with("/mod.rs") { parts - 1 } else { parts }
    }
}

/// Every Rust file below a folder of the project; none when the folder is not there.
pub(crate) fn rust_files(folder: &str) -> Vec<RustFile> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&top.join(folder), &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a file of ours can be read");
        let path = path.strip_prefix(top).expect("it is below the top").display().to_string();
        let code = without_inline_tests(&code_of(&text));
        RustFile { path, text, code }
    };
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a folder of ours can be read").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Whether `word` stands in `code` as a word of its own.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.split(|c| !is_part(c)).any(|found| found == word)
}

/// What follows `crate::`, also in a group: `crate::{a::b, c}` names a and c.
pub(crate) fn crate_mentions(code: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = Vec::new();
    for (_, rest) in code.match_indices("crate::").map(|(at, word)| code.split_at(at + word.len()))
    {
        let Some(group) = rest.strip_prefix('{') else {
            found.push(name(rest));
            continue;
        };
        let mut depth = 1;
        let mut item = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => found.push(name(&std::mem::take(&mut item))),
                _ if depth == 1 => item.push(c),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        found.push(name(&item));
    }
    found.retain(|name| !name.is_empty());
    found
}

/// Drops `#[cfg(test)] mod x { ... }`; rustfmt puts its last brace at the begin of a line.
fn without_inline_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]\nmod ") {
        let (before, tests) = rest.split_at(at);
        kept.push_str(before);
        let line = tests.lines().nth(1).unwrap_or_default();
        let end = if line.ends_with('{') { tests.find("\n}") } else { tests.find(';') };
        rest = end.map_or("", |end| &tests[end + 1..]);
    }
    kept + rest
}

/// Drops comments and the contents of strings and characters.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = literal(rest, &code) {
            code.push_str("\"\"");
            length
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    code
}

/// The length of the block comment that `text` begins with; comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
        } else if text[..at].ends_with("*/") && at > 3 {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    text.len()
}

/// The length of the string or character that `text` begins with, if any.
fn literal(text: &str, before: &str) -> Option<usize> {
    let escaped = |quote: char, from: usize| {
        let mut skip = false;
        for (at, c) in text[from..].char_indices() {
            match c {
                _ if skip => skip = false,
                '\\' => skip = true,
                _ if c == quote => return from + at + 1,
                _ => {}
            }
        }
        text.len()
    };
    if text.starts_with('"') {
        return Some(escaped('"', 1));
    }
    if text.starts_with('\'') {
        // A lifetime has no quote behind its first character.
        let second = text.chars().nth(1)?;
        let is_char = second == '\\' || text.chars().nth(2) == Some('\'');
        return is_char.then(|| escaped('\'', 1));
    }
    let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let raw = text.strip_prefix('r').filter(|_| !in_word || before.ends_with('b'))?;
    let hashes = raw.chars().take_while(|&c| c == '#').count();
    let inside = raw[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(1 + hashes + 1 + length)
}

#[test]
fn only_code_is_read() {
    let code = code_of(
        "let a = \"no // \\\" no\"; // no\nlet b = r#\"no \" no\"#; /* no /* no */ no */ let c = '\"'; fn d<'e>() {}\n",
    );
    assert_eq!(code, "let a = \"\"; \nlet b = \"\";  let c = \"\"; fn d<'e>() {}\n");
}

#[test]
fn inline_tests_are_left_out() {
    let code =
        "use a;\n#[cfg(test)]\nmod tests;\nmod b;\n#[cfg(test)]\nmod c {\n    use d;\n}\nuse e;\n";
    let kept = without_inline_tests(code);
    assert!(kept.contains("use a") && kept.contains("mod b") && kept.contains("use e"), "{kept}");
    assert!(!kept.contains("use d") && !kept.contains("tests"), "{kept}");
}

#[test]
fn mentions_are_found_alone_and_in_groups() {
    let code = "use crate::a::b; pub(crate) fn x(y: crate::c) {}\nuse crate::{\n    d::{e, f},\n    g,\n};";
    assert_eq!(crate_mentions(code), ["a", "c", "d", "g"]);
}

#[test]
fn a_file_knows_how_deep_it_is() {
    for (path, room, depth) in [
        ("src/app.rs", "app", 1),
        ("src/http/mod.rs", "http", 1),
        ("src/http/body.rs", "http", 2),
        ("src/http/a/mod.rs", "http", 2),
    ] {
        let file = RustFile { path: path.to_owned(), text: String::new(), code: String::new() };
        assert_eq!((file.room(), file.depth()), (room, depth), "{path}");
    }
}
