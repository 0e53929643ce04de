//! Where each link of the file is, and what became of it: kept in memory, made anew from the file when that is opened.
//!
//! So that a call writes at the end of the file alone, whatever number of links there is. It runs ahead of the file by the
//! commit that is under way; if that fails it is thrown away with it.

use std::collections::{BTreeSet, HashMap};

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, TableDefinition,
    TableError,
};

use super::super::IdempotencyKey;
use super::super::record::RecordError;
use super::error::FileError;
use super::link_record::{EndRecord, LinkRecord, millis, millis_after};
use crate::store::RETENTION;
use crate::token::{LinkId, TokenDigest};

/// Number of a link, by the order of issue → [`LinkRecord`].
pub(super) const LINKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("issued");
/// Number of an end → [`EndRecord`].
pub(super) const ENDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ends");
/// Id of a session that was ended → until when that is remembered. Not indexed.
pub(super) const SESSIONS: TableDefinition<'_, &str, i64> = TableDefinition::new("ended sessions");

/// For how many links room is made at once, whatever the file says of itself.
const COUNTED_MAX: usize = 1 << 22;

/// Length of a [`LinkId`].
const ID_BYTES: usize = 22;

/// All that is looked for, and the number of the link with it.
#[derive(Debug, Default)]
pub(super) struct Index {
    digests: HashMap<[u8; 32], u64>,
    ids: HashMap<[u8; ID_BYTES], u64>,
    /// By app and idempotency key: the digest of the request body, and the link.
    repeats: HashMap<[u8; 32], ([u8; 32], u64)>,
    /// By app and user: the links that can still be redeemed.
    users: BTreeSet<(u64, u64)>,
    /// By expiry in milliseconds: the links that can still be redeemed.
    live: BTreeSet<(i64, u64)>,
    /// By the time when they may be forgotten: the links that have ended.
    ended: BTreeSet<(i64, u64)>,
    /// By link: the number of its end.
    ends: HashMap<u64, (EndRecord, u64)>,
    /// The numbers of the next link and the next end.
    next: (u64, u64),
}

impl Index {
    /// Reads all of the file. An entry that is damaged could be the memory of a login, so none is passed over.
    pub(super) fn load(transaction: &ReadTransaction) -> Result<Self, FileError> {
        let mut index = Self::default();
        let twice = || FileError::Corrupt("an entry is in it twice".to_owned());
        entries(transaction, ENDS, |number, bytes| {
            let end = EndRecord::decode(number, bytes)?;
            index.next.1 = number + 1;
            index.ends.insert(end.link, (end, number)).map_or(Ok(()), |_| Err(twice()))
        })?;
        // Room for all at once, and the ordered lists each sorted once: to grow a million entries costs twice as much.
        let links = count(transaction, LINKS)?;
        index.digests.reserve(links);
        index.ids.reserve(links);
        let (mut users, mut live) = (Vec::with_capacity(links), Vec::with_capacity(links));
        let mut ended = Vec::with_capacity(index.ends.len());
        entries(transaction, LINKS, |number, bytes| {
            let record = LinkRecord::decode(number, bytes)?;
            let known = index.digests.len();
            index.name(number, &record)?;
            if index.digests.len() == known || index.ids.len() == known {
                return Err(twice());
            }
            if let Some((end, _)) = index.ends.get(&number) {
                ended.push((end.forgotten, number));
            } else {
                users.push((user(record.link.app(), record.link.username()), number));
                live.push((millis(record.link.expires), number));
            }
            Ok(())
        })?;
        if ended.len() != index.ends.len() {
            return Err(FileError::Corrupt("a link is missing".to_owned()));
        }
        index.users = BTreeSet::from_iter(users);
        index.live = BTreeSet::from_iter(live);
        index.ended = BTreeSet::from_iter(ended);
        Ok(index)
    }

    /// How many can still be redeemed.
    pub(super) fn live(&self) -> usize {
        self.live.len()
    }

    /// How many there are in all.
    pub(super) fn len(&self) -> usize {
        self.digests.len()
    }

    pub(super) fn next_link(&self) -> u64 {
        self.next.0
    }

    pub(super) fn next_end(&self) -> u64 {
        self.next.1
    }

    pub(super) fn by_digest(&self, digest: TokenDigest) -> Option<u64> {
        self.digests.get(digest.as_bytes()).copied()
    }

    pub(super) fn by_id(&self, id: &LinkId) -> Option<u64> {
        self.ids.get(&id_bytes(id.as_str())?).copied()
    }

    pub(super) fn end_of(&self, number: u64) -> Option<EndRecord> {
        self.ends.get(&number).map(|(end, _)| *end)
    }

    /// The digest of the body, and the link.
    pub(super) fn by_key(&self, key: &IdempotencyKey) -> Option<([u8; 32], u64)> {
        self.repeats.get(&repeat(&key.app, &key.key)).copied()
    }

    /// What the user may still redeem of the app; and, were there another with the same hash, of that.
    pub(super) fn of_user(&self, app: &str, username: &str) -> Vec<u64> {
        let user = user(app, username);
        self.users.range((user, 0)..=(user, u64::MAX)).map(|(_, number)| *number).collect()
    }

    pub(super) fn is_live(&self, number: u64, record: &LinkRecord) -> bool {
        self.live.contains(&(millis(record.link.expires), number))
    }

    /// The first `most` whose life is over at `now`.
    pub(super) fn over(&self, now: i64, most: usize) -> Vec<(i64, u64)> {
        self.live.iter().take(most).take_while(|(when, _)| *when <= now).copied().collect()
    }

    /// The first `most` that may be forgotten at `now`.
    pub(super) fn forgettable(&self, now: i64, most: usize) -> Vec<(i64, u64)> {
        self.ended.iter().take(most).take_while(|(when, _)| *when <= now).copied().collect()
    }

    pub(super) fn add(&mut self, number: u64, record: &LinkRecord) -> Result<(), RecordError> {
        self.name(number, record)?;
        self.users.insert((user(record.link.app(), record.link.username()), number));
        self.live.insert((millis(record.link.expires), number));
        Ok(())
    }

    /// By all that it is looked for.
    fn name(&mut self, number: u64, record: &LinkRecord) -> Result<(), RecordError> {
        let id = id_bytes(&record.id).ok_or(RecordError::Damaged)?;
        self.digests.insert(*record.digest()?.as_bytes(), number);
        self.ids.insert(id, number);
        if let Some(kept) = &record.repeat {
            self.repeats.insert(repeat(&kept.app, &kept.key), (kept.body, number));
        }
        self.next.0 = number + 1;
        Ok(())
    }

    /// It was used or revoked. `own`: the number of the end itself.
    pub(super) fn end(&mut self, number: u64, record: &LinkRecord, end: EndRecord, own: u64) {
        self.leave_live(number, record);
        self.ended.insert((end.forgotten, number));
        self.ends.insert(number, (end, own));
        self.next.1 = self.next.1.max(own + 1);
    }

    /// Its life is over.
    pub(super) fn expire(&mut self, number: u64, record: &LinkRecord) {
        self.leave_live(number, record);
        self.ended.insert((millis_after(record.link.expires, RETENTION), number));
    }

    /// Its record cannot be read: it only leaves the lists of what is due.
    pub(super) fn pass_over(&mut self, when: i64, number: u64) {
        self.live.remove(&(when, number));
        self.ended.remove(&(when, number));
    }

    /// Answers the number of its end.
    pub(super) fn forget(&mut self, number: u64, record: &LinkRecord) -> Result<Option<u64>, RecordError> {
        self.leave_live(number, record);
        self.ended.remove(&(millis_after(record.link.expires, RETENTION), number));
        let end = self.ends.remove(&number);
        if let Some((end, _)) = &end {
            self.ended.remove(&(end.forgotten, number));
        }
        self.digests.remove(record.digest()?.as_bytes());
        self.ids.remove(&id_bytes(&record.id).ok_or(RecordError::Damaged)?);
        if let Some(kept) = &record.repeat {
            self.repeats.remove(&repeat(&kept.app, &kept.key));
        }
        Ok(end.map(|(_, own)| own))
    }

    fn leave_live(&mut self, number: u64, record: &LinkRecord) {
        self.live.remove(&(millis(record.link.expires), number));
        self.users.remove(&(user(record.link.app(), record.link.username()), number));
    }
}

type Entries = ReadOnlyTable<u64, &'static [u8]>;

/// Gives each entry of a table to `take`, in order.
fn entries(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, u64, &'static [u8]>,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let Some(table) = open(transaction, table)? else { return Ok(()) };
    for entry in table.iter().map_err(storage)? {
        let (number, bytes) = entry.map_err(storage)?;
        take(number.value(), bytes.value())?;
    }
    Ok(())
}

/// How many entries a table has.
fn count(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, u64, &'static [u8]>,
) -> Result<usize, FileError> {
    let Some(table) = open(transaction, table)? else { return Ok(0) };
    // No more than fit: a damaged file may say anything.
    Ok(usize::try_from(table.len().map_err(storage)?).unwrap_or(usize::MAX).min(COUNTED_MAX))
}

/// None: it was never written to.
fn open(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, u64, &'static [u8]>,
) -> Result<Option<Entries>, FileError> {
    match transaction.open_table(table) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(redb::Error::from(error).into()),
    }
}

fn storage(error: redb::StorageError) -> FileError {
    redb::Error::from(error).into()
}

fn id_bytes(id: &str) -> Option<[u8; ID_BYTES]> {
    id.as_bytes().try_into().ok()
}

fn repeat(app: &str, key: &str) -> [u8; 32] {
    *TokenDigest::of_parts(&["repeat", app, key]).as_bytes()
}

fn user(app: &str, username: &str) -> u64 {
    let digest = TokenDigest::of_parts(&["user", app, username]);
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_be_bytes(first)
}
