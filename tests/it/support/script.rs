//! What a test tells the [`FakeHub`](super::FakeHub) to do, and what it tells the test.

use std::sync::Arc;

use super::Wire;
use super::message::{Body, Head, Headers, Length};

/// A request as it reached the hub.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which connection it came over, counted from 0.
    pub connection: usize,
    /// `GET`.
    pub method: String,
    /// The target, byte for byte.
    pub target: String,
    /// `HTTP/1.1`.
    pub version: String,
    /// The headers, byte for byte and in order.
    pub headers: Headers,
    /// The head, byte for byte.
    pub head: Vec<u8>,
    /// The body without framing, as far as it was read.
    pub body: Vec<u8>,
    /// Whether the body was read to its end.
    pub complete: bool,
    /// The lines of the trailers.
    pub trailers: Vec<String>,
}

impl Seen {
    /// The request with `head`, its body not read.
    pub fn new(connection: usize, head: &Head) -> Self {
        let mut words = head.line.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        Self {
            connection,
            method: word(),
            target: word(),
            version: word(),
            headers: head.headers.clone(),
            head: head.bytes.clone(),
            body: Vec::new(),
            complete: false,
            trailers: Vec::new(),
        }
    }

    /// The path of the target.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query of the target, undecoded.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Takes over what was read of the body.
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = body.bytes;
        self.complete = body.complete;
        self.trailers = body.trailers;
        self
    }
}

/// What becomes of a connection after a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It takes the next request.
    Next,
    /// It is closed.
    Close,
}

/// One request in the hands of a script.
pub struct Exchange<'a> {
    /// The request; its body is not read yet.
    pub seen: Seen,
    /// The connection.
    pub wire: &'a mut Wire,
    /// How many requests for this path came before.
    pub earlier: usize,
    /// How long the body is.
    pub length: Length,
    /// Whether the body is read.
    pub read: bool,
    /// Takes down what was read of the body, before it is answered.
    pub record: &'a dyn Fn(&Seen),
}

impl Exchange<'_> {
    /// Reads the body, which the test finds in what the hub has seen.
    pub fn read_body(&mut self) -> &[u8] {
        if !self.read {
            self.read = true;
            let body = self.wire.body(self.length);
            self.seen = self.seen.clone().with_body(body);
            (self.record)(&self.seen);
        }
        &self.seen.body
    }

    /// Reads the body and answers `status` with `body`, sized.
    pub fn answer(&mut self, status: &str, body: impl AsRef<[u8]>) -> Then {
        self.read_body();
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        self.wire.send([head.as_bytes(), body].concat());
        Then::Next
    }

    /// Sends `bytes` as they are, whether or not the proxy still wants them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _gone = self.wire.try_send(bytes);
    }
}

/// Answers one request, or does something worse.
pub type Script = Arc<dyn Fn(&mut Exchange<'_>) -> Then + Send + Sync>;
