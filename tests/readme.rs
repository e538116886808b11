//! The documents say what is true: their shell blocks run as they stand and print what they are
//! said to print, and nothing that a user can meet is left out.

#![expect(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "this is test code, also outside of any test function"
)]

#[path = "readme/markdown.rs"]
mod markdown;
#[path = "support/place.rs"]
mod place;
#[path = "readme/session.rs"]
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use daedalus::config;
use toml::Table;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README.md and everything in docs.
fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut documents: Vec<_> =
        docs.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    documents.push(root().join("README.md"));
    documents.sort();
    documents
}

fn all_text() -> String {
    documents().iter().map(read).collect()
}

fn run(document: &str) {
    session::run(Path::new(document), &markdown::blocks(&read(document)));
}

#[test]
fn the_tour_of_the_readme_runs_as_written() {
    run("README.md");
}

#[test]
fn the_example_worker_runs_as_written() {
    run("docs/worker-protocol.md");
}

#[test]
fn no_other_document_has_shell_blocks() {
    for path in documents() {
        let is_run = path.ends_with("README.md") || path.ends_with("docs/worker-protocol.md");
        let blocks = markdown::blocks(&read(&path));
        let has_shell = blocks.iter().any(|block| block.info == "sh");
        assert_eq!(has_shell, is_run, "{}: a test must run its shell blocks", path.display());
    }
}

#[test]
fn every_link_leads_somewhere() {
    for path in documents() {
        let text = read(&path);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            assert!(target.exists(), "{}: no such file: {link}", path.display());
            let anchors = |line: &str| {
                let title = line.strip_prefix('#')?.trim_start_matches('#').trim().to_lowercase();
                let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                Some(kept.collect::<String>().replace(' ', "-"))
            };
            let is_there =
                anchor.is_empty() || read(&target).lines().filter_map(anchors).any(|a| a == anchor);
            assert!(is_there, "{}: no such heading: {link}", path.display());
        }
    }
}

/// The keys of the shipped configuration, those of its examples too: section and key. Each with its
/// default, when it has one.
fn configuration_keys() -> BTreeMap<(String, String), Option<String>> {
    // An example says what is possible; the default is what holds in an entry that says no more
    // than it must.
    const LEAST: &str = "
        [[gate]]
        name = \"x\"
        task_types = [\"general\"]
        [[follow_up]]
        name = \"x\"
        [[schedule]]
        name = \"x\"
        every = \"1s\"
        task_type = \"general\"
    ";
    let folder = place::fresh_directory("readme");
    let file = folder.join("least.toml");
    fs::write(&file, LEAST).unwrap();
    let sources = config::Sources { file: Some(file), ..config::Sources::default() };
    let effective = config::render(&config::load(&sources).unwrap());
    fs::remove_dir_all(folder).unwrap();
    let said: BTreeSet<_> = keys_and_values(LEAST).into_keys().collect();
    let mut defaults = keys_and_values(&effective);
    defaults.retain(|key, _| !said.contains(key));

    let keys = keys_and_values(&read("config/daedalus.toml")).into_keys();
    keys.map(|key| (key.clone(), defaults.remove(&key))).collect()
}

/// Every key of a text like the shipped file with its value, also when both are commented out.
fn keys_and_values(text: &str) -> BTreeMap<(String, String), String> {
    let mut keys = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        let plain = line.strip_prefix("# ").unwrap_or(line);
        if plain.starts_with('[') {
            section = plain.trim_matches(['[', ']']).to_owned();
            if section.starts_with("types.") {
                section = "types.<type>".to_owned();
            }
        } else if let Some((key, value)) = plain.split_once(" = ")
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            keys.insert((section.clone(), key.to_owned()), value.to_owned());
        }
    }
    keys
}

#[test]
fn every_configuration_key_is_described_with_its_default() {
    let text = all_text();
    let keys = configuration_keys();
    assert!(keys.len() > 40, "{keys:?}");
    for ((section, key), default) in keys {
        let default = default.map_or_else(String::new, |default| format!("`{default}` "));
        let row = format!("| `{section}.{key}` | {default}|");
        assert!(text.contains(&row), "docs/operation.md: the configuration has no row {row}");
    }
}

#[test]
fn every_error_code_is_described_with_its_status() {
    let source = read("src/http/problem/code.rs");
    let rows = source.split("(\"").skip(1).filter_map(|rest| {
        let (code, rest) = rest.split_once("\", S::")?;
        Some((code, rest.split_once(',')?.0))
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() > 20, "the table has moved: {rows:?}");
    let text = read("docs/api.md");
    for (code, constant) in rows {
        let row = format!("| `{code}` | {} |", status_of(constant));
        assert!(text.contains(&row), "docs/api.md: the codes have no row {row}");
    }
}

/// `NOT_FOUND` is 404.
fn status_of(constant: &str) -> u16 {
    let named = |status: &actix_web::http::StatusCode| {
        let reason = status.canonical_reason().unwrap_or_default();
        reason.to_uppercase().replace([' ', '-'], "_") == constant
    };
    let mut all = (100..600).filter_map(|code| actix_web::http::StatusCode::from_u16(code).ok());
    all.find(named).unwrap_or_else(|| panic!("no status is called {constant}")).as_u16()
}

#[test]
fn every_route_is_described() {
    let text = read("docs/api.md");
    let source = read("src/http/routes.rs");
    let routes = source.split("at(\"").skip(1).filter_map(|rest| {
        let (path, rest) = rest.split_once("\", \"")?;
        Some((path, rest.split_once('"')?.0))
    });
    let routes: Vec<_> = routes.collect();
    assert!(routes.len() > 10, "the table has moved: {routes:?}");
    for (path, methods) in routes {
        for method in methods.split(", ").filter(|method| *method != "HEAD") {
            let request = format!("`{method} {path}`");
            assert!(text.contains(&request), "docs/api.md: {request} is missing");
        }
    }
}

#[test]
fn every_event_is_described() {
    let text = all_text();
    for (file, code) in code_of_the_daemon() {
        for line in code.split(['{', '}', ';']) {
            for level in ["debug!(", "info!(", "warn!(", "error!("] {
                let Some((_, call)) = line.split_once(level) else { continue };
                let Some(message) = call.split('"').nth(1) else { continue };
                let is_there = text.contains(&format!("`{message}`"));
                assert!(
                    is_there,
                    "README.md: the event `{message}` of {} is missing",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn every_component_is_described() {
    let text = read("docs/operation.md");
    let (_, list) = text.split_once("then `component` (").expect("the list has moved");
    let (list, _) = list.split_once(')').unwrap();
    let described: BTreeSet<_> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let mut used = BTreeSet::new();
    for (_, code) in code_of_the_daemon() {
        // A key of a line or a logger, and the function that makes the loggers of the actors.
        for start in ["\"component\" => \"", "component(\""] {
            let names = code.split(start).skip(1).filter_map(|rest| rest.split('"').next());
            used.extend(names.map(str::to_owned));
        }
    }
    assert_eq!(described, used, "docs/operation.md: on the left is what it says");
}

#[test]
fn every_room_and_every_actor_is_described() {
    let text = read("README.md");
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // The crate's root and the program say nothing of their own; `app.rs` has a folder, too.
        if !["lib.rs", "main.rs", "app"].contains(&name.as_str()) {
            assert!(text.contains(&format!("`src/{name}`")), "README.md: what lives in {name}?");
        }
    }
    let code: String = code_of_the_daemon().into_iter().map(|(_, code)| code).collect();
    let actors: Vec<_> =
        code.split("impl Actor for ").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
    assert!(actors.len() > 3, "{actors:?}");
    for actor in actors {
        assert!(text.contains(&format!("`{actor}` (")), "README.md: what does {actor} do?");
    }
}

/// Every file of `src` without its tests.
fn code_of_the_daemon() -> Vec<(PathBuf, String)> {
    let is_test = |file: &PathBuf| file.components().any(|part| part.as_os_str() == "tests");
    let files = sources(&root().join("src")).into_iter().filter(|file| !is_test(file));
    let code = |source: String| source.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
    files.map(|file| (file.clone(), code(read(&file)))).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    found.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn every_dependency_is_described() {
    let text = read("README.md");
    let cargo: Table = read("Cargo.toml").parse().unwrap();
    let crates = ["dependencies", "dev-dependencies"].map(|name| cargo[name].as_table().unwrap());
    let crates = crates.iter().flat_map(|table| table.keys().cloned());
    let locks = read("python/requirements.in") + &read("python/requirements-test.in");
    let packages = locks.lines().filter_map(|line| Some(line.split_once("==")?.0.to_owned()));
    for name in crates.chain(packages.collect::<Vec<_>>()) {
        assert!(text.contains(&format!("| {name} |")), "README.md: what does {name} do for us?");
    }
}
