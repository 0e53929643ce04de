//! Reading: what is committed, beside the writer.

use std::sync::{PoisonError, RwLock};

use redb::{ReadTransaction, ReadableTable, StorageError, TableError};

use super::super::Link;
use super::super::record::RecordError;
use super::index::{Index, LINKS};
use super::row::{End, Row, Session};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest};

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The file: the whole transaction is given up.
    #[error(transparent)]
    Storage(#[from] redb::Error),
    /// One record: the others go on.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<Trouble> for redb::Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Storage(error) => error,
            Trouble::Record(error) => Self::Corrupted(error.to_string()),
        }
    }
}

impl From<TableError> for Trouble {
    fn from(error: TableError) -> Self {
        Self::Storage(error.into())
    }
}

/// What a reader finds.
#[derive(Debug)]
pub(super) enum Found {
    /// No such link.
    Nothing,
    /// The link.
    Link(Box<Link>),
    /// It is in the commit that is under way: only the writer knows it.
    NotYet,
}

/// The link of `digest`, as a reader sees it.
pub(super) fn find(
    transaction: &ReadTransaction,
    index: &RwLock<Index>,
    session: &Session,
    digest: TokenDigest,
    now: Moment,
) -> Result<Found, Trouble> {
    let found = looked_up(index, |index| index.by_digest(digest));
    let found = read(transaction, session, found, now)?;
    // The index may lie only if the file was altered.
    match &found {
        Found::Link(link) if link.digest != digest => Err(RecordError::Damaged.into()),
        Found::Link(_) | Found::Nothing | Found::NotYet => Ok(found),
    }
}

/// The link of `id`, if it is `app`'s, as a reader sees it.
pub(super) fn get(
    transaction: &ReadTransaction,
    index: &RwLock<Index>,
    session: &Session,
    id: &LinkId,
    app: &str,
    now: Moment,
) -> Result<Found, Trouble> {
    let found = looked_up(index, |index| index.by_id(id));
    Ok(match read(transaction, session, found, now)? {
        Found::Link(link) if *link.grant.app != *app => Found::Nothing,
        found @ (Found::Nothing | Found::Link(_) | Found::NotYet) => found,
    })
}

/// Its number and end. The lock is not held while the disk is waited for.
fn looked_up(index: &RwLock<Index>, look: impl FnOnce(&Index) -> Option<u64>) -> Option<(u64, Option<End>)> {
    let index = index.read().unwrap_or_else(PoisonError::into_inner);
    look(&index).map(|number| (number, index.end_of(number)))
}

fn read(
    transaction: &ReadTransaction,
    session: &Session,
    found: Option<(u64, Option<End>)>,
    now: Moment,
) -> Result<Found, Trouble> {
    let Some((number, end)) = found else { return Ok(Found::Nothing) };
    let links = match transaction.open_table(LINKS) {
        Ok(links) => links,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Found::NotYet),
        Err(error) => return Err(error.into()),
    };
    let Some(row) = read_row(&links, number)? else { return Ok(Found::NotYet) };
    Ok(Found::Link(Box::new(row.into_link(end.as_ref(), session, now)?)))
}

pub(super) fn read_row(
    links: &impl ReadableTable<u64, &'static [u8]>,
    number: u64,
) -> Result<Option<Row>, Trouble> {
    let Some(bytes) = links.get(number)? else { return Ok(None) };
    Ok(Some(Row::decode(number, bytes.value())?))
}
