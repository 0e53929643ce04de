//! The thread that writes the audit log: whoever has something to record never waits for a slow disk or reader.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

/// Lines that may wait to be written. With more, somebody must look at the disk, or at the reader.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long the end waits for a sink that takes nothing.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) type Sink = Box<dyn Write + Send>;

/// Lines on their way to the thread, which has written all of them when this is dropped, or has been given up.
pub(super) struct AuditQueue {
    shared: Arc<AuditQueueShared>,
    thread: Option<JoinHandle<()>>,
}

struct AuditQueueShared {
    state: Mutex<AuditBuffer>,
    changed: Condvar,
    /// Whether the last line could not be written, or not even wait.
    failing: AtomicBool,
    lost: Counter,
}

#[derive(Default)]
struct AuditBuffer {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Takes the place of the present sink before the next line.
    next_sink: Option<Sink>,
    is_writing: bool,
    ended: bool,
}

impl AuditQueue {
    /// Writes to `sink`; `lost` counts the lines that could not be written.
    pub(super) fn start(sink: Sink, lost: Counter) -> Self {
        let shared = Arc::new(AuditQueueShared {
            state: Mutex::default(),
            changed: Condvar::new(),
            failing: AtomicBool::new(false),
            lost,
        });
        let taken = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("hublatch-audit".to_owned());
        // Without a thread the queue fills, and that is a failure like any other.
        let thread = builder.spawn(move || taken.run(sink)).ok();
        Self { shared, thread }
    }

    /// Writes to `sink` from the next line on.
    pub(super) fn set_sink(&self, sink: Sink) {
        self.shared.lock().next_sink = Some(sink);
        // The new one is innocent until a line fails.
        self.shared.failing.store(false, Ordering::Relaxed);
        self.shared.changed.notify_all();
    }

    /// Takes a line to be written; one that finds no room goes to the log.
    pub(super) fn push(&self, line: Vec<u8>) {
        let mut state = self.shared.lock();
        if state.bytes + line.len() > WAITING_BYTES_MAX {
            drop(state);
            return self.shared.fail(&line, &"the audit log takes nothing any more");
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Whether the last line could not be written.
    pub(super) fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
    }

    /// Waits until every line has been written, or the sink takes nothing.
    pub(super) fn flush(&self) {
        let waiting = |state: &mut AuditBuffer| !state.lines.is_empty() || state.is_writing;
        let _flushed = self.shared.changed.wait_timeout_while(self.shared.lock(), FLUSH_TIMEOUT, waiting);
    }
}

impl Drop for AuditQueue {
    fn drop(&mut self) {
        self.flush();
        let mut state = self.shared.lock();
        state.ended = true;
        // One that still writes hangs in its sink: nobody can wait for that.
        let ends = !state.is_writing;
        drop(state);
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take().filter(|_| ends) {
            // A thread that panicked has told so itself.
            let _joined = thread.join();
        }
    }
}

impl AuditQueueShared {
    fn run(&self, mut sink: Sink) {
        // Whether a line was written in part, as by a disk that has just become full: the next one must not become a part of it.
        let mut is_torn = false;
        loop {
            let idle = |state: &mut AuditBuffer| state.lines.is_empty() && !state.ended;
            let waited = self.changed.wait_while(self.lock(), idle);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            if let Some(next) = state.next_sink.take() {
                sink = next;
            }
            let Some(mut line) = state.lines.pop_front() else { return };
            state.bytes -= line.len();
            state.is_writing = true;
            drop(state);
            if is_torn {
                line.insert(0, b'\n');
            }
            // One unbuffered write a line, so that a crash loses none that was written.
            let mut written = 0;
            match write_all(&mut *sink, &line, &mut written).and_then(|()| sink.flush()) {
                Ok(()) => self.failing.store(false, Ordering::Relaxed),
                Err(error) => self.fail(&line, &error),
            }
            if let Some(last) = line[..written].last() {
                is_torn = *last != b'\n';
            }
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    /// A line is lost here: the log has it, and whoever looks at the metrics or at `/ready` is told.
    fn fail(&self, line: &[u8], error: &dyn std::fmt::Display) {
        self.failing.store(true, Ordering::Relaxed);
        self.lost.inc();
        let record = String::from_utf8_lossy(line);
        tracing::error!(%error, record = record.trim(), "write audit record");
    }

    fn lock(&self) -> MutexGuard<'_, AuditBuffer> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As [`Write::write_all`], and counts what was `written`, also if not all of it could be.
fn write_all(sink: &mut dyn Write, line: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < line.len() {
        match sink.write(&line[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => *written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so many bytes of room, and what was written; room comes back when it is full.
    struct Disk {
        room: usize,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                self.room = usize::MAX;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let fits = bytes.len().min(self.room);
            self.room -= fits;
            self.written.lock().unwrap().extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_a_full_disk_has_torn_takes_no_other_with_it() {
        for (room, expected) in [(14, "{\"n\":1}\n{\"n\":2\n{\"n\":3}\n"), (8, "{\"n\":1}\n{\"n\":3}\n")] {
            let (written, lost) = (Arc::<Mutex<Vec<u8>>>::default(), Counter::default());
            let sink = Disk { room, written: Arc::clone(&written) };
            let queue = AuditQueue::start(Box::new(sink), lost.clone());
            for number in 1..=3 {
                queue.push(format!("{{\"n\":{number}}}\n").into_bytes());
            }
            drop(queue);
            assert_eq!(
                (String::from_utf8(written.lock().unwrap().clone()).unwrap(), lost.get()),
                (expected.into(), 1)
            );
        }
    }
}
