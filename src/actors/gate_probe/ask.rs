//! One question to a dependency: how are you?

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::header::USER_AGENT;
use awc::{Client, Connector};

use crate::actors::clock::Clock;

/// In so many slices the time of a question is waited for: in each of them it shows whether this
/// daemon itself stood still.
const SLICES: u32 = 8;
/// A slice that ends later than this did not only wait for its turn on a busy machine.
const LATE_AT_LEAST: Duration = Duration::from_millis(100);

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is well.
    Up,
    /// It is not, for this reason.
    Down(String),
    /// This daemon stood still meanwhile (a stop signal, a suspend), so that a bad answer may be its
    /// own fault.
    Nothing,
}

/// What asks. Each question has a connection of its own: one that was kept may be closed while it
/// is used, and that would be taken for a failure.
pub(super) fn client(timeout: Duration) -> Client {
    Client::builder()
        // The time of a question is its caller's; this one must only not end before it.
        .connector(Connector::new().timeout(timeout * 2))
        .disable_timeout()
        .disable_redirects()
        .add_default_header((USER_AGENT, concat!("daedalus/", env!("CARGO_PKG_VERSION"))))
        .finish()
}

/// Asks, and waits for the answer at most so long. Every 2xx is a good answer; what else it says is
/// not read, so that its length is no matter.
pub(super) async fn ask(client: &Client, url: &str, timeout: Duration, clock: Clock) -> Heard {
    let asked = client.get(url).force_close().send();
    let (answer, stood_still) = within(timeout, clock, asked).await;
    match answer {
        Some(Ok(answer)) if answer.status().is_success() => Heard::Up,
        _ if stood_still => Heard::Nothing,
        Some(Ok(answer)) => Heard::Down(format!("HTTP {}", answer.status().as_u16())),
        Some(Err(error)) => Heard::Down(cause(&error)),
        None => Heard::Down(format!("timed out after {} s", timeout.as_secs_f64())),
    }
}

/// Waits at most so long, and says whether this daemon stood still meanwhile, which ends the wait.
async fn within<F: Future>(
    timeout: Duration,
    clock: Clock,
    future: F,
) -> (Option<F::Output>, bool) {
    let mut future = pin!(future);
    let slice = timeout / SLICES;
    let too_long = slice + slice.max(LATE_AT_LEAST);
    for _ in 0..SLICES {
        let begun_us = clock.mono_us();
        let answer = tokio::time::timeout(slice, &mut future).await.ok();
        let took = Duration::from_micros(clock.mono_us().saturating_sub(begun_us));
        let stood_still = took > too_long;
        if answer.is_some() || stood_still {
            return (answer, stood_still);
        }
    }
    (None, false)
}

/// Why there was no answer, in a few words.
fn cause(error: &SendRequestError) -> String {
    use SendRequestError::{Connect, Response, Send};

    if let Connect(ConnectError::Io(error)) | Send(error) = error {
        return error.kind().to_string();
    }
    if let Connect(ConnectError::Disconnected) = error {
        return "the connection was closed without an answer".to_owned();
    }
    if let Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) = error {
        return "the name of its host is not known".to_owned();
    }
    if let Response(error) = error {
        let by_the_system = error.source().and_then(|error| error.downcast_ref::<io::Error>());
        return by_the_system
            .map_or_else(|| "the answer is not HTTP".to_owned(), |error| error.kind().to_string());
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future>(test: F) -> F::Output {
        actix::System::new().block_on(test)
    }

    #[test]
    fn an_answer_in_time_is_taken_and_a_late_one_is_not_waited_for() {
        run(async {
            let clock = Clock::start();
            let timeout = Duration::from_secs(60);
            assert_eq!(within(timeout, clock, async { 7 }).await, (Some(7), false));
            let begun_us = clock.mono_us();
            let timeout = Duration::from_millis(80);
            let (answer, _) = within(timeout, clock, std::future::pending::<()>()).await;
            assert_eq!(answer, None);
            assert!(clock.mono_us() - begun_us >= 80_000, "it was given its whole time");
        });
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test stands still")]
    fn a_daemon_that_stood_still_knows_that_it_did() {
        run(async {
            let (clock, timeout) = (Clock::start(), Duration::from_millis(400));
            let stop = async {
                // As long as a slice may take, its own length and the time of a busy machine, and more.
                std::thread::sleep(Duration::from_millis(600));
                std::future::pending::<()>().await;
            };
            assert_eq!(within(timeout, clock, stop).await, (None, true));
        });
    }

    #[test]
    fn a_cause_is_a_few_words() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let causes = [
            (SendRequestError::Connect(ConnectError::Io(refused)), "connection refused"),
            (
                SendRequestError::Connect(ConnectError::Disconnected),
                "the connection was closed without an answer",
            ),
            (
                SendRequestError::Connect(ConnectError::NoRecords),
                "the name of its host is not known",
            ),
        ];
        for (error, expected) in causes {
            assert_eq!(cause(&error), expected);
        }
    }
}
