//! The pipes of a worker, read and written without ever blocking an actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::mpsc;

use super::protocol::{FrameError, FromWorker, parse_numbered};

/// The longest line that is passed on to the log, of a worker's stderr or of its frames.
pub const MAX_LOG_LINE_BYTES: usize = 4096;

/// What the buffer for a line keeps after a long one.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Reads the frames of one worker. It never holds more than the limit and one read of the pipe.
#[derive(Debug)]
pub struct FrameReader {
    stdout: BufReader<Receiver>,
    line: Vec<u8>,
    max_frame_bytes: usize,
    last_seq: u64,
}

impl FrameReader {
    /// Reads from `stdout` lines of at most `max_frame_bytes`, the line break not counted.
    #[must_use]
    pub fn new(stdout: Receiver, max_frame_bytes: usize) -> Self {
        Self { stdout: BufReader::new(stdout), line: Vec::new(), max_frame_bytes, last_seq: 0 }
    }

    /// Waits for the next frame; `None` when the worker's output has ended. What an ended worker
    /// left of a line is no frame. After an error nothing more of this worker can be trusted.
    ///
    /// Dropping the future loses nothing: the next call goes on with the same line.
    pub async fn next(&mut self) -> Result<Option<FromWorker>, FrameError> {
        if !self.read_line().await? {
            return Ok(None);
        }
        let parsed = parse_numbered(&self.line);
        self.line.clear();
        self.line.shrink_to(KEPT_CAPACITY);
        let (seq, frame) = parsed?;
        // Simple workers may leave the number out.
        if let Some(found) = seq {
            let expected = self.last_seq + 1;
            if found != expected {
                return Err(FrameError::Gap { expected, found });
            }
            self.last_seq = found;
        }
        Ok(Some(frame))
    }

    async fn read_line(&mut self) -> Result<bool, FrameError> {
        loop {
            let chunk = self.stdout.fill_buf().await.map_err(FrameError::Read)?;
            if chunk.is_empty() {
                return Ok(false);
            }
            let line_break = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..line_break.unwrap_or(chunk.len())];
            if self.line.len() + part.len() > self.max_frame_bytes {
                return Err(FrameError::TooLong { limit: self.max_frame_bytes });
            }
            self.line.extend_from_slice(part);
            let used = part.len() + usize::from(line_break.is_some());
            self.stdout.consume(used);
            if line_break.is_some() {
                return Ok(true);
            }
        }
    }
}

/// Writes to one worker through a task that owns the pipe. Cheap to clone; when the last clone is
/// dropped, the pipe is closed after what was sent before.
///
/// A closed pipe makes the launcher kill the tree, so a worker that is to end by itself is sent
/// `shutdown`, and the writer is kept until it did.
#[derive(Clone, Debug)]
pub struct FrameWriter {
    queue: mpsc::UnboundedSender<Vec<u8>>,
    /// Frames that are not in the pipe yet.
    waiting: Arc<AtomicUsize>,
}

impl FrameWriter {
    /// Starts the task, on the runtime of the caller.
    #[must_use]
    pub fn spawn(mut stdin: Sender) -> Self {
        let (queue, mut lines) = mpsc::unbounded_channel::<Vec<u8>>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                // The worker is gone; its end is announced in another way.
                if stdin.write_all(&line).await.is_err() {
                    break;
                }
                left.fetch_sub(1, Ordering::Relaxed);
            }
        });
        Self { queue, waiting }
    }

    /// Queues one encoded frame and never waits. What a worker does not read piles up here; it is
    /// bounded by what the protocol allows, which is one task, few answers and few words besides.
    /// Returns whether the pipe was open at last sight.
    pub fn send(&self, line: Vec<u8>) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue.send(line).is_ok()
    }

    /// How many frames the worker has not made room for.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Reads a worker's stderr until its end, and gives each line to `on_line` as text without its line
/// break. A line longer than [`MAX_LOG_LINE_BYTES`] is cut there, and the rest of it is dropped.
///
/// It must always run: a worker whose log nobody reads stops at a full pipe.
pub async fn drain_stderr(mut stderr: Receiver, mut on_line: impl FnMut(&str)) {
    let mut chunk = [0; 4096];
    let mut line: Vec<u8> = Vec::new();
    loop {
        let read = match stderr.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        for piece in chunk[..read].split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = MAX_LOG_LINE_BYTES - line.len();
            line.extend_from_slice(&text[..text.len().min(room)]);
            if piece.ends_with(b"\n") {
                on_line(String::from_utf8_lossy(&line).trim_end_matches('\r'));
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        on_line(&String::from_utf8_lossy(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use tokio::net::unix::pipe;

    const LIMIT: usize = 100;

    fn block_on<F: Future>(test: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    /// Everything that a reader makes of `bytes`, its error as text.
    fn frames_of(bytes: &[u8]) -> Vec<Result<FromWorker, String>> {
        block_on(async {
            let (mut sender, receiver) = pipe::pipe().unwrap();
            let bytes = bytes.to_vec();
            tokio::spawn(async move {
                let _reader_gave_up = sender.write_all(&bytes).await;
            });
            let mut reader = FrameReader::new(receiver, LIMIT);
            let mut read = Vec::new();
            loop {
                match reader.next().await {
                    Ok(Some(frame)) => read.push(Ok(frame)),
                    Ok(None) => return read,
                    Err(error) => {
                        read.push(Err(error.to_string()));
                        assert!(reader.line.capacity() <= 2 * LIMIT + 8192);
                        return read;
                    }
                }
            }
        })
    }

    fn log_of_length(length: usize) -> Vec<u8> {
        let text = "x".repeat(length - r#"{"type":"log","text":""}"#.len());
        format!("{{\"type\":\"log\",\"text\":\"{text}\"}}\n").into_bytes()
    }

    #[test]
    fn a_line_at_the_limit_is_read_and_one_byte_more_is_not() {
        assert!(matches!(frames_of(&log_of_length(LIMIT))[..], [Ok(FromWorker::Log(_))]));
        let too_long = frames_of(&log_of_length(LIMIT + 1));
        assert_eq!(too_long, [Err("a frame is longer than 100 bytes".to_owned())]);
        let endless = vec![b'x'; 3_000_000];
        assert_eq!(frames_of(&endless), [Err("a frame is longer than 100 bytes".to_owned())]);
    }

    #[test]
    fn numbers_must_follow_each_other_unless_there_are_none() {
        let good =
            b"{\"type\":\"ready\",\"seq\":1}\n{\"type\":\"bye\"}\n{\"type\":\"pong\",\"seq\":2}\n";
        assert_eq!(
            frames_of(good),
            [Ok(FromWorker::Ready), Ok(FromWorker::Bye), Ok(FromWorker::Pong)]
        );
        for second in [1, 3] {
            let text = format!(
                "{{\"type\":\"ready\",\"seq\":1}}\n{{\"type\":\"bye\",\"seq\":{second}}}\n"
            );
            let gap = format!("frame {second} came where frame 2 was due");
            assert_eq!(frames_of(text.as_bytes()), [Ok(FromWorker::Ready), Err(gap)]);
        }
    }

    #[test]
    fn a_torn_last_line_is_the_end() {
        assert_eq!(frames_of(b"{\"type\":\"ready\"}\n{\"type\":\"res"), [Ok(FromWorker::Ready)]);
        assert_eq!(frames_of(b""), []);
    }

    #[test]
    fn a_dropped_wait_loses_no_byte() {
        block_on(async {
            let (mut sender, receiver) = pipe::pipe().unwrap();
            let mut reader = FrameReader::new(receiver, LIMIT);
            sender.write_all(b"{\"type\":").await.unwrap();
            let moment = std::time::Duration::from_millis(20);
            assert!(tokio::time::timeout(moment, reader.next()).await.is_err());
            sender.write_all(b"\"ready\"}\n").await.unwrap();
            assert_eq!(reader.next().await.unwrap(), Some(FromWorker::Ready));
        });
    }

    #[test]
    fn the_writer_closes_the_pipe_after_what_was_sent() {
        block_on(async {
            let (sender, mut receiver) = pipe::pipe().unwrap();
            let writer = FrameWriter::spawn(sender);
            let big = vec![b'x'; 300_000];
            assert!(writer.send(big.clone()) && writer.send(b"end".to_vec()));
            drop(writer);
            let mut read = Vec::new();
            receiver.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, [big, b"end".to_vec()].concat());
        });
    }

    #[test]
    fn log_lines_are_cut_and_made_text() {
        block_on(async {
            let (mut sender, receiver) = pipe::pipe().unwrap();
            let mut written = b"one\r\n\nbroken \xff\n".to_vec();
            written.extend(vec![b'y'; 1_000_000]);
            written.extend(b"\nlast");
            tokio::spawn(async move { sender.write_all(&written).await });
            let mut lines = Vec::new();
            drain_stderr(receiver, |line| lines.push(line.to_owned())).await;
            let long = "y".repeat(MAX_LOG_LINE_BYTES);
            assert_eq!(lines, ["one", "", "broken \u{fffd}", &long, "last"]);
        });
    }
}
