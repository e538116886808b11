//! The house as a test: each line of code has one room, and rooms know each other one way only.
//!
//! Read is the code alone: comments, the contents of strings and tests in `src` are left out.

mod source;

use source::{RustFile, crate_mentions, has_word, rust_files};

/// A room and what it may use of the others.
struct Room {
    name: &'static str,
    /// The rooms that it may name as `crate::<room>`; its own is always allowed.
    may_use: &'static [&'static str],
    /// Words that have no place in it, and what to do instead.
    banned: &'static [(&'static str, &'static str)],
}

const TIME: &str = "take the time as an argument (`Now`)";
const RANDOM: &str = "take ids and random parts as arguments";
const PURE: &str = "return an effect and let an actor do it";
const HTTP: &str = "answer in words of the domain; src/http turns them into a status";

const ROOMS: [Room; 11] = [
    Room {
        name: "domain",
        may_use: &[],
        banned: &[
            ("actix", PURE),
            ("tokio", PURE),
            ("slog", PURE),
            ("std::env", PURE),
            ("std::fs", PURE),
            ("std::net", PURE),
            ("std::process", PURE),
            ("std::thread", PURE),
            ("Instant::now", TIME),
            ("SystemTime", TIME),
            ("new_v4", RANDOM),
            ("now_v7", RANDOM),
            ("HashMap", "use a BTreeMap: its order is the same in every run"),
            ("HashSet", "use a BTreeSet: its order is the same in every run"),
        ],
    },
    Room {
        name: "actors",
        may_use: &["domain", "worker", "store"],
        banned: &[
            ("actix_web", HTTP),
            ("StatusCode", HTTP),
            ("HttpRequest", HTTP),
            ("HttpResponse", HTTP),
            ("HttpServer", HTTP),
        ],
    },
    Room { name: "worker", may_use: &["domain"], banned: &[("actix_web", HTTP)] },
    Room { name: "store", may_use: &["domain"], banned: &[("actix_web", HTTP)] },
    Room {
        name: "http",
        may_use: &["actors", "domain"],
        banned: &[
            ("Scheduler", "ask through a handle of src/actors"),
            ("domain::scheduler", "ask through a handle of src/actors"),
            ("Addr<", "ask through a handle of src/actors"),
        ],
    },
    Room { name: "cli", may_use: &["app", "config", "domain", "store", "worker"], banned: &[] },
    Room { name: "config", may_use: &["domain"], banned: &[] },
    Room { name: "logging", may_use: &["config"], banned: &[] },
    Room { name: "systemd", may_use: &[], banned: &[] },
    Room {
        name: "app",
        may_use: &[
            "actors", "cli", "config", "domain", "http", "logging", "store", "systemd", "worker",
        ],
        banned: &[],
    },
    // Only `daedalus::cli`, which is no mention of `crate::`.
    Room { name: "main", may_use: &[], banned: &[] },
];

/// The crate's root names the rooms and nothing else.
const ROOT: &str = "lib";

fn room_of(file: &RustFile) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == file.room())
}

#[test]
fn every_file_is_in_a_room() {
    for file in rust_files("src") {
        let is_known = file.room() == ROOT || room_of(&file).is_some();
        assert!(is_known, "{}: put it in a room, or name the new one in this test", file.path);
    }
}

#[test]
fn rooms_do_not_mention_what_is_not_theirs() {
    for file in rust_files("src").iter().filter(|file| !file.is_test()) {
        let Some(room) = room_of(file) else { continue };
        for (word, instead) in room.banned {
            let is_free = !file.code.contains(word);
            assert!(is_free, "{}: src/{} must not mention {word}: {instead}", file.path, room.name);
        }
    }
}

#[test]
fn rooms_know_each_other_one_way() {
    for file in rust_files("src").iter().filter(|file| !file.is_test()) {
        let Some(room) = room_of(file) else { continue };
        for used in crate_mentions(&file.code) {
            let is_allowed = used == room.name || room.may_use.contains(&used.as_str());
            assert!(
                is_allowed,
                "{}: src/{} must not use crate::{used}; it may use {:?}. Move the line to the room \
                 that may, or hand the value in from app",
                file.path, room.name, room.may_use
            );
        }
    }
}

#[test]
fn nobody_leaves_a_room_by_super() {
    for file in rust_files("src").iter().filter(|file| !file.is_test()) {
        let chain = "super::".repeat(file.depth());
        let stays = !file.code.contains(&chain);
        assert!(stays, "{}: write crate:: instead of {chain}, so that arrows show", file.path);
    }
}

#[test]
fn the_root_only_names_the_rooms() {
    for file in rust_files("src").iter().filter(|file| file.room() == ROOT) {
        for line in file.code.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let is_room = line.starts_with("pub mod ") || line.starts_with("#![");
            assert!(is_room, "{}: put this line in a room: {line}", file.path);
        }
    }
}

#[test]
fn main_only_calls_the_command_line() {
    for file in rust_files("src").iter().filter(|file| file.room() == "main") {
        let rest = file.code.replace("daedalus::cli", "");
        let is_free = !has_word(&rest, "daedalus");
        assert!(is_free, "{}: move it to src/cli or src/app", file.path);
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    for file in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        let lines = file.text.lines().count();
        assert!(lines <= 500, "{}: {lines} lines; split it by verb", file.path);
    }
}

#[test]
fn nothing_is_unsafe() {
    for file in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        let is_safe = !has_word(&file.code, "unsafe");
        assert!(is_safe, "{}: find a crate that does it safely (nix, rustix)", file.path);
    }
}
