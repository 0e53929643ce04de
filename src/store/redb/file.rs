//! The file of the redb store: opened with care, created once, never recreated in silence.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use jiff::Timestamp;
use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase as _, StorageBackend};

use super::error::FileError;
use super::file_state::FileState;
use super::filesystem::{beside, refuse_exposed, sync_directory};
use super::index::Index;
use super::rollback_marker::RollbackMarker;

/// Pages kept in memory: all live links of a busy hub.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// A file that is smaller is not worth compacting.
const COMPACTED_ABOVE_BYTES: u64 = 64 * 1024 * 1024;
/// What a link takes of a file that is full of them, 560 bytes, several times over.
const SPARSE_ABOVE_BYTES_A_LINK: u64 = 2048;
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

fn exists(path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
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
