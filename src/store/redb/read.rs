//! Reading: what is committed, beside the writer.

use std::sync::{PoisonError, RwLock};

use redb::{ReadTransaction, ReadableTable, StorageError, TableError};

use super::super::Link;
use super::super::record::RecordError;
use super::index::{Index, LINKS, SESSIONS};
use super::link_record::{EndRecord, LinkRecord, Opening};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest};

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperationError {
    /// The file cannot be read: the whole transaction is given up.
    #[error(transparent)]
    Storage(#[from] redb::Error),
    /// One record cannot be read: the others can.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<StorageError> for OperationError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<OperationError> for redb::Error {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Storage(error) => error,
            OperationError::Record(error) => Self::Corrupted(error.to_string()),
        }
    }
}

impl From<TableError> for OperationError {
    fn from(error: TableError) -> Self {
        Self::Storage(error.into())
    }
}

/// What a reader finds.
#[derive(Debug)]
pub(super) enum Lookup {
    /// No such link.
    Missing,
    /// The link.
    Link(Box<Link>),
    /// It is in the commit that is under way: only the writer knows it.
    Uncommitted,
}

/// The link of `digest`, as a reader sees it.
pub(super) fn find(
    transaction: &ReadTransaction,
    index: &RwLock<Index>,
    opening: &Opening,
    digest: TokenDigest,
    now: Moment,
) -> Result<Lookup, OperationError> {
    let found = looked_up(index, |index| index.by_digest(digest));
    let found = read(transaction, opening, found, now)?;
    // The index may lie only if the file was altered.
    match &found {
        Lookup::Link(link) if link.digest != digest => Err(RecordError::Damaged.into()),
        Lookup::Link(_) | Lookup::Missing | Lookup::Uncommitted => Ok(found),
    }
}

/// The link of `id`, if it is `app`'s, as a reader sees it.
pub(super) fn get(
    transaction: &ReadTransaction,
    index: &RwLock<Index>,
    opening: &Opening,
    id: &LinkId,
    app: &str,
    now: Moment,
) -> Result<Lookup, OperationError> {
    let found = looked_up(index, |index| index.by_id(id));
    Ok(match read(transaction, opening, found, now)? {
        Lookup::Link(link) if *link.grant.app != *app => Lookup::Missing,
        found @ (Lookup::Missing | Lookup::Link(_) | Lookup::Uncommitted) => found,
    })
}

/// The sessions that were ended and are remembered at `now`, in milliseconds of Unix time.
pub(super) fn ended_sessions(transaction: &ReadTransaction, now: i64) -> Result<Vec<String>, OperationError> {
    let table = match transaction.open_table(SESSIONS) {
        Ok(table) => table,
        // None was ever ended, or an older hublatch has made the file.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut ids = Vec::new();
    for row in table.iter()? {
        let (id, until) = row?;
        if until.value() > now {
            ids.push(id.value().to_owned());
        }
    }
    Ok(ids)
}

/// Its number and end. The lock is not held while the disk is waited for.
fn looked_up(
    index: &RwLock<Index>,
    look: impl FnOnce(&Index) -> Option<u64>,
) -> Option<(u64, Option<EndRecord>)> {
    let index = index.read().unwrap_or_else(PoisonError::into_inner);
    look(&index).map(|number| (number, index.end_of(number)))
}

fn read(
    transaction: &ReadTransaction,
    opening: &Opening,
    found: Option<(u64, Option<EndRecord>)>,
    now: Moment,
) -> Result<Lookup, OperationError> {
    let Some((number, end)) = found else { return Ok(Lookup::Missing) };
    let links = match transaction.open_table(LINKS) {
        Ok(links) => links,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Lookup::Uncommitted),
        Err(error) => return Err(error.into()),
    };
    let Some(record) = read_record(&links, number)? else { return Ok(Lookup::Uncommitted) };
    Ok(Lookup::Link(Box::new(record.into_link(end.as_ref(), opening, now)?)))
}

pub(super) fn read_record(
    links: &impl ReadableTable<u64, &'static [u8]>,
    number: u64,
) -> Result<Option<LinkRecord>, OperationError> {
    let Some(bytes) = links.get(number)? else { return Ok(None) };
    Ok(Some(LinkRecord::decode(number, bytes.value())?))
}
