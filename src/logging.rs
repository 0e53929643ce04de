//! Log lines: JSON (or text) to stderr, one line an event, formatted where it happens and written by a thread of its
//! own, so that no request waits for a slow reader.
//!
//! `tracing-subscriber` filters events (`log.level`); its own formatters are not used, for two reasons. They do not bound
//! the length of a field, and clients choose the content of some. And the access log is one event a request: a serializer,
//! a wake-up and a `write` for each line made a request cost a fifth more. Here a line is formatted in one pass, and the
//! writer thread writes many lines at once.

mod line;
mod writer;

use std::cell::Cell;

use prometheus_client::metrics::counter::Counter;
use tracing::Event;
use tracing::subscriber::{Subscriber, set_global_default};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use line::LogLine;
use writer::{LineQueue, LogWriter};

/// What is logged is written out when this is dropped.
#[derive(Debug)]
pub struct Guard(LogWriter);

impl Guard {
    /// Counts the lines that are dropped, also those that have been already.
    pub fn count_dropped(&self, counter: Counter) {
        self.0.lines().count_dropped(counter);
    }
}

/// Begins logging what `filter` lets through.
pub fn start(json: bool, filter: Targets) -> Guard {
    let writer = LogWriter::start(Box::new(std::io::stderr()));
    // A second subscriber in one process is a test's; the first one stays.
    let _installed = set_global_default(lines_of(json, filter, writer.lines()));
    Guard(writer)
}

/// One filter for all layers, not one for each: an event that it keeps out costs a look at a flag beside it.
fn lines_of(json: bool, filter: Targets, queue: LineQueue) -> impl Subscriber + Send + Sync {
    Registry::default().with(filter).with(LogLayer { json, queue })
}

/// Makes a line of each event. Spans are left alone: hublatch has none of its own.
#[derive(Debug)]
struct LogLayer {
    json: bool,
    queue: LineQueue,
}

thread_local! {
    /// Room for one line, kept. Taken while it is in use: a value that logs while it is formatted finds none.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = LogLine::new(ROOM.take(), self.json, event.metadata());
        event.record(&mut line);
        let mut text = line.end();
        self.queue.push(&text);
        text.clear();
        ROOM.set(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tracing::level_filters::LevelFilter;
    use tracing::subscriber::with_default;

    /// What `events` leave in a log with this filter.
    fn logged(json: bool, filter: &str, events: impl FnOnce()) -> String {
        struct Sent(mpsc::Sender<Vec<u8>>);
        impl std::io::Write for Sent {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                _ = self.0.send(bytes.to_vec());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (sender, receiver) = mpsc::channel();
        let writer = LogWriter::start(Box::new(Sent(sender)));
        with_default(lines_of(json, filter.parse().unwrap(), writer.lines()), events);
        drop(writer);
        String::from_utf8(receiver.iter().collect::<Vec<_>>().concat()).unwrap()
    }

    #[test]
    fn an_event_is_one_json_object_of_its_own_fields_between_time_and_target() {
        let lines = logged(true, "info", || {
            tracing::warn!(target: "hublatch::x", path = "/a\n\u{1b}", status = 404_u16, code = ?Some("b"), "said");
        });
        let (time, rest) = lines.split_at("{\"timestamp\":\"2026-11-22T00:00:00.000000Z\"".len());
        assert!(time.starts_with("{\"timestamp\":\"2") && time.ends_with("Z\""), "{lines}");
        let fields =
            r#","level":"WARN","message":"said","path":"/a\n\u001b","status":404,"code":"Some(\"b\")""#;
        assert_eq!(rest, format!("{fields},\"target\":\"hublatch::x\"}}\n"));
    }

    #[test]
    fn an_event_is_one_line_of_text_for_people() {
        let lines = logged(false, "info", || tracing::info!(target: "hublatch::x", to = %"a\nb", "said"));
        let (_, rest) = lines.split_once(' ').unwrap();
        assert_eq!(rest, " INFO hublatch::x: said to=a\\nb\n");
    }

    #[test]
    fn a_level_is_logged_where_the_filter_has_it_and_nowhere_else() {
        let lines = logged(false, "warn,hublatch::hub=debug", || {
            tracing::debug!(target: "hublatch::hub::events", "one");
            tracing::trace!(target: "hublatch::hub", "two");
            tracing::info!(target: "hublatch::proxy", "three");
            tracing::error!(target: "hublatch::proxy", "four");
        });
        let said: Vec<&str> = lines.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(said, ["one", "four"]);
    }

    #[test]
    fn a_level_that_no_filter_has_is_known_to_be_off_before_an_event_is_made() {
        let log = lines_of(true, "info,hublatch::hub=warn".parse().unwrap(), LineQueue::default());
        assert_eq!(log.max_level_hint(), Some(LevelFilter::INFO));
        with_default(log, || assert!(!tracing::enabled!(tracing::Level::DEBUG)));
    }
}
