//! The thread that writes the log: it takes all lines that have gathered in one piece, and there is a bound to them.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

/// Lines that may wait to be written; more are dropped, which is better than a proxy that stands still.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long lines gather: a busy proxy then costs a hundred writes a second, and not one for each request.
const GATHERING: Duration = Duration::from_millis(10);
/// How long the end waits for a reader that reads nothing any more.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Where lines wait.
#[derive(Debug, Clone, Default)]
pub(super) struct LineQueue(Arc<LineQueueShared>);

#[derive(Debug, Default)]
struct LineQueueShared {
    waiting: Mutex<WaitingLines>,
    changed: Condvar,
    counter: OnceLock<Counter>,
}

#[derive(Debug, Default)]
struct WaitingLines {
    text: Vec<u8>,
    dropped: u64,
    ended: bool,
}

impl LineQueue {
    /// Takes a line to be written, or drops it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.text.len() + line.len() > WAITING_BYTES_MAX {
            waiting.dropped += 1;
            if let Some(counter) = self.0.counter.get() {
                counter.inc();
            }
            return;
        }
        let sleeps = waiting.text.is_empty();
        waiting.text.extend_from_slice(line);
        drop(waiting);
        if sleeps {
            self.0.changed.notify_one();
        }
    }

    /// Counts dropped lines from now on, and those up to now.
    pub(super) fn count_dropped(&self, counter: Counter) {
        // Under the lock, so that each line is counted once.
        let waiting = self.waiting();
        counter.inc_by(waiting.dropped);
        let _first = self.0.counter.set(counter);
    }

    fn waiting(&self) -> MutexGuard<'_, WaitingLines> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines; whether these are the last ones.
    fn take(&self, into: &mut Vec<u8>) -> bool {
        let something = |waiting: &mut WaitingLines| waiting.text.is_empty() && !waiting.ended;
        let waiting = self.0.changed.wait_while(self.waiting(), something);
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let gathering = |waiting: &mut WaitingLines| !waiting.ended;
        let gathered = self.0.changed.wait_timeout_while(waiting, GATHERING, gathering);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut waiting.text, into);
        waiting.ended
    }
}

/// The thread; it has written all lines when this is dropped, or has been given up.
#[derive(Debug)]
pub(super) struct LogWriter {
    lines: LineQueue,
    thread: Option<JoinHandle<()>>,
    /// Its other end goes with the thread.
    ended: Receiver<Infallible>,
}

impl LogWriter {
    /// Writes to `sink` from now on. Without a thread lines gather up to their bound, and are lost.
    pub(super) fn start(sink: Box<dyn io::Write + Send>) -> Self {
        let lines = LineQueue::default();
        let taken = lines.clone();
        let (running, ended) = channel();
        let builder = std::thread::Builder::new().name("hublatch-log".to_owned());
        let work = move || {
            let _running: Sender<Infallible> = running;
            write(&taken, sink);
        };
        let thread = builder.spawn(work).ok();
        Self { lines, thread, ended }
    }

    /// Where lines go.
    pub(super) fn lines(&self) -> LineQueue {
        self.lines.clone()
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.lines.waiting().ended = true;
        self.lines.0.changed.notify_one();
        // One that still writes hangs in its sink: nobody can wait for that, least of all whoever ends this process.
        let hangs = self.ended.recv_timeout(FLUSH_TIMEOUT) == Err(RecvTimeoutError::Timeout);
        if let Some(thread) = self.thread.take().filter(|_| !hangs) {
            // A thread that panicked has told so itself.
            let _joined = thread.join();
        }
    }
}

fn write(lines: &LineQueue, mut sink: Box<dyn io::Write + Send>) {
    let mut batch = Vec::new();
    loop {
        let ended = lines.take(&mut batch);
        // Whoever reads the log may be gone; there is nobody to tell.
        let _written = sink.write_all(&batch).and_then(|()| sink.flush());
        batch.clear();
        // What one burst took is given back.
        batch.shrink_to(64 * 1024);
        if ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Hands each write over, and goes on when that is taken.
    struct Reader(mpsc::SyncSender<Vec<u8>>);

    impl io::Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_in_order_and_the_last_ones_when_logging_ends() {
        let (sender, reader) = mpsc::sync_channel(10_000);
        let writer = LogWriter::start(Box::new(Reader(sender)));
        let mut all = Vec::new();
        for number in 0..1000 {
            let line = format!("line {number}\n");
            writer.lines().push(line.as_bytes());
            all.extend_from_slice(line.as_bytes());
        }
        drop(writer);
        let written: Vec<Vec<u8>> = reader.iter().collect();
        assert_eq!(written.concat(), all);
    }

    #[test]
    fn a_reader_that_reads_nothing_any_more_does_not_keep_the_process_from_ending() {
        let (sender, reader) = mpsc::sync_channel(0);
        let writer = LogWriter::start(Box::new(Reader(sender)));
        writer.lines().push(b"line\n");
        drop(writer);
        assert_eq!(reader.recv().as_deref(), Ok(&b"line\n"[..]), "it was still being written");
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted() {
        let (sender, reader) = mpsc::sync_channel(0);
        let writer = LogWriter::start(Box::new(Reader(sender)));
        let line = vec![b'x'; 1024 * 1024];
        for _ in 0..20 {
            writer.lines().push(&line);
        }
        let counter = Counter::default();
        writer.lines().count_dropped(counter.clone());
        writer.lines().push(&line);
        // Four wait, at most four more are being written.
        let dropped = counter.get();
        assert!((13..=17).contains(&dropped), "{dropped}");
        let ending = std::thread::spawn(move || drop(writer));
        let written: Vec<Vec<u8>> = reader.iter().collect();
        ending.join().unwrap();
        let written = written.concat();
        assert_eq!(written.len() as u64, (21 - dropped) << 20);
    }
}
