//! The open database, which the thread that writes and the one that reads share.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use jiff::Timestamp;
use redb::Database;

use super::index::Index;
use super::link_record::Opening;
use super::tables::Tables;

/// Tells the caller, once the commit is durable.
pub(super) type Reply = Box<dyn FnOnce() + Send>;
pub(super) type Write = Box<dyn FnOnce(&mut Tables<'_>) -> Result<Reply, redb::Error> + Send>;

/// The file, and what is known to be in it.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) database: Database,
    pub(super) index: RwLock<Index>,
}

/// What both threads have of the store.
#[derive(Debug)]
pub(super) struct SharedDatabase {
    /// None while the file has failed and could not be opened again.
    pub(super) open: RwLock<Option<Open>>,
    pub(super) opening: Opening,
    /// From when on it is known what was consumed.
    pub(super) remembers_since: Timestamp,
    pub(super) live: AtomicUsize,
    /// A reader met an error: the writer opens the file again.
    pub(super) suspect: AtomicBool,
}
