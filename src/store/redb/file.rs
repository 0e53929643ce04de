//! The file of the redb store: opened with care, created once, never recreated in silence.

use std::cmp::Ordering;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use jiff::Timestamp;
use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase as _, StorageBackend, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::error::FileError;
use super::index::Index;
use super::rollback_marker::RollbackMarker;

/// The version of the tables. A change that an older hublatch cannot read raises it, and what released versions wrote is
/// then brought up to it; version 1 was never released.
pub(super) const SCHEMA: u32 = 2;
/// One record, `state`: a [`FileState`] as JSON.
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
/// Pages kept in memory: all live links of a busy hub.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// A file that is smaller is not worth compacting.
const COMPACTED_ABOVE_BYTES: u64 = 64 * 1024 * 1024;
/// What a link takes of a file that is full of them, 560 bytes, several times over.
const SPARSE_ABOVE_BYTES_A_LINK: u64 = 2048;
/// Permissions of group and others.
const OTHERS: u32 = 0o077;

/// What the file knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileState {
    schema: u32,
    /// Which store it is, in hex digits; its marker says the same.
    pub(super) store: String,
    /// How many commits it has seen.
    pub(super) commits: u64,
    /// How many times it was opened.
    pub(super) sessions: u64,
    /// When it was created.
    pub(super) created: Timestamp,
    /// The time of day of the last commit.
    pub(super) written: Timestamp,
}

/// What stays where it is in every schema.
#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

impl FileState {
    fn new(now: Timestamp) -> io::Result<Self> {
        let mut bytes = [0_u8; 16];
        let random = SystemRandom::new();
        random.fill(&mut bytes).map_err(|_| io::Error::other("the operating system gave no random bytes"))?;
        let store = format!("{:032x}", u128::from_be_bytes(bytes));
        Ok(Self { schema: SCHEMA, store, commits: 0, sessions: 0, created: now, written: now })
    }

    /// The state after one more commit.
    pub(super) fn next(&self, now: Timestamp) -> Self {
        Self { commits: self.commits + 1, written: now, ..self.clone() }
    }

    /// Goes into the transaction whose commit it counts.
    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        let json = serde_json::to_vec(self).unwrap_or_default();
        transaction.open_table(STATE)?.insert("state", json.as_slice())?;
        Ok(())
    }

    pub(super) fn read(database: &Database) -> Result<Self, FileError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let transaction = database.begin_read()?;
            let table = transaction.open_table(STATE)?;
            Ok(table.get("state")?.map(|json| json.value().to_vec()))
        };
        let json = read()?.ok_or_else(|| FileError::Corrupt("it has no state".to_owned()))?;
        let unreadable = |error: serde_json::Error| FileError::Corrupt(error.to_string());
        // Before all else: what goes with it may change with the schema.
        let Schema { schema } = serde_json::from_slice(&json).map_err(unreadable)?;
        match schema.cmp(&SCHEMA) {
            Ordering::Greater => Err(FileError::Newer(schema)),
            Ordering::Less => Err(FileError::Unreleased(schema)),
            Ordering::Equal => serde_json::from_slice(&json).map_err(unreadable),
        }
    }
}

/// An open file and its marker.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) index: Index,
    pub(super) marker: RollbackMarker,
    pub(super) state: FileState,
}

/// Opens the store at `path`, or creates it if neither it nor its marker is there.
pub(super) fn open(path: &Path, now: Timestamp) -> Result<Opened, FileError> {
    let marker_path = RollbackMarker::path(path);
    match (exists(path)?, exists(&marker_path)?) {
        (false, true) => return Err(FileError::Vanished),
        (false, false) => create(path, now)?,
        (true, _) => {}
    }
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    refuse_exposed(&file)?;
    if file.metadata()?.len() == 0 {
        // redb would take it for a new one.
        return Err(FileError::Corrupt("it is empty".to_owned()));
    }
    let mut database =
        database(FileBackend::new(file).map_err(|error| FileError::from(redb::Error::from(error)))?)?;
    let state = FileState::read(&database)?;
    let marker = if exists(&marker_path)? {
        RollbackMarker::open(&marker_path, &state)?
    } else if state.commits == 0 {
        // Created, and interrupted before the marker was.
        RollbackMarker::create(&marker_path, &state)?
    } else {
        return Err(FileError::NoMarker);
    };
    let index = index(&database)?;
    if is_sparse(std::fs::metadata(path)?.len(), index.len()) {
        database.compact().map_err(|error| FileError::from(redb::Error::from(error)))?;
    }
    Ok(Opened { database, index, marker, state })
}

/// Whether a file of `bytes` with so many `links` is worth compacting, which at the start keeps everybody waiting.
fn is_sparse(bytes: u64, links: usize) -> bool {
    bytes > COMPACTED_ABOVE_BYTES && bytes / SPARSE_ABOVE_BYTES_A_LINK > links as u64
}

/// The index of what is in `database`.
pub(super) fn index(database: &Database) -> Result<Index, FileError> {
    let transaction = database.begin_read().map_err(|error| FileError::from(redb::Error::from(error)))?;
    Index::load(&transaction)
}

/// The database in `backend`, every page of it checked: redb trusts a file that was closed in good order, and this
/// one could log somebody in.
pub(super) fn database(backend: impl StorageBackend) -> Result<Database, FileError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let opened = catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(backend)));
    // A damaged file must end in an error, whatever it makes the library do.
    let opened = opened.map_err(|_| FileError::Corrupt("its structure makes no sense".to_owned()))?;
    opened.map_err(|error| redb::Error::from(error).into())
}

/// The first state of an empty database.
pub(super) fn initialise(database: &Database, now: Timestamp) -> Result<FileState, FileError> {
    let state = FileState::new(now)?;
    let write = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        state.write(&transaction)?;
        Ok(transaction.commit()?)
    };
    write()?;
    Ok(state)
}

fn create(path: &Path, now: Timestamp) -> Result<(), FileError> {
    // Under another name until it is whole: a crash leaves no half store.
    let unfinished = beside(path, ".new");
    match std::fs::remove_file(&unfinished) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let database =
        database(FileBackend::new(file).map_err(|error| FileError::from(redb::Error::from(error)))?)?;
    initialise(&database, now)?;
    drop(database);
    // A link and not a renaming: it never replaces what another process made meanwhile.
    std::fs::hard_link(&unfinished, path)?;
    std::fs::remove_file(&unfinished)?;
    sync_directory(path)?;
    Ok(())
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn exists(path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn refuse_exposed(file: &File) -> Result<(), FileError> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile);
    }
    if metadata.mode() & OTHERS != 0 {
        return Err(FileError::Exposed);
    }
    Ok(())
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_compacted_if_it_is_large_and_mostly_empty() {
        const MILLION: usize = 1_000_000;
        assert!(is_sparse(560_000_000, 1000));
        assert!(is_sparse(560_000_000, 0));
        assert!(!is_sparse(560_000_000, MILLION));
        assert!(!is_sparse(2_000_000, 0));
    }
}
