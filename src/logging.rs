//! Log lines: JSON (or text) to stderr, written by a thread of their own so that no request waits for a slow reader.

use std::io;

use tracing::Level;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// Lines that may wait to be written; more are dropped, which is better than a proxy that stands still.
const LINES_WAITING_MAX: usize = 16 * 1024;

/// Begins logging; what is logged is written out when the guard is dropped.
pub fn start(json: bool, level: Level) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_WAITING_MAX)
        .thread_name("hublatch-log")
        .finish(io::stderr());
    install(json, level, writer);
    guard
}

fn install(json: bool, level: Level, writer: NonBlocking) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(level))
        .with_timer(SystemTime)
        .with_writer(writer);
    // A second subscriber in one process is a test's; the first one stays.
    let _installed = if json {
        let lines = subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false);
        tracing::subscriber::set_global_default(lines.finish())
    } else {
        tracing::subscriber::set_global_default(subscriber.finish())
    };
}
