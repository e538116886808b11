//! Whether agents can get at each other: sixteen real processes try, each in every way that it has
//! (`escape/worker.py`), and must be stopped by exactly what the isolation report says is in force.
//! Without the sandbox they must get out, so that these checks can fail.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test code outside of any test function, which knows what it wrote"
)]

#[path = "support/daemon.rs"]
mod daemon;

#[path = "escape/machine.rs"]
mod machine;
#[path = "support/rights.rs"]
mod rights;
#[path = "escape/site.rs"]
mod site;
#[path = "escape/ways.rs"]
mod ways;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use daedalus::domain::Guard;
use site::Site;
use ways::{FAST_OPEN, OF_ROOT, REST, WAYS};

/// The agents of a full pool.
const AGENTS: usize = 16;

#[test]
fn sixteen_agents_reach_nothing_of_each_other_that_the_report_says_is_guarded() {
    let site = Site::new("", AGENTS);
    let enforced = site.enforced();
    println!("in force here: {enforced:?}");
    let attacks = site.attack_all();
    assert_eq!(attacks.len(), AGENTS);
    for attack in &attacks {
        let victims = attack["victims"].as_object().unwrap();
        assert_eq!(victims.len(), AGENTS - 1);
        for (victim, tried) in victims {
            check(&format!("{} on {victim}", attack["agent"]), tried, WAYS, &enforced);
        }
        check(&attack["agent"].to_string(), &attack["rest"], REST, &enforced);
    }
    let report = site.daemon.get("/isolation-report").ok();
    assert_eq!(report["breaches_detected"], 0, "{report}");
}

#[test]
fn what_an_agent_needs_goes_on_working() {
    let site = Site::new("max_files = 300\nmax_processes = 70\nmax_file_mb = 3\n", 2);
    let enforced = site.enforced();
    let uids: BTreeSet<u64> = site.attack_all().iter().map(works).collect();
    if enforced.contains(&Guard::Uid) {
        assert_eq!(uids.len(), 2, "each agent has a user of its own: {uids:?}");
        assert!(!uids.contains(&0));
    }
    for attack in site.attack_all() {
        let limits = &attack["own"]["limits"];
        assert_eq!(limits["CORE"], json!([0, 0]));
        assert_eq!(limits["NOFILE"], json!([300, 300]));
        assert_eq!(limits["FSIZE"], json!([3 << 20, 3 << 20]));
        if enforced.contains(&Guard::ProcessCount) {
            assert_eq!(limits["NPROC"], json!([70, 70]));
        }
    }
}

/// Checks what must work in the sandbox; the user id of the agent.
fn works(attack: &Value) -> u64 {
    let own = &attack["own"];
    for what in ["file", "allowed_port", "signal_self"] {
        assert_eq!(own[what], "reached", "{what}: {own}");
    }
    assert_eq!(own["child"], 7, "{own}");
    assert_eq!(own["thread"], true, "{own}");
    assert_eq!(own["home"], true, "{own}");
    own["uid"].as_u64().unwrap()
}

/// The kernel's rules alone: the agents have the user of the daemon, which may be root.
#[test]
fn without_users_of_their_own_they_reach_what_the_report_says_is_open() {
    let site = Site::new("first_uid = 0\n", 3);
    let enforced = site.enforced();
    assert!(!enforced.contains(&Guard::Uid), "{enforced:?}");
    for attack in site.attack_all() {
        for (victim, tried) in attack["victims"].as_object().unwrap() {
            check(&format!("{} on {victim}", attack["agent"]), tried, WAYS, &enforced);
        }
        check(&attack["agent"].to_string(), &attack["rest"], REST, &enforced);
    }
}

#[test]
fn without_the_sandbox_they_get_out() {
    let site = Site::new("enabled = false\n", 3);
    assert_eq!(site.enforced(), BTreeSet::new());
    for attack in site.attack_all() {
        for (victim, tried) in attack["victims"].as_object().unwrap() {
            check(&format!("{} on {victim}", attack["agent"]), tried, WAYS, &BTreeSet::new());
        }
        check(&attack["agent"].to_string(), &attack["rest"], REST, &BTreeSet::new());
        works(&attack);
    }
}

/// Each way is open exactly when nothing that would close it is in force, and the machine itself does
/// not close it.
fn check(who: &str, tried: &Value, ways: &[(&str, &[Guard])], enforced: &BTreeSet<Guard>) {
    let tried = tried.as_object().unwrap();
    for (way, outcome) in tried {
        let (_, guards) = ways.iter().find(|(name, _)| name == way).expect("a way of the table");
        let guarded = guards.iter().any(|guard| enforced.contains(guard));
        let reached = outcome == "reached";
        let open = !guarded && !machine::forbids(way);
        assert_eq!(open, reached, "{who}: {way} is {outcome}, guards: {guards:?}");
    }
    for (way, guards) in ways {
        let guarded = guards.iter().any(|guard| enforced.contains(guard));
        let may_lack = match *way {
            // The guard may keep the victim from having it at all.
            "tcp" | "read_posix_memory" | "attach_shared_memory" => guarded,
            way if FAST_OPEN.contains(&way) => !site::has_fast_open(enforced),
            way if OF_ROOT.contains(&way) => !site::is_mighty(),
            _ => false,
        };
        assert!(may_lack || tried.contains_key(*way), "{who}: {way} was not tried");
    }
}
