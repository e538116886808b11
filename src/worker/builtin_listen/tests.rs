use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use uuid::Uuid;

use super::*;

/// More than anybody needs.
const ENOUGH: Duration = Duration::from_secs(30);

/// Somebody at a port who does this with whoever comes, once.
fn peer(name: &str, act: fn(TcpStream) -> io::Result<()>) -> (Place, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let (guest, _) = listener.accept().unwrap();
        // The guest goes away when it heard enough.
        let _gone = act(guest);
    };
    (Place { name: name.to_owned(), address: address.into() }, thread::spawn(serve))
}

fn tells(mut guest: TcpStream) -> io::Result<()> {
    guest.write_all(b"secret")
}

fn floods(mut guest: TcpStream) -> io::Result<()> {
    loop {
        guest.write_all(&[b'x'; 4_096])?;
    }
}

#[expect(clippy::disallowed_methods, reason = "a peer that is slow")]
fn drips(mut guest: TcpStream) -> io::Result<()> {
    loop {
        guest.write_all(b"x")?;
        thread::sleep(Duration::from_millis(10));
    }
}

/// What was heard, whether all of them came to an end, and by how much it was late.
fn heard(places: &[Place], within: Duration) -> (BTreeMap<String, Vec<u8>>, bool, Duration) {
    let mut said = BTreeMap::new();
    let until = now() + within;
    let all_ended = listen(places, until, |text, name| {
        said.insert(name.to_owned(), text.to_vec());
    });
    (said, all_ended, now().saturating_duration_since(until))
}

#[test]
fn one_that_talks_for_ever_is_cut_off_and_hides_nobody() {
    let (bad, flooding) = peer("bad", floods);
    let (good, telling) = peer("good", tells);
    let (said, all_ended, _) = heard(&[bad, good], ENOUGH);
    assert_eq!(said["good"], b"secret");
    assert!((SAID_BYTES..2 * SAID_BYTES).contains(&said["bad"].len()), "{}", said["bad"].len());
    assert!(all_ended);
    for peer in [flooding, telling] {
        peer.join().unwrap();
    }
}

#[test]
fn one_that_talks_slowly_costs_the_time_and_hides_nobody() {
    let (bad, dripping) = peer("bad", drips);
    let (good, telling) = peer("good", tells);
    let (said, all_ended, late) = heard(&[bad, good], Duration::from_secs(3));
    assert_eq!(said["good"], b"secret");
    assert!(!all_ended);
    assert!(late < Duration::from_secs(10), "{late:?}");
    for peer in [dripping, telling] {
        peer.join().unwrap();
    }
}

#[test]
fn nobody_is_there() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gone = Place { name: "gone".to_owned(), address: address.into() };
    let (said, all_ended, _) = heard(&[gone], ENOUGH);
    assert!(said.values().all(Vec::is_empty), "{said:?}");
    assert!(all_ended);
}

#[test]
fn one_who_takes_nobody_in_is_not_waited_for() {
    let address = SockAddr::unix(format!("\0daedalus-{}", Uuid::new_v4())).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let first = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    first.connect(&address).unwrap();
    let full = Place { name: "full".to_owned(), address };
    let (said, all_ended, _) = heard(&[full], ENOUGH);
    assert_eq!((said.len(), all_ended), (0, false));
    first.shutdown(Shutdown::Both).unwrap();
}
