//! Routes that survive a restart: the table as one JSON file, replaced as a whole.
//!
//! Written by a thread of its own a second after a change, so that a hub which posts a thousand routes writes one file.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::route::Route;
use super::table::Table;
use crate::store::StoreError;

/// How long a change waits for others.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No file can be written there.
    #[error("keep routes in {path}: {source}")]
    Write {
        /// Which.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// There is no other replica that could read it.
    #[error("routes.state = \"store\" needs a store that replicas share: a Redis as store.url")]
    NotShared,
    /// The table that all replicas share cannot be read.
    #[error("read the shared routing table: {0}")]
    Shared(#[from] StoreError),
    /// There is no thread for it.
    #[error("start a thread: {0}")]
    Thread(#[from] io::Error),
    /// The operating system gave no random bytes.
    #[error("name this replica: no random bytes")]
    NoName,
}

/// A route in the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) key: String,
    pub(super) target: String,
    #[serde(default)]
    pub(super) data: Map<String, Value>,
    pub(super) last_activity: u64,
}

impl Saved {
    pub(super) fn of(route: &Route) -> Self {
        Self {
            key: route.key.to_string(),
            target: route.target_text.to_string(),
            data: route.data.clone(),
            last_activity: route.last_activity.millis(),
        }
    }
}

/// The file.
#[derive(Debug)]
pub struct RoutesFile {
    path: PathBuf,
    /// What is to be written; the thread that writes ends when this is dropped.
    latest: Arc<Mutex<Weak<Table>>>,
    changed: Sender<()>,
}

impl RoutesFile {
    /// The file at `path`, which may not be there yet.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let wrong = |source| StateError::Write { path: path.display().to_string(), source };
        // Tried now: an operator who asks for routes to be kept must not find out at the restart that they were not.
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(wrong)?;
        }
        fs::OpenOptions::new().create(true).append(true).open(path).map_err(wrong)?;
        let (changed, told) = channel();
        let latest = Arc::new(Mutex::new(Weak::new()));
        let (file, table) = (path.to_owned(), Arc::clone(&latest));
        std::thread::Builder::new()
            .name("hublatch-routes".to_owned())
            .spawn(move || write_changes(&told, &file, &table))
            .map_err(wrong)?;
        Ok(Self { path: path.to_owned(), latest, changed })
    }

    /// What it holds. A file that cannot be read is no reason to have no proxy: it is told, and is an empty one.
    pub(super) fn load(&self) -> Result<Vec<Saved>, StateError> {
        let text = fs::read(&self.path)
            .map_err(|source| StateError::Write { path: self.path.display().to_string(), source })?;
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::error!(%error, path = %self.path.display(), "the file of routes is damaged: the table begins empty");
            Vec::new()
        }))
    }

    /// The table is `table` from now on.
    pub(super) fn changed(&self, table: &Arc<Table>) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(table);
        // The thread lives as long as this does.
        let _sent = self.changed.send(());
    }

    /// Writes `table` now.
    pub(super) fn write(&self, table: &Table) {
        write(&self.path, table);
    }
}

fn write_changes(told: &Receiver<()>, path: &Path, latest: &Mutex<Weak<Table>>) {
    while told.recv().is_ok() {
        let mut ended = false;
        let until = std::time::Instant::now() + DEBOUNCE;
        loop {
            match told.recv_timeout(until.saturating_duration_since(std::time::Instant::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    ended = true;
                    break;
                }
            }
        }
        // A table that is gone has been followed by another, which has been told as well.
        let table = latest.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(table) = table {
            write(path, &table);
        }
        if ended {
            return;
        }
    }
}

fn write(path: &Path, table: &Table) {
    let saved: Vec<Saved> = table.iter().map(|route| Saved::of(route)).collect();
    let written = serde_json::to_vec(&saved).map_err(io::Error::from).and_then(|text| replace(path, &text));
    if let Err(error) = written {
        tracing::error!(%error, path = %path.display(), "write the file of routes");
    }
}

/// Puts `text` in the place of the file, so that there is the old one or the new one at any moment.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
