//! Log lines: JSON (or text) to stderr, one line an event, formatted where it happens and written by a thread of its
//! own, so that no request waits for a slow reader.
//!
//! The access log is one event a request. `tracing-subscriber` and a channel of lines cost a fifth of such a request:
//! a tree of layers, a serializer for each line, a wake-up and a `write` for each. Here a line is put together in one
//! pass, and the writer takes whole batches.

mod line;
mod writer;

use std::cell::Cell;

use prometheus_client::metrics::counter::Counter;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use line::LogLine;
use writer::LogWriter;

/// What is logged is written out when this is dropped.
#[derive(Debug)]
pub struct Guard(LogWriter);

impl Guard {
    /// Counts the lines that are dropped, also those that have been already.
    pub fn count_dropped(&self, counter: Counter) {
        self.0.lines().count_dropped(counter);
    }
}

/// Begins logging.
pub fn start(json: bool, level: Level) -> Guard {
    let writer = LogWriter::start(Box::new(std::io::stderr()));
    let log = Log { level: LevelFilter::from_level(level), json, lines: writer.lines() };
    // A second subscriber in one process is a test's; the first one stays.
    let _installed = tracing::subscriber::set_global_default(log);
    Guard(writer)
}

/// Takes events and leaves spans alone: hublatch has none of its own.
#[derive(Debug)]
struct Log {
    level: LevelFilter,
    json: bool,
    lines: writer::LineQueue,
}

thread_local! {
    /// Room for one line, kept. Taken while it is in use: a value that logs while it is formatted finds none.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = LogLine::new(ROOM.take(), self.json, event.metadata());
        event.record(&mut line);
        let mut text = line.end();
        self.lines.push(&text);
        text.clear();
        ROOM.set(text);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
