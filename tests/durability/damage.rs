//! The file of the store is damaged while a daemon uses it. The start has looked at a file of this
//! size as a whole, so only what is read later can meet the damage: tasks that have ended.

use serde_json::{Value, json};

use super::client::{Answer, Client, World};
use super::files::{Accepted, copy_of, site_with_tasks};
use super::os::until;
use super::pages::Pages;
use super::site::Site;
use super::story::seed;

/// How many of the tasks have ended; the others wait.
const ENDED: usize = 150;

/// A stopped site with tasks, the first of which have ended.
fn site_with_history() -> (Site, Vec<Accepted>) {
    let (mut site, tasks) = site_with_tasks(200, &mut seed("damage"));
    let world = World::new(site.line.clone());
    tasks[..ENDED].iter().for_each(|task| world.client().cancel(&task.id));
    assert_eq!(site.stop().code(), Some(0), "{}", site.tail());
    (site, tasks)
}

fn asked(client: &Client<'_>, method: &str, path: &str, body: Option<&Value>) -> Answer {
    client.ask(method, path, body).unwrap_or_else(|| panic!("{method} {path}: no answer"))
}

/// Whether the answer is that the store cannot be read; the log then says which file, and why.
fn is_unreadable(site: &Site, (status, body): &Answer) -> bool {
    let said = body["detail"].as_str().unwrap_or_default();
    if *status != 503 || !said.contains("the store cannot be read") {
        return false;
    }
    let file = site.state.join("daedalus.db").display().to_string();
    let tells = |line: &str| line.contains("\"store_unreadable\"") && line.contains(&file);
    until("the log says which file", || site.log().lines().any(tells).then_some(()));
    true
}

#[test]
fn what_damage_took_is_said_and_never_just_missing() {
    let (site, tasks) = site_with_history();
    for (what, of) in
        [("a row", Pages::of_row as fn(&_, &_) -> _), ("the index of ids", Pages::of_id)]
    {
        let mut copy = copy_of(&site);
        copy.start();
        let lost = &tasks[ENDED / 2];
        of(&copy.state.join("daedalus.db"), &lost.id).damage();
        let world = World::new(copy.line.clone());
        let client = world.client();
        let answer = asked(&client, "GET", &format!("/tasks/{}", lost.id), None);
        assert!(is_unreadable(&copy, &answer), "{what}: {answer:?}");
        let mut right = 0;
        for (number, task) in tasks.iter().enumerate() {
            let answer = asked(&client, "GET", &format!("/tasks/{}", task.id), None);
            if number < ENDED && is_unreadable(&copy, &answer) {
                continue;
            }
            assert_eq!((answer.0, &answer.1["payload"]), (200, &task.payload), "{what}");
            right += 1;
        }
        assert!(right >= tasks.len() - ENDED, "{what}: {right} tasks are right");
        let answer = asked(&client, "GET", "/tasks?limit=1000", None);
        let is_whole = answer.1["tasks"].as_array().map(Vec::len) == Some(tasks.len());
        assert!(is_whole || is_unreadable(&copy, &answer), "{what}: {answer:?}");
        copy.must_run();
    }
}

#[test]
fn a_key_that_could_not_be_looked_up_can_be_submitted_again() {
    let (mut site, tasks) = site_with_history();
    site.start();
    let known = &tasks[ENDED / 2];
    let pages = Pages::of_key(&site.state.join("daedalus.db"), &known.token);
    pages.damage();
    let world = World::new(site.line.clone());
    let client = world.client();
    let submit = json!({"payload": known.payload, "idempotency_key": known.token});
    // A look that failed must not be waited for by whoever comes next.
    for _ in 0..3 {
        let answer = asked(&client, "POST", "/tasks", Some(&submit));
        assert!(is_unreadable(&site, &answer), "{answer:?}");
    }
    pages.repair();
    // A reader looks at the file again after a commit.
    client.ok("POST", "/tasks", Some(&json!({"payload": {}})));
    let (status, said) = asked(&client, "POST", "/tasks", Some(&submit));
    assert_eq!(
        (status, &said["task_id"], &said["status"]),
        (200, &json!(known.id), &json!("cancelled"))
    );
}
