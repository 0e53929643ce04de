//! Reading: what a read transaction and a write transaction do alike.

use redb::{ReadTransaction, ReadableTable, StorageError, TableDefinition, TableError};

use super::super::Link;
use super::super::record::RecordError;
use super::row::{Row, Session};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest};

/// Id → row.
pub(super) const LINKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("links");
/// Digest → id.
pub(super) const DIGESTS: TableDefinition<'_, &[u8; 32], &str> = TableDefinition::new("digests");
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

/// The link of `digest`, as a reader sees it.
pub(super) fn find(
    transaction: &ReadTransaction,
    session: &Session,
    digest: TokenDigest,
    now: Moment,
) -> Result<Option<Link>, Trouble> {
    let (digests, links) = (transaction.open_table(DIGESTS)?, transaction.open_table(LINKS)?);
    let found = by_digest(&digests, &links, digest)?;
    Ok(found.map(|(id, row)| row.into_link(&id, session, now)).transpose()?)
}

/// The link of `id`, if it is `app`'s, as a reader sees it.
pub(super) fn get(
    transaction: &ReadTransaction,
    session: &Session,
    id: &LinkId,
    app: &str,
    now: Moment,
) -> Result<Option<Link>, Trouble> {
    let row = read_row(&transaction.open_table(LINKS)?, id.as_str())?.filter(|row| row.link.app() == app);
    Ok(row.map(|row| row.into_link(id.as_str(), session, now)).transpose()?)
}

pub(super) fn by_digest(
    digests: &impl ReadableTable<&'static [u8; 32], &'static str>,
    links: &impl ReadableTable<&'static str, &'static [u8]>,
    digest: TokenDigest,
) -> Result<Option<(String, Row)>, Trouble> {
    let Some(id) = digests.get(digest.as_bytes())?.map(|id| id.value().to_owned()) else { return Ok(None) };
    let Some(row) = read_row(links, &id)? else { return Ok(None) };
    // The index may lie only if the file was altered.
    if row.digest()? != digest {
        return Err(RecordError::Damaged.into());
    }
    Ok(Some((id, row)))
}

pub(super) fn read_row(
    links: &impl ReadableTable<&'static str, &'static [u8]>,
    id: &str,
) -> Result<Option<Row>, Trouble> {
    let Some(bytes) = links.get(id)? else { return Ok(None) };
    Ok(Some(Row::decode(id, bytes.value())?))
}

/// The first `most` entries whose time is not after `now`.
pub(super) fn due(
    table: &impl ReadableTable<(i64, &'static str), ()>,
    now: i64,
    most: usize,
) -> Result<Vec<(i64, String)>, Trouble> {
    let mut found = Vec::new();
    for entry in table.iter()?.take(most) {
        let (key, ()) = entry.map(|(key, _)| (key, ()))?;
        let (when, id) = key.value();
        if when > now {
            break;
        }
        found.push((when, id.to_owned()));
    }
    Ok(found)
}
