//! The store's rules on its tables, inside one transaction: nothing here is durable before the commit.
//!
//! Issuing adds a record at the end of one table, using or revoking adds one at the end of the other, and rows are removed
//! only where both begin: so a commit writes as few pages with a million links as with a thousand.

use redb::{Table, TableError, WriteTransaction};

use super::super::record::RecordError;
use super::super::{Consumed, IdempotencyKey, Inserted, Link, LinkStatus, Revoked};
use super::index::{ENDS, Index, LINKS, SESSIONS};
use super::link_record::{EndRecord, LinkRecord, Opening, millis};
use super::read::{OperationError, read_record};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest, Username};

/// The most rows that one transaction tidies up: it must not keep a login waiting.
const TIDIED_AT_ONCE: usize = 4096;

/// Both tables of a write transaction, and the index of what is in them.
pub(super) struct Tables<'t> {
    transaction: &'t WriteTransaction,
    links: Table<'t, u64, &'static [u8]>,
    ends: Table<'t, u64, &'static [u8]>,
    index: &'t mut Index,
    opening: &'t Opening,
    max_tokens: usize,
}

impl<'t> Tables<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        index: &'t mut Index,
        opening: &'t Opening,
        max_tokens: usize,
    ) -> Result<Self, TableError> {
        let (links, ends) = (transaction.open_table(LINKS)?, transaction.open_table(ENDS)?);
        Ok(Self { transaction, links, ends, index, opening, max_tokens })
    }

    pub(super) fn live(&self) -> usize {
        self.index.live()
    }

    pub(super) fn insert(
        &mut self,
        mut new: Vec<Link>,
        key: Option<&IdempotencyKey>,
        now: Moment,
    ) -> Result<Inserted, OperationError> {
        let now = self.opening.in_order(now);
        self.tidy(now)?;
        let mut replaced = None;
        if let Some(key) = key
            && let Some((body, number)) = self.index.by_key(key)
        {
            let record = self.record(number)?;
            if key.body != body {
                return Ok(Inserted::OtherBody);
            }
            match self.status(number, &record, now) {
                LinkStatus::Used | LinkStatus::Revoked => return Ok(Inserted::Ended),
                LinkStatus::Pending | LinkStatus::Expired => replaced = Some((number, record)),
            }
        }
        let freed = replaced.as_ref().is_some_and(|(number, record)| self.index.is_live(*number, record));
        if self.live() - usize::from(freed) + new.len() > self.max_tokens {
            return Ok(Inserted::Full);
        }
        let mut first_id = None;
        if let Some((number, record)) = replaced {
            let id = LinkId::parse(&record.id).ok_or(RecordError::Damaged)?;
            self.forget(number, &record)?;
            // The key goes with exactly one link.
            for link in &mut new {
                link.id = id.clone();
            }
            first_id = Some(id);
        }
        for link in &new {
            let (number, record) = (self.index.next_link(), LinkRecord::new(link, self.opening, key));
            self.links.insert(number, record.encode(number).as_slice())?;
            self.index.add(number, &record)?;
        }
        self.forget_ended()?;
        Ok(first_id.map_or(Inserted::New, Inserted::Again))
    }

    pub(super) fn consume(&mut self, digest: TokenDigest, now: Moment) -> Result<Consumed, OperationError> {
        let now = self.opening.in_order(now);
        let Some(number) = self.index.by_digest(digest) else { return Ok(Consumed::Unknown) };
        let record = self.record(number)?;
        // The index may lie only if the file was altered.
        if record.digest()? != digest {
            return Err(RecordError::Damaged.into());
        }
        if self.status(number, &record, now) != LinkStatus::Pending {
            return Ok(Consumed::Ended(Box::new(self.link(number, record, now)?)));
        }
        self.end(number, &record, true, now)?;
        Ok(Consumed::Granted(Box::new(self.link(number, record, now)?)))
    }

    /// The link moves to the end of its table, with a later expiry; nothing else of it changes.
    pub(super) fn reserve(
        &mut self,
        digest: TokenDigest,
        until: Moment,
        now: Moment,
    ) -> Result<bool, OperationError> {
        let now = self.opening.in_order(now);
        let Some(number) = self.index.by_digest(digest) else { return Ok(false) };
        let record = self.record(number)?;
        if record.digest()? != digest {
            return Err(RecordError::Damaged.into());
        }
        if self.status(number, &record, now) != LinkStatus::Pending {
            return Ok(false);
        }
        self.forget(number, &record)?;
        let record = record.reserved(self.opening, until, now)?;
        let number = self.index.next_link();
        self.links.insert(number, record.encode(number).as_slice())?;
        self.index.add(number, &record)?;
        Ok(true)
    }

    pub(super) fn revoke(&mut self, id: &LinkId, app: &str, now: Moment) -> Result<Revoked, OperationError> {
        let now = self.opening.in_order(now);
        let Some(number) = self.index.by_id(id) else { return Ok(Revoked::NotFound) };
        let record = self.record(number)?;
        if record.link.app() != app {
            return Ok(Revoked::NotFound);
        }
        match self.status(number, &record, now) {
            LinkStatus::Used => Ok(Revoked::Used),
            LinkStatus::Expired | LinkStatus::Revoked => Ok(Revoked::Dead),
            LinkStatus::Pending => {
                self.end(number, &record, false, now)?;
                Ok(Revoked::Dead)
            }
        }
    }

    pub(super) fn revoke_user(
        &mut self,
        username: &Username,
        app: &str,
        now: Moment,
    ) -> Result<usize, OperationError> {
        let now = self.opening.in_order(now);
        let mut revoked = 0;
        for number in self.index.of_user(app, username.as_str()) {
            let record = self.record(number)?;
            let is_theirs = (record.link.app(), record.link.username()) == (app, username.as_str());
            if is_theirs && self.status(number, &record, now) == LinkStatus::Pending {
                self.end(number, &record, false, now)?;
                revoked += 1;
            }
        }
        Ok(revoked)
    }

    /// Remembers that `sessions` were ended, until `until`; those of which that is over are forgotten. In milliseconds of
    /// Unix time. A table of its own, which is opened for this alone: it has hardly ever a row.
    pub(super) fn end_sessions(
        &mut self,
        sessions: &[String],
        until: i64,
        now: i64,
    ) -> Result<(), OperationError> {
        let mut table = self.transaction.open_table(SESSIONS)?;
        table.retain(|_, until| until > now)?;
        for id in sessions {
            table.insert(id.as_str(), until)?;
        }
        Ok(())
    }

    /// The link of `digest`, as the writer sees it.
    pub(super) fn find(&self, digest: TokenDigest, now: Moment) -> Result<Option<Link>, OperationError> {
        let Some(number) = self.index.by_digest(digest) else { return Ok(None) };
        let link = self.link(number, self.record(number)?, now)?;
        if link.digest == digest { Ok(Some(link)) } else { Err(RecordError::Damaged.into()) }
    }

    /// The link of `id`, if it is `app`'s, as the writer sees it.
    pub(super) fn get(&self, id: &LinkId, app: &str, now: Moment) -> Result<Option<Link>, OperationError> {
        let Some(number) = self.index.by_id(id) else { return Ok(None) };
        let link = self.link(number, self.record(number)?, now)?;
        Ok(Some(link).filter(|link| *link.grant.app == *app))
    }

    fn record(&self, number: u64) -> Result<LinkRecord, OperationError> {
        Ok(read_record(&self.links, number)?.ok_or(RecordError::Damaged)?)
    }

    fn status(&self, number: u64, record: &LinkRecord, now: Moment) -> LinkStatus {
        record.status(self.index.end_of(number).as_ref(), self.opening, now)
    }

    fn link(&self, number: u64, record: LinkRecord, now: Moment) -> Result<Link, RecordError> {
        record.into_link(self.index.end_of(number).as_ref(), self.opening, now)
    }

    fn end(
        &mut self,
        number: u64,
        record: &LinkRecord,
        is_used: bool,
        now: Moment,
    ) -> Result<(), OperationError> {
        let end = EndRecord::new(number, record, is_used.then_some(now.wall), now);
        let own = self.index.next_end();
        self.ends.insert(own, end.encode(own).as_slice())?;
        self.index.end(number, record, end, own);
        Ok(())
    }

    /// Notices expiries and forgets what has been readable long enough.
    fn tidy(&mut self, now: Moment) -> Result<(), OperationError> {
        for (when, number) in self.index.over(millis(now.wall), TIDIED_AT_ONCE) {
            match self.record(number) {
                Ok(record) => self.index.expire(number, &record),
                Err(OperationError::Record(_)) => self.index.pass_over(when, number),
                Err(error @ OperationError::Storage(_)) => return Err(error),
            }
        }
        self.forget_due(millis(now.wall), TIDIED_AT_ONCE)
    }

    /// Bounds the records of ended links by `max_tokens` too: the oldest go first, a live one never.
    fn forget_ended(&mut self) -> Result<(), OperationError> {
        let surplus = self.index.len().saturating_sub(self.max_tokens.saturating_mul(2));
        self.forget_due(i64::MAX, surplus.min(TIDIED_AT_ONCE))
    }

    fn forget_due(&mut self, now: i64, most: usize) -> Result<(), OperationError> {
        for (when, number) in self.index.forgettable(now, most) {
            match self.record(number) {
                Ok(record) => self.forget(number, &record)?,
                Err(OperationError::Record(_)) => self.index.pass_over(when, number),
                Err(error @ OperationError::Storage(_)) => return Err(error),
            }
        }
        Ok(())
    }

    fn forget(&mut self, number: u64, record: &LinkRecord) -> Result<(), OperationError> {
        if let Some(own) = self.index.forget(number, record)? {
            self.ends.remove(own)?;
        }
        self.links.remove(number)?;
        Ok(())
    }
}
