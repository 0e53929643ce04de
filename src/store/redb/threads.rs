//! The threads of the redb store: one that writes, committing in groups, and one that reads.
//!
//! Knows nothing of links: it is given closures and runs them in transactions.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use redb::{Database, Durability, ReadTransaction, ReadableDatabase as _};
use tokio::sync::{mpsc, oneshot};

use super::super::{StoreError, StoreFuture};
use super::file::{self, FileError, Marker, Opened, State};
use super::read::Trouble;
use super::row::Session;
use super::tables::Tables;
use crate::clock::{Clock, Moment};

/// The most calls that wait; above it the store says that it is busy.
const QUEUE: usize = 8192;
/// The most calls in one commit.
const GROUP: usize = 1024;
/// How long a caller waits. A disk that takes longer is as good as gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a file that failed is left alone before it is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells the caller, once the commit is durable.
type Answer = Box<dyn FnOnce() + Send>;
type Write = Box<dyn FnOnce(&mut Tables<'_>) -> Result<Answer, redb::Error> + Send>;
type Read = Box<dyn FnOnce(Result<(&ReadTransaction, &Session), StoreError>) + Send>;

/// The two threads, and what is shared with them.
#[derive(Debug)]
pub(super) struct Threads {
    writes: Option<mpsc::Sender<Write>>,
    reads: Option<mpsc::Sender<Read>>,
    shared: Arc<Shared>,
    joined: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// None while the file has failed and could not be opened again.
    database: RwLock<Option<Database>>,
    session: Session,
    created: Timestamp,
    live: AtomicUsize,
    /// A reader met an error: the writer opens the file again.
    suspect: AtomicBool,
}

impl Threads {
    pub(super) fn start(path: &Path, max_tokens: usize, clock: Arc<dyn Clock>) -> Result<Self, FileError> {
        let now = clock.now();
        let Opened { database, marker, mut state } = file::open(path, now.wall)?;
        state.sessions += 1;
        let session = Session::new(state.sessions, now, state.written);
        let shared = Arc::new(Shared {
            database: RwLock::new(Some(database)),
            session,
            created: state.created,
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
        // The number of this session is durable before anything is issued in it.
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
            thread("hublatch-read").spawn(move || reader.run(to_read))?,
        ];
        Ok(Self { writes: Some(write_queue), reads: Some(read_queue), shared, joined })
    }

    /// Runs `act` in the next commit, and answers once that is durable.
    pub(super) fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Tables<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let (reply, answer) = oneshot::channel();
        let write: Write = Box::new(move |tables| {
            if reply.is_closed() {
                // The caller has gone: its token stays what it is.
                return Ok(Box::new(|| ()));
            }
            let done = match act(tables) {
                Ok(done) => Ok(done),
                Err(Trouble::Record(error)) => Err(StoreError::Unavailable(error.to_string())),
                Err(Trouble::Storage(error)) => return Err(error),
            };
            Ok(Box::new(move || {
                let _gone = reply.send(done);
            }))
        });
        let sent = self.writes.as_ref().is_some_and(|queue| queue.try_send(write).is_ok());
        Box::pin(answered(sent, answer))
    }

    pub(super) fn ping(&self) -> StoreFuture<'_, ()> {
        self.write(|_| Ok(()))
    }

    /// Runs `act` on what is committed.
    pub(super) fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&ReadTransaction, &Session) -> Result<T, Trouble> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let (reply, answer) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let read: Read = Box::new(move |opened| {
            let done = opened.and_then(|(transaction, session)| {
                act(transaction, session).map_err(|trouble| {
                    if matches!(trouble, Trouble::Storage(_)) {
                        shared.suspect.store(true, Ordering::Release);
                    }
                    StoreError::Unavailable(trouble.to_string())
                })
            });
            let _gone = reply.send(done);
        });
        let sent = self.reads.as_ref().is_some_and(|queue| queue.try_send(read).is_ok());
        Box::pin(answered(sent, answer))
    }

    pub(super) fn created(&self) -> Timestamp {
        self.shared.created
    }

    pub(super) fn live(&self) -> usize {
        self.shared.live.load(Ordering::Relaxed)
    }
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

async fn answered<T>(sent: bool, answer: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    let unavailable = |why: &str| Err(StoreError::Unavailable(why.to_owned()));
    if !sent {
        return unavailable("too many calls wait for the disk");
    }
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(done)) => done,
        // Dropped with its transaction; the log says why.
        Ok(Err(_dropped)) => unavailable("the file of the store failed"),
        Err(_elapsed) => unavailable("the disk does not answer"),
    }
}

impl Shared {
    fn run(&self, mut queue: mpsc::Receiver<Read>) {
        while let Some(read) = queue.blocking_recv() {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            // A damaged page must end in an error, whatever it makes the library do.
            let ran = catch_unwind(AssertUnwindSafe(|| {
                let opened = match database.as_ref() {
                    Some(database) => database.begin_read().map_err(|error| error.to_string()),
                    None => Err("the file of the store failed".to_owned()),
                };
                match opened {
                    Ok(transaction) => read(Ok((&transaction, &self.session))),
                    Err(why) => {
                        self.suspect.store(true, Ordering::Release);
                        read(Err(StoreError::Unavailable(why)));
                    }
                }
            }));
            if ran.is_err() {
                self.suspect.store(true, Ordering::Release);
            }
        }
    }
}

struct Writer {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    marker: Option<Marker>,
    state: State,
    max_tokens: usize,
    /// When the file last failed.
    failed_at: Option<Moment>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Write>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = VecDeque::from([first]);
            while group.len() < GROUP
                && let Ok(next) = queue.try_recv()
            {
                group.push_back(next);
            }
            self.commit(group);
        }
        self.close();
    }

    fn commit(&mut self, group: VecDeque<Write>) {
        if self.shared.suspect.swap(false, Ordering::AcqRel) {
            self.close();
        }
        if self.marker.is_none() && !self.reopen() {
            return;
        }
        let done = catch_unwind(AssertUnwindSafe(|| self.transact(group)));
        let failure = match done {
            Ok(Ok(answers)) => {
                for answer in answers {
                    answer();
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_panic) => "its structure makes no sense".to_owned(),
        };
        tracing::error!(path = %self.path.display(), error = failure, "token store: the file failed");
        // redb demands it after an input or output error; and a damaged file shows itself when it is opened.
        self.close();
        self.failed_at = Some(self.clock.now());
    }

    /// One durable commit with all of `group` in it; the answers are to be given after it.
    fn transact(&mut self, group: VecDeque<Write>) -> Result<Vec<Answer>, FileError> {
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let (Some(database), Some(marker)) = (database.as_ref(), &self.marker) else {
            return Err(FileError::Vanished);
        };
        let state = self.state.next(self.clock.now().wall);
        let write = || -> Result<(Vec<Answer>, usize), redb::Error> {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let mut tables = Tables::open(&transaction, &self.shared.session, self.max_tokens)?;
            let answers = group.into_iter().map(|write| write(&mut tables)).collect::<Result<Vec<_>, _>>()?;
            let live = tables.live()?;
            drop(tables);
            state.write(&transaction)?;
            transaction.commit()?;
            Ok((answers, live))
        };
        let (answers, live) = write()?;
        marker.write(state.commits)?;
        self.shared.live.store(live, Ordering::Relaxed);
        self.state = state;
        Ok(answers)
    }

    /// Opens the file again after a failure, with all that is looked at then.
    fn reopen(&mut self) -> bool {
        let now = self.clock.now();
        let pausing = self.failed_at.is_some_and(|at| now.monotonic.saturating_sub(at.monotonic) < PAUSE);
        if pausing {
            return false;
        }
        match file::open(&self.path, now.wall) {
            // Nothing else may have written to it meanwhile, and nothing that was durable may be gone.
            Ok(opened) if opened.state.sessions == self.state.sessions => {
                tracing::warn!(path = %self.path.display(), "token store: the file is open again");
                self.state = opened.state;
                self.marker = Some(opened.marker);
                *self.shared.database.write().unwrap_or_else(PoisonError::into_inner) = Some(opened.database);
                self.failed_at = None;
                true
            }
            Ok(_) => {
                tracing::error!(path = %self.path.display(), "token store: another process used the file");
                self.failed_at = Some(now);
                false
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "token store: cannot open the file");
                self.failed_at = Some(now);
                false
            }
        }
    }

    fn close(&mut self) {
        let database = self.shared.database.write().unwrap_or_else(PoisonError::into_inner).take();
        // Closing writes; a failed file may make it fail, or worse.
        let _closed = catch_unwind(AssertUnwindSafe(|| drop(database)));
        if let Some(marker) = self.marker.take() {
            // Without it the marker lags after a power cut, which does no harm.
            let _synced = marker.sync();
        }
    }
}
