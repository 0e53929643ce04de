//! One connection as bytes: what is read is kept exactly, and no read waits longer than the test's patience.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;
use super::message::{Answer, Body, Head, Length};

/// A connection, and what was read from it and not taken yet.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    pending: Vec<u8>,
    /// Every byte that was ever read, if somebody wants to know.
    all: Option<Vec<u8>>,
    ended: bool,
    resets: bool,
}

impl Wire {
    /// Connects to `address`.
    pub fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect_timeout(&address, PATIENCE).expect("connect"))
    }

    /// Takes over `stream`.
    pub fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("set a timeout");
        stream.set_nodelay(true).expect("set nodelay");
        Self { stream, pending: Vec::new(), all: None, ended: false, resets: false }
    }

    /// Keeps every byte that is read from now on.
    pub fn recording(mut self) -> Self {
        self.all = Some(Vec::new());
        self
    }

    /// Takes every byte that was read since [`Wire::recording`] or since the last call.
    pub fn take_recorded(&mut self) -> Vec<u8> {
        self.all.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Records no more: what comes is large.
    pub fn stop_recording(&mut self) {
        self.all = None;
    }

    /// A second handle of the same connection, for another thread: it must not read.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("another handle")
    }

    /// Sends `bytes`; the peer must take them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("send");
    }

    /// Sends `bytes` to a peer that may be gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends no more; reads on.
    pub fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("half-close");
    }

    /// Ends the connection both ways.
    pub fn close(self) {
        if !self.resets {
            let _gone = self.stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends the connection as a process that dies does: with a reset.
    pub fn reset(mut self) {
        self.reset_at_close();
    }

    /// Makes the end of the connection a reset, when its last handle is dropped.
    pub fn reset_at_close(&mut self) {
        self.resets = true;
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("set linger");
    }

    /// Bounds the kernel's buffer of what was received and not read: it grows to many megabytes by itself.
    pub fn bound_receive_buffer(&self, bytes: usize) {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(bytes).expect("set the buffer");
    }

    /// Reads once more. False at the end; a reset is an end too.
    pub fn fill(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(read) => {
                self.pending.extend_from_slice(&buffer[..read]);
                if let Some(all) = &mut self.all {
                    all.extend_from_slice(&buffer[..read]);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("nothing came for {PATIENCE:?}; before: {:?}", String::from_utf8_lossy(&self.pending))
            }
            Err(_) => self.ended = true,
        }
        !self.ended
    }

    /// What was read and not taken yet.
    pub fn pending(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// The next `count` bytes, or fewer at the end.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.pending.len() < count && self.fill() {}
        self.pending.drain(..count.min(self.pending.len())).collect()
    }

    /// Shows the next `count` bytes piece by piece, in constant memory; how many there were before the end.
    pub fn each(&mut self, count: u64, mut look: impl FnMut(&[u8])) -> u64 {
        let mut left = count;
        while left > 0 {
            if self.pending.is_empty() && !self.fill() {
                break;
            }
            let taken = self.pending.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            look(&self.pending[..taken]);
            self.pending.drain(..taken);
            left -= taken as u64;
        }
        count - left
    }

    /// The bytes up to and with `end`; `None` if the connection ends before.
    pub fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.pending, end) {
                return Some(self.pending.drain(..at + end.len()).collect());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// All that comes until the peer ends the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.pending)
    }

    /// Whether the peer ends the connection without another byte.
    pub fn is_ended(&mut self) -> bool {
        self.pending.is_empty() && !self.fill()
    }

    /// Whether nothing comes for `span`, and the connection does not end either.
    pub fn is_silent_for(&mut self, span: Duration) -> bool {
        if !self.pending.is_empty() || self.ended {
            return false;
        }
        self.stream.set_read_timeout(Some(span)).expect("set a timeout");
        let silent = self
            .stream
            .peek(&mut [0])
            .is_err_and(|error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut));
        self.stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        silent
    }

    /// The next head, of a request or an answer; `None` if the connection ends before it is whole.
    pub fn head(&mut self) -> Option<Head> {
        self.until(b"\r\n\r\n").map(Head::parse)
    }

    /// The same on a connection that may be idle before it for as long as it likes.
    pub fn idle_head(&mut self) -> Option<Head> {
        if self.pending.is_empty() {
            self.stream.set_read_timeout(None).expect("set a timeout");
            self.fill();
            self.stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        }
        self.head()
    }

    /// A body of the length that its head told.
    pub fn body(&mut self, length: Length) -> Body {
        match length {
            Length::Sized(size) => {
                let bytes = self.take(usize::try_from(size).expect("a size"));
                Body { complete: bytes.len() as u64 == size, bytes, ..Body::default() }
            }
            Length::UntilEnd => Body { bytes: self.rest(), complete: true, ..Body::default() },
            Length::Chunked => {
                let mut body = Body::default();
                while let Some(chunk) = self.chunk() {
                    if chunk.is_empty() {
                        body.complete = true;
                        body.trailers = self.trailers(&mut body.complete);
                        break;
                    }
                    body.bytes.extend_from_slice(&chunk);
                }
                body
            }
        }
    }

    /// The data of the next chunk, empty for the last one; `None` if the connection ends before it is whole.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until(b"\r\n")?;
        let text = std::str::from_utf8(&line).expect("a chunk size").trim_end();
        let size = text.split(';').next().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.unwrap_or_else(|| panic!("a chunk size: {text:?}"));
        if size == 0 {
            return Some(Vec::new());
        }
        let mut data = self.take(size + 2);
        (data.len() == size + 2 && data.ends_with(b"\r\n")).then(|| {
            data.truncate(size);
            data
        })
    }

    fn trailers(&mut self, complete: &mut bool) -> Vec<String> {
        let mut trailers = Vec::new();
        loop {
            match self.until(b"\r\n") {
                Some(line) if line == b"\r\n" => return trailers,
                Some(line) => trailers.push(super::message::latin1(&line[..line.len() - 2])),
                None => {
                    *complete = false;
                    return trailers;
                }
            }
        }
    }

    /// The whole answer to a request that was sent with `method`, and the interim ones before it.
    pub fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let mut interim = Vec::new();
        loop {
            let head = self.head()?;
            let mut answer = Answer::of(&head);
            if (100..200).contains(&answer.status) && answer.status != 101 {
                interim.push(answer.status);
                continue;
            }
            let length = head.answer_length(method, answer.status);
            let body = self.body(length);
            answer.interim = interim;
            answer.body = body.bytes;
            answer.complete = body.complete;
            answer.trailers = body.trailers;
            return Some(answer);
        }
    }

    /// Sends a request without body and reads its answer.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let request = request.as_ref();
        let method = request.split(|byte| *byte == b' ').next().unwrap_or_default();
        let method = String::from_utf8_lossy(method).into_owned();
        self.send(request);
        self.answer_to(&method).expect("an answer")
    }
}

/// Sends `bytes` to `address` and reads all that comes until the peer closes.
pub fn raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut wire = Wire::connect(address);
    // A peer that refuses need not take all of it.
    let _taken = wire.try_send(bytes);
    wire.rest()
}
