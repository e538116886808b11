//! A hunt that nobody waits for any more.

use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::{Hunt, LeftBehind};
use crate::worker::environment;

#[test]
fn a_hunt_that_was_given_up_kills_nobody_who_carries_the_mark() {
    let store_id = Uuid::new_v4().to_string();
    let mut worker = Command::new("sleep")
        .arg("300")
        .env(environment::STORE_ID, &store_id)
        .stdin(Stdio::null())
        .spawn()
        .expect("it starts");
    let left = LeftBehind { launchers: Vec::new(), store_id, cgroup: String::new() };
    let mut hunt = Hunt::new(&left, Duration::from_secs(60));
    hunt.given_up.store(true, Ordering::SeqCst);
    assert!(!hunt.run(), "it saw no end");
    assert!(worker.try_wait().expect("it is our child").is_none(), "it was left alone");
    worker.kill().expect("it is there");
    assert!(!worker.wait().expect("it is our child").success());
    assert_eq!(hunt.killed.load(Ordering::Acquire), 0);
}
