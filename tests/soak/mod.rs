//! The work, the looks at the daemon, and what the two must agree on.

mod clients;
mod growth;
mod look;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::daemon::Daemon;
use super::os::{let_pass, now, until};
use clients::Tally;
use look::Look;

/// How many agents there are.
pub(crate) const AGENTS: usize = 16;
/// How many clients keep them busy.
const CLIENTS: u64 = 24;
/// Ended tasks leave the store as soon as they may, so that it comes to an end of growing, too.
const CONFIG: &str = "[pool]\nsize = 16\nrestarts_max = 1000\nrestart_window_s = 1\n\
                      [queue]\nmax_depth = 1000\nbackoff_first_s = 0.05\nexclusion_relax_s = 0.2\n\
                      [store]\nretention = \"60s\"\n[log]\nlevel = \"info\"\n\
                      [worker.sandbox]\nenabled = true\n";

/// How long: as the variable says, or so that it shows that this works.
fn length() -> Duration {
    let told = std::env::var("DAEDALUS_SOAK_S").ok();
    let seconds = told.map_or(8, |told| told.parse().expect("DAEDALUS_SOAK_S is a number"));
    Duration::from_secs(seconds)
}

#[test]
fn nothing_grows() {
    let length = length();
    let daemon = Daemon::start(CONFIG);
    daemon.log.keep_the_end();
    daemon.all_idle(AGENTS);
    let at_first = Look::at(&daemon);
    let seed = u64::from(std::process::id());
    println!("{length:?} with the seed {seed}");
    let (over, mut looks, mut tally) = (AtomicBool::new(false), Vec::new(), Tally::default());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (daemon, over) = (&daemon, &over);
                scope.spawn(move || clients::work(daemon, seed ^ client << 32, over))
            })
            .collect();
        let begun = now();
        let pause = (length / 40).clamp(Duration::from_millis(100), Duration::from_secs(30));
        while begun.elapsed() < length {
            let_pass(pause);
            let look = Look::at(&daemon);
            println!("{:>6.1} s  {look}", begun.elapsed().as_secs_f64());
            looks.push(look);
        }
        over.store(true, Ordering::Release);
        for client in clients {
            tally.add(&client.join().expect("no client panics"));
        }
    });
    println!("{tally:?}");
    agrees(&daemon, &tally);
    daemon.all_idle(AGENTS);
    println!("at rest   {}", Look::at(&daemon));
    growth::assert_none(&looks, length);
    // What a worker started may live as long as its agent, and no longer.
    daemon.ok("DELETE", "/pool", None);
    assert_eq!(Look::at(&daemon).processes, 0, "nothing is left of the pool");
    // They are removed beside everything else.
    until("the last working directories are removed", || {
        (Look::at(&daemon).workdirs == 0).then_some(())
    });
    // With the pool it had some for each agent.
    until("the files of the pool are closed", || {
        (Look::at(&daemon).files < at_first.files).then_some(())
    });
}

/// The counters of the daemon are what the clients saw.
fn agrees(daemon: &Daemon, tally: &Tally) {
    let metrics = daemon.ok("GET", "/metrics", None);
    for (key, seen) in [
        ("tasks_completed", tally.completed),
        ("tasks_failed", tally.failed),
        ("tasks_cancelled", tally.cancelled),
        ("tasks_pending", 0),
        ("tasks_in_progress", 0),
    ] {
        assert_eq!(metrics[key], json!(seen), "{key}: {metrics}");
    }
    assert_eq!(tally.submitted, tally.completed + tally.failed + tally.cancelled);
    let all_sorts = [tally.completed, tally.failed, tally.cancelled, tally.timed_out, tally.lost];
    assert!(all_sorts.iter().all(|&count| count > 0), "the work was not mixed: {tally:?}");
}
