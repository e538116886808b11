//! How the built-in worker hears what is said at the sockets of others, who may do what they like:
//! talk slowly, talk for ever, or take nobody in. None of them is waited for alone.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockAddr, Socket, Type};

use super::builtin::now;

/// How much of what one says is heard.
pub(super) const SAID_BYTES: usize = 64 << 10;
/// How many are listened to at the same time: each is an open file.
const GUESTS: usize = 64;
/// How much is read at once.
const PART_BYTES: usize = 4 << 10;

/// An address, and how its place is called.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) address: SockAddr,
}

/// One that is listened to.
struct Peer<'a> {
    name: &'a str,
    socket: Socket,
    said: Vec<u8>,
}

/// Connects to all of them, and tells `scan` what each said and where. Returns whether all of them
/// came to an end, or to the end of what is heard of one, before `until`.
pub(super) fn listen(places: &[Place], until: Instant, mut scan: impl FnMut(&[u8], &str)) -> bool {
    let mut all_ended = true;
    let mut left = places;
    while !left.is_empty() {
        let (batch, rest) = left.split_at(left.len().min(GUESTS));
        let batches = u32::try_from(left.len().div_ceil(GUESTS)).unwrap_or(u32::MAX);
        let begin = now();
        let until = begin + until.saturating_duration_since(begin) / batches;
        all_ended &= hear(batch, until, &mut scan);
        left = rest;
    }
    all_ended
}

fn hear(places: &[Place], until: Instant, scan: &mut impl FnMut(&[u8], &str)) -> bool {
    let mut all_taken = true;
    let mut peers = Vec::new();
    for Place { name, address } in places {
        match connect(address) {
            Ok(socket) => peers.push(Peer { name, socket, said: Vec::new() }),
            // Too many others are there.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => all_taken = false,
            Err(_nobody_is_there) => {}
        }
    }
    while !peers.is_empty() && is_any_ready(&peers, until) {
        peers.retain_mut(|peer| {
            let goes_on = peer.goes_on();
            if !goes_on {
                scan(&peer.said, peer.name);
            }
            goes_on
        });
    }
    for peer in &peers {
        scan(&peer.said, peer.name);
    }
    all_taken && peers.is_empty()
}

/// Does not wait: whether somebody is there shows when it is read.
fn connect(address: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::from(i32::from(address.family())), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        Ok(()) | Err(_) => Ok(socket),
    }
}

/// Waits until one of them has something to say; `false`: none had until then.
fn is_any_ready(peers: &[Peer<'_>], until: Instant) -> bool {
    let left = until.saturating_duration_since(now());
    if left.is_zero() {
        return false;
    }
    let mut fds: Vec<_> =
        peers.iter().map(|peer| PollFd::new(peer.socket.as_fd(), PollFlags::POLLIN)).collect();
    // A part of a millisecond is rounded up: it would be waited for in a circle otherwise.
    let ms = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
    matches!(poll(&mut fds, PollTimeout::from(ms)), Ok(1..) | Err(Errno::EINTR))
}

impl Peer<'_> {
    /// Hears what it says now; whether there may be more.
    fn goes_on(&mut self) -> bool {
        let mut part = [0; PART_BYTES];
        match self.socket.read(&mut part) {
            Ok(0) => false,
            Ok(got) => {
                self.said.extend_from_slice(&part[..got]);
                self.said.len() < SAID_BYTES
            }
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            }
        }
    }
}

#[cfg(test)]
mod tests;
