//! The thread that writes: whatever has queued up goes into one durable commit, and is answered after it.
//!
//! A commit that fails takes the file and the index with it: both are opened again, with all that is looked at then.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redb::Durability;
use tokio::sync::mpsc;

use super::error::FileError;
use super::file;
use super::file_state::FileState;
use super::rollback_marker::RollbackMarker;
use super::shared_database::{Open, Reply, SharedDatabase, Write};
use super::tables::Tables;
use crate::clock::{Clock, Moment};

/// The most calls in one commit.
const CALLS_PER_COMMIT: usize = 1024;
/// How long a file that failed is left alone before it is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// The thread that writes.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shared: Arc<SharedDatabase>,
    pub(super) marker: Option<RollbackMarker>,
    pub(super) state: FileState,
    pub(super) max_tokens: usize,
    /// When the file last failed.
    pub(super) failed_at: Option<Moment>,
}

impl Writer {
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Write>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = VecDeque::from([first]);
            while group.len() < CALLS_PER_COMMIT
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
    pub(super) fn transact(&mut self, group: VecDeque<Write>) -> Result<Vec<Reply>, FileError> {
        let open = self.shared.open.read().unwrap_or_else(PoisonError::into_inner);
        let (Some(open), Some(marker)) = (open.as_ref(), &self.marker) else {
            return Err(FileError::Vanished);
        };
        let state = self.state.next(self.clock.wall());
        let write = || -> Result<(Vec<Reply>, usize), redb::Error> {
            let mut transaction = open.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let mut index = open.index.write().unwrap_or_else(PoisonError::into_inner);
            let mut tables = Tables::open(&transaction, &mut index, &self.shared.opening, self.max_tokens)?;
            let answers = group.into_iter().map(|write| write(&mut tables)).collect::<Result<Vec<_>, _>>()?;
            let live = tables.live();
            drop(tables);
            // Readers need not wait for the disk.
            drop(index);
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
        let pausing =
            self.failed_at.is_some_and(|at| now.monotonic.saturating_sub(at.monotonic) < REOPEN_AFTER);
        if pausing {
            return false;
        }
        match file::open(&self.path, now.wall) {
            // Nothing else may have written to it meanwhile, and nothing that was durable may be gone.
            Ok(opened) if opened.state.openings == self.state.openings => {
                tracing::warn!(path = %self.path.display(), "token store: the file is open again");
                self.state = opened.state;
                self.marker = Some(opened.marker);
                let open = Open { database: opened.database, index: RwLock::new(opened.index) };
                *self.shared.open.write().unwrap_or_else(PoisonError::into_inner) = Some(open);
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
        let open = self.shared.open.write().unwrap_or_else(PoisonError::into_inner).take();
        // Closing writes; a failed file may make it fail, or worse. The index goes too: it ran ahead of the file.
        let _closed = catch_unwind(AssertUnwindSafe(|| drop(open)));
        if let Some(marker) = self.marker.take() {
            // Without it the marker lags after a power cut, which does no harm.
            let _synced = marker.sync();
        }
    }
}
