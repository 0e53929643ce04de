//! The threads of the redb store: one that writes, committing in groups, and one that reads.
//!
//! Knows nothing of links: it is given closures and runs them in transactions.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use redb::{ReadTransaction, ReadableDatabase as _};
use tokio::sync::{mpsc, oneshot};

use super::super::{StoreError, StoreFuture};
use super::error::FileError;
use super::file::{self, Opened};
use super::file_state::FileState;
use super::index::Index;
use super::link_record::Opening;
use super::read::OperationError;
use super::shared_database::{Open, SharedDatabase, Write};
use super::tables::Tables;
use super::writer::Writer;
use crate::clock::Clock;

/// The most calls that wait; above it the store says that it is busy.
const QUEUE: usize = 8192;
/// How long a caller waits. A disk that takes longer is as good as gone.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

type Read = Box<dyn FnOnce(Result<Readable<'_>, StoreError>) + Send>;

/// What a reader is given.
type Readable<'r> = (&'r ReadTransaction, &'r RwLock<Index>, &'r Opening);

/// The two threads, and what is shared with them.
#[derive(Debug)]
pub(super) struct Threads {
    writes: Option<mpsc::Sender<Write>>,
    reads: Option<mpsc::Sender<Read>>,
    shared: Arc<SharedDatabase>,
    joined: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(super) fn start(path: &Path, max_tokens: usize, clock: Arc<dyn Clock>) -> Result<Self, FileError> {
        let now = clock.now();
        let Opened { database, index, marker, mut state } = file::open(path, now.wall)?;
        state.openings += 1;
        let opening = Opening::new(state.openings, now, state.written);
        let remembers_since = remembers_since(&opening, &state);
        let shared = Arc::new(SharedDatabase {
            open: RwLock::new(Some(Open { database, index: RwLock::new(index) })),
            opening,
            remembers_since,
            live: AtomicUsize::new(0),
            suspect: AtomicBool::new(false),
        });
        let mut writer = Writer {
            path: path.to_owned(),
            clock,
            shared: Arc::clone(&shared),
            marker: Some(marker),
            state,
            max_tokens,
            failed_at: None,
        };
        // The number of this opening is durable before anything is issued in it.
        writer.transact(VecDeque::new())?;
        if let Some(marker) = &writer.marker {
            marker.sync()?;
        }
        let (write_queue, to_write) = mpsc::channel(QUEUE);
        let (read_queue, to_read) = mpsc::channel(QUEUE);
        let reader = Arc::clone(&shared);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let joined = vec![
            thread("hublatch-store").spawn(move || writer.run(to_write))?,
            thread("hublatch-read").spawn(move || run_reader(&reader, to_read))?,
        ];
        Ok(Self { writes: Some(write_queue), reads: Some(read_queue), shared, joined })
    }

    /// Runs `act` in the next commit, and answers once that is durable.
    pub(super) fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Tables<'_>) -> Result<T, OperationError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let (reply, answer) = oneshot::channel();
        let write: Write = Box::new(move |tables| {
            if reply.is_closed() {
                // The caller has gone: its token stays what it is.
                return Ok(Box::new(|| ()));
            }
            let done = match act(tables) {
                Ok(done) => Ok(done),
                Err(OperationError::Record(error)) => Err(StoreError::unavailable(error)),
                Err(OperationError::Storage(error)) => return Err(error),
            };
            Ok(Box::new(move || {
                let _gone = reply.send(done);
            }))
        });
        let sent = self.writes.as_ref().is_some_and(|queue| queue.try_send(write).is_ok());
        Box::pin(wait_for_reply(sent, answer))
    }

    pub(super) fn ping(&self) -> StoreFuture<'_, ()> {
        self.write(|_| Ok(()))
    }

    /// Runs `act` on what is committed.
    pub(super) fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&ReadTransaction, &RwLock<Index>, &Opening) -> Result<T, OperationError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let (reply, answer) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let read: Read = Box::new(move |opened| {
            let done = opened.and_then(|(transaction, index, opening)| {
                act(transaction, index, opening).map_err(|error| {
                    if matches!(error, OperationError::Storage(_)) {
                        shared.suspect.store(true, Ordering::Release);
                    }
                    StoreError::unavailable(error)
                })
            });
            let _gone = reply.send(done);
        });
        let sent = self.reads.as_ref().is_some_and(|queue| queue.try_send(read).is_ok());
        Box::pin(wait_for_reply(sent, answer))
    }

    /// From when on it is known what was consumed.
    pub(super) fn remembers_since(&self) -> Timestamp {
        self.shared.remembers_since
    }

    pub(super) fn live(&self) -> usize {
        self.shared.live.load(Ordering::Relaxed)
    }
}

/// From when on a file remembers what was consumed: since it was created. But it forgets a token some time after that is
/// over, and a clock that was set back while nobody looked would bring the token to life again: so not what is from before
/// the last that was written then. For this once: who starts it again with the same clock means it.
fn remembers_since(opening: &Opening, state: &FileState) -> Timestamp {
    if !opening.clock_went_back {
        return state.created;
    }
    tracing::warn!(
        before = %state.written,
        "token store: the clock has been set back since the file was last written; tokens that apps have signed before \
         are refused until the clock is there again, or hublatch is restarted"
    );
    state.written.max(state.created)
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Both threads end when their queues do; then the file is closed in good order.
        self.writes = None;
        self.reads = None;
        for thread in self.joined.drain(..) {
            // A thread that panicked has told so itself.
            let _joined = thread.join();
        }
    }
}

async fn wait_for_reply<T>(
    sent: bool,
    answer: oneshot::Receiver<Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let unavailable = |why: &str| Err(StoreError::unavailable(why));
    if !sent {
        return unavailable("too many calls wait for the disk");
    }
    match tokio::time::timeout(CALL_TIMEOUT, answer).await {
        Ok(Ok(done)) => done,
        // Dropped with its transaction; the log says why.
        Ok(Err(_dropped)) => unavailable("the file of the store failed"),
        Err(_elapsed) => unavailable("the disk does not answer"),
    }
}

/// The thread that reads.
fn run_reader(shared: &SharedDatabase, mut queue: mpsc::Receiver<Read>) {
    while let Some(read) = queue.blocking_recv() {
        let open = shared.open.read().unwrap_or_else(PoisonError::into_inner);
        // A damaged page must end in an error, whatever it makes the library do.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let opened = match open.as_ref() {
                // The transaction first: what it has, the index has as well.
                Some(open) => open
                    .database
                    .begin_read()
                    .map(|transaction| (transaction, &open.index))
                    .map_err(StoreError::unavailable),
                None => Err(StoreError::unavailable("the file of the store failed")),
            };
            match opened {
                Ok((transaction, index)) => read(Ok((&transaction, index, &shared.opening))),
                Err(why) => {
                    shared.suspect.store(true, Ordering::Release);
                    read(Err(why));
                }
            }
        }));
        if ran.is_err() {
            shared.suspect.store(true, Ordering::Release);
        }
    }
}
