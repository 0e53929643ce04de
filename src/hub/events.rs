//! The hub's progress as events: what it sends is read, bounded and written anew, so that only the fields below go on.
//!
//! The form is that of server-sent events (HTML § 9.2): lines of `data: {"progress":50,"message":…}` with empty ones
//! between them; a line without data is a sign of life.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream;
use serde::{Deserialize, Serialize};

use super::{HubClient, HubError, SpawnEventStream};

/// The longest line that is read: a spawner may put a whole traceback into its message.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The most characters of a message that go on.
const MESSAGE_CHARS_MAX: usize = 2000;
/// The longest that a start is watched. Whoever still cares asks again.
const WATCHED_MAX: Duration = Duration::from_hours(1);

/// One piece of news from a server that starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SpawnEvent {
    /// From 0 to 100.
    pub progress: u8,
    /// What the hub, or the spawner, says: text, whatever it looks like.
    pub message: String,
    /// The server answers: the last event.
    pub ready: bool,
    /// The server will not come up: the last event.
    pub failed: bool,
    /// Its place in line, from 1, where it waits until the hub has room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

/// An event as the hub writes it. Spawners add fields of their own.
#[derive(Deserialize)]
struct EventJson {
    #[serde(default)]
    progress: Option<f64>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    ready: bool,
    #[serde(default)]
    failed: bool,
}

/// The events of one start.
#[derive(Debug)]
pub struct SpawnEvents {
    progress: SpawnEventStream,
    lines: LineSplitter,
    /// The last progress: an event without a number does not move the bar back.
    last_progress: u8,
}

/// What comes next in the hub's stream.
enum StreamItem {
    Event(SpawnEvent),
    /// A comment line: the hub is alive, and nothing has happened.
    Alive,
}

impl HubClient {
    /// The events of the server's start, from its beginning. Scope: `read:servers`. Refused as
    /// [`HubClient::progress`] is.
    pub async fn events(&self, user: &str, server: &str) -> Result<SpawnEvents, HubError> {
        let progress = self.progress(user, server).await?;
        Ok(SpawnEvents { progress, lines: LineSplitter::default(), last_progress: 0 })
    }
}

impl SpawnEvents {
    /// The next event; none at the end.
    pub async fn next_event(&mut self) -> Result<Option<SpawnEvent>, HubError> {
        loop {
            match self.next().await? {
                Some(StreamItem::Event(event)) => return Ok(Some(event)),
                Some(StreamItem::Alive) => {}
                None => return Ok(None),
            }
        }
    }

    async fn next(&mut self) -> Result<Option<StreamItem>, HubError> {
        loop {
            if let Some(line) = self.lines.take() {
                if let Some(event) = self.read(&line) {
                    return Ok(Some(StreamItem::Event(event)));
                }
                continue;
            }
            match self.progress.next().await? {
                None => return Ok(None),
                Some(bytes) => {
                    self.lines.push(&bytes);
                    if !self.lines.has_line() {
                        return Ok(Some(StreamItem::Alive));
                    }
                }
            }
        }
    }

    /// The event in `line`, if it holds one.
    fn read(&mut self, line: &[u8]) -> Option<SpawnEvent> {
        let json: EventJson = serde_json::from_slice(line.strip_prefix(b"data:")?).ok()?;
        if let Some(progress) = json.progress.filter(|progress| progress.is_finite()) {
            // Clamped first, so that it fits.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let progress = progress.clamp(0.0, 100.0) as u8;
            self.last_progress = progress;
        }
        let message = json.message.unwrap_or_default().chars().take(MESSAGE_CHARS_MAX).collect();
        Some(SpawnEvent {
            progress: self.last_progress,
            message,
            ready: json.ready,
            failed: json.failed,
            position: None,
        })
    }

    /// The events as they are sent on: until the start has ended, the hub is gone, or nobody listens any more.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, HubError>> + Send {
        let deadline = tokio::time::Instant::now() + WATCHED_MAX;
        stream::try_unfold(Some(self), move |events| async move {
            let Some(mut events) = events else { return Ok(None) };
            match tokio::time::timeout_at(deadline, events.next()).await {
                Ok(news) => Ok(match news? {
                    Some(StreamItem::Event(event)) => {
                        let ends = event.ready || event.failed;
                        Some((written(&event), (!ends).then_some(events)))
                    }
                    // A comment (HTML § 9.2.6), so that no proxy takes the silence for death.
                    Some(StreamItem::Alive) => Some((Bytes::from_static(b":\n\n"), Some(events))),
                    None => None,
                }),
                Err(_elapsed) => Ok(None),
            }
        })
    }
}

/// `event`, plain data of numbers, flags and texts, as it is sent to a browser: one server-sent event.
pub fn written(event: &impl Serialize) -> Bytes {
    // Such data can always be written, and JSON has no line end in it.
    let json = serde_json::to_string(event).unwrap_or_default();
    format!("data: {json}\n\n").into()
}

/// Lines out of bytes, the longest of which are dropped.
#[derive(Debug, Default)]
struct LineSplitter {
    rest: BytesMut,
    /// The line that is being read is too long.
    skipping: bool,
}

impl LineSplitter {
    fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        if !self.has_line() && self.rest.len() > LINE_BYTES_MAX {
            self.rest.clear();
            self.skipping = true;
        }
    }

    fn has_line(&self) -> bool {
        self.rest.contains(&b'\n')
    }

    fn take(&mut self) -> Option<BytesMut> {
        loop {
            let end = memchr::memchr(b'\n', &self.rest)?;
            let mut line = self.rest.split_to(end + 1);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            line.truncate(line.trim_ascii_end().len());
            return Some(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = LineSplitter::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece);
            while let Some(line) = lines.take() {
                found.push(line.to_vec());
            }
        }
        found
    }

    #[test]
    fn lines_are_found_however_they_are_cut() {
        assert_eq!(lines(&[b"da", b"ta: 1\r\n\nda", b"ta: 2", b"\n"]), [&b"data: 1"[..], b"", b"data: 2"]);
        assert_eq!(lines(&[b"no end"]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_line_without_end_is_dropped_and_the_next_is_read() {
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert_eq!(lines(&[&long, b"still\ndata: 1\n"]), [b"data: 1"]);
    }

    #[test]
    fn an_event_is_written_on_two_lines_whatever_it_says() {
        let event = SpawnEvent {
            progress: 5,
            message: "a\nb\r\u{2028}\"".to_owned(),
            failed: true,
            ..SpawnEvent::default()
        };
        let text = String::from_utf8(written(&event).to_vec()).unwrap();
        assert_eq!(text.matches('\n').count(), 2, "{text}");
        assert!(text.starts_with("data: {\"progress\":5,\"message\":\"a\\nb\\r") && text.ends_with("}\n\n"));
    }
}
