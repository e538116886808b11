//! Tasks that do nothing, end to end, in four worker processes of Python: what each system adds to
//! the work of a task. Beside Dramatiq and Celery, both on Redis. `cargo bench --bench noop`
//!
//! What is the same for all: a submit is acknowledged when it is on disk (Redis with `appendfsync
//! always`), and a task is done when its end is on disk; one that a killed worker had comes back.
//! Daedalus stores results and attempts as it always does; of the others nobody asks for results.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

mod load;
mod machine;
mod queues;

use std::time::{Duration, Instant};

use load::Connection;
use machine::{median, quick};
use queues::{Kind, Python, System};

const CONNECTIONS: usize = 32;
const WARM_UP: usize = 200;
/// How often a system is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(5);

fn main() {
    machine::show();
    machine::show_disk();
    let Some(python) = Python::find() else {
        println!("no-op tasks: there is no python3; left out");
        return;
    };
    let (tasks, rounds) = if quick() { (600, 1) } else { (3_000, 3) };
    let mut rows = vec![
        Row::new(Kind::Daedalus, Way::Fed),
        Row::new(Kind::Daedalus, Way::FedNatively),
        Row::new(Kind::Daedalus, Way::Stored),
    ];
    if python.has_others {
        for kind in [Kind::Dramatiq, Kind::Celery] {
            rows.extend([Row::new(kind, Way::Fed), Row::new(kind, Way::Stored)]);
        }
    } else {
        println!(
            "Dramatiq, Celery: no redis-server or no target/bench-python (`make bench`); left out"
        );
    }
    println!("{tasks} no-op tasks, {} Python processes, tasks per second", queues::WORKERS);
    println!("reach: >= 10 x Dramatiq, >= 20 x Celery");
    let begun = Instant::now();
    for round in 1..=rounds {
        for row in &mut rows {
            row.round(&python, tasks);
        }
        println!("  round {round} of {rounds}: {:.0} s", begun.elapsed().as_secs_f64());
    }
    for row in &rows {
        row.show(&rows);
    }
}

/// How the tasks come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// While they run, from Python processes.
    Fed,
    /// While they run, from a client that costs little: nobody but Daedalus has a wire for one.
    FedNatively,
    /// All of them before the first worker starts.
    Stored,
}

struct Row {
    kind: Kind,
    way: Way,
    rates: Vec<f64>,
}

impl Row {
    const fn new(kind: Kind, way: Way) -> Self {
        Self { kind, way, rates: Vec::new() }
    }

    fn round(&mut self, python: &Python, tasks: usize) {
        let mut system = System::start(self.kind, python);
        let rate = match self.way {
            Way::Fed | Way::FedNatively => {
                system.start_workers();
                feed(&system, WARM_UP);
                finish(&mut system, 0);
                self.fed(&mut system, tasks)
            }
            Way::Stored => {
                feed(&system, tasks);
                system.start_workers();
                // The workers' own start is no part of it.
                finish(&mut system, tasks as u64 * 9 / 10);
                let (left, begun) = (system.left(), Instant::now());
                finish(&mut system, 0);
                left as f64 / begun.elapsed().as_secs_f64()
            }
        };
        self.rates.push(rate);
    }

    /// From the first submit to the last completion.
    fn fed(&self, system: &mut System<'_>, tasks: usize) -> f64 {
        let begun;
        if self.way == Way::FedNatively {
            begun = Instant::now();
            feed_natively(system.addr().unwrap(), tasks);
        } else {
            let mut feeders = system.feeders(tasks);
            begun = Instant::now();
            feeders.iter_mut().for_each(|feeder| feeder.begin());
            feeders.into_iter().for_each(|feeder| feeder.end());
        }
        finish(system, 0);
        tasks as f64 / begun.elapsed().as_secs_f64()
    }

    fn show(&self, rows: &[Self]) {
        let rate = median(&mut self.rates.clone());
        let way = match self.way {
            Way::Fed => "fed by 2 x 16 threads of Python",
            Way::FedNatively => "fed by 32 native connections",
            Way::Stored => "stored before, nobody feeds",
        };
        print!("  {:<9} {way:<32} {rate:>7.0}/s", self.kind.name());
        let of_same_way = |row: &&Self| row.kind != Kind::Daedalus && row.way == self.way;
        if self.kind == Kind::Daedalus {
            for other in rows.iter().filter(of_same_way) {
                let times = rate / median(&mut other.rates.clone());
                print!("  {times:.1} x {}", other.kind.name());
            }
        }
        println!();
    }
}

/// Submits so many and waits until all are accepted.
fn feed(system: &System<'_>, tasks: usize) {
    if let Some(addr) = system.addr() {
        return feed_natively(addr, tasks);
    }
    let mut feeders = system.feeders(tasks);
    feeders.iter_mut().for_each(|feeder| feeder.begin());
    feeders.into_iter().for_each(|feeder| feeder.end());
}

fn feed_natively(addr: &str, tasks: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let addr = addr.to_owned();
                tokio::spawn(async move {
                    let mut connection = Connection::open(&addr).await;
                    for _ in (number..tasks).step_by(CONNECTIONS) {
                        connection.post("/tasks", r#"{"payload":{}}"#).await;
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
    });
}

/// Waits until at most `goal` tasks are left.
fn finish(system: &mut System<'_>, goal: u64) {
    let (mut moved, mut left) = (Instant::now(), system.left());
    while left > goal {
        assert!(moved.elapsed() < Duration::from_secs(30), "{left} tasks do not move");
        std::thread::sleep(LOOK_EVERY);
        let now = system.left();
        if now != left {
            (moved, left) = (Instant::now(), now);
        }
    }
}
