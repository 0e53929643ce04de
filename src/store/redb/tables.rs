//! The store's rules on its tables, inside one transaction: nothing here is durable before the commit.

use redb::{
    ReadableTable as _, ReadableTableMetadata as _, Table, TableDefinition, TableError, WriteTransaction,
};

use super::super::record::RecordError;
use super::super::{Consumed, IdempotencyKey, Inserted, Link, LinkStatus, RETENTION, Revoked};
use super::read::{DIGESTS, LINKS, Trouble, by_digest, due, read_row};
use super::row::{Row, Session, millis, millis_after};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest, Username};

/// (Expiry in milliseconds, id) of what can still be redeemed: its length is the number of live links.
const LIVE: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("live");
/// (When it may be forgotten in milliseconds, id) of what has ended.
const ENDED: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("ended");
/// (App, user, id) of what can still be redeemed.
const USERS: TableDefinition<'_, (&str, &str, &str), ()> = TableDefinition::new("users");
/// (App, idempotency key) → (digest of the body, id).
const REPEATS: TableDefinition<'_, (&str, &str), (&[u8; 32], &str)> = TableDefinition::new("repeats");

/// The most rows that one transaction tidies up: it must not keep a login waiting.
const TIDIED_AT_ONCE: usize = 4096;

/// All tables of a write transaction.
pub(super) struct Tables<'t> {
    links: Table<'t, &'static str, &'static [u8]>,
    digests: Table<'t, &'static [u8; 32], &'static str>,
    live: Table<'t, (i64, &'static str), ()>,
    ended: Table<'t, (i64, &'static str), ()>,
    users: Table<'t, (&'static str, &'static str, &'static str), ()>,
    repeats: Table<'t, (&'static str, &'static str), (&'static [u8; 32], &'static str)>,
    session: &'t Session,
    max_tokens: usize,
}

impl<'t> Tables<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        session: &'t Session,
        max_tokens: usize,
    ) -> Result<Self, TableError> {
        Ok(Self {
            links: transaction.open_table(LINKS)?,
            digests: transaction.open_table(DIGESTS)?,
            live: transaction.open_table(LIVE)?,
            ended: transaction.open_table(ENDED)?,
            users: transaction.open_table(USERS)?,
            repeats: transaction.open_table(REPEATS)?,
            session,
            max_tokens,
        })
    }

    pub(super) fn live(&self) -> Result<usize, Trouble> {
        Ok(usize::try_from(self.live.len()?).unwrap_or(usize::MAX))
    }

    pub(super) fn insert(
        &mut self,
        mut new: Vec<Link>,
        key: Option<&IdempotencyKey>,
        now: Moment,
    ) -> Result<Inserted, Trouble> {
        let now = self.session.in_order(now);
        self.tidy(now)?;
        let mut replaced = None;
        if let Some((body, id)) = key.map(|key| self.repeat(key)).transpose()?.flatten()
            && let Some(row) = read_row(&self.links, &id)?
        {
            if key.is_some_and(|key| key.body != body) {
                return Ok(Inserted::OtherBody);
            }
            match row.status(self.session, now) {
                LinkStatus::Used | LinkStatus::Revoked => return Ok(Inserted::Ended),
                LinkStatus::Pending | LinkStatus::Expired => replaced = Some((id, row)),
            }
        }
        let freed = match &replaced {
            Some((id, row)) => self.live.get((millis(row.link.expires), id.as_str()))?.is_some(),
            None => false,
        };
        if self.live()? - usize::from(freed) + new.len() > self.max_tokens {
            return Ok(Inserted::Full);
        }
        let mut first_id = None;
        if let Some((id, row)) = replaced {
            self.forget(&id, &row)?;
            let id = LinkId::parse(&id).ok_or(RecordError::Damaged)?;
            // The key goes with exactly one link.
            for link in &mut new {
                link.id = id.clone();
            }
            first_id = Some(id);
        }
        for link in &new {
            self.add(link, key)?;
        }
        self.forget_ended()?;
        Ok(first_id.map_or(Inserted::New, Inserted::Again))
    }

    pub(super) fn consume(&mut self, digest: TokenDigest, now: Moment) -> Result<Consumed, Trouble> {
        let now = self.session.in_order(now);
        let Some((id, mut row)) = by_digest(&self.digests, &self.links, digest)? else {
            return Ok(Consumed::Unknown);
        };
        if row.status(self.session, now) != LinkStatus::Pending {
            return Ok(Consumed::Ended(Box::new(row.into_link(&id, self.session, now)?)));
        }
        row.end(Some(now.wall));
        self.end(&id, &row, now)?;
        Ok(Consumed::Granted(Box::new(row.into_link(&id, self.session, now)?)))
    }

    pub(super) fn revoke(&mut self, id: &LinkId, app: &str, now: Moment) -> Result<Revoked, Trouble> {
        let now = self.session.in_order(now);
        let Some(mut row) = read_row(&self.links, id.as_str())?.filter(|row| row.link.app() == app) else {
            return Ok(Revoked::NotFound);
        };
        match row.status(self.session, now) {
            LinkStatus::Used => Ok(Revoked::Used),
            LinkStatus::Expired | LinkStatus::Revoked => Ok(Revoked::Dead),
            LinkStatus::Pending => {
                row.end(None);
                self.end(id.as_str(), &row, now)?;
                Ok(Revoked::Dead)
            }
        }
    }

    pub(super) fn revoke_user(
        &mut self,
        username: &Username,
        app: &str,
        now: Moment,
    ) -> Result<usize, Trouble> {
        let now = self.session.in_order(now);
        let mut ids = Vec::new();
        for entry in self.users.range((app, username.as_str(), "")..)? {
            let (key, _) = entry?;
            let (of_app, of_user, id) = key.value();
            if (of_app, of_user) != (app, username.as_str()) {
                break;
            }
            ids.push(id.to_owned());
        }
        let mut revoked = 0;
        for id in ids {
            let Some(mut row) = read_row(&self.links, &id)? else { continue };
            if row.status(self.session, now) == LinkStatus::Pending {
                row.end(None);
                self.end(&id, &row, now)?;
                revoked += 1;
            }
        }
        Ok(revoked)
    }

    fn add(&mut self, link: &Link, key: Option<&IdempotencyKey>) -> Result<(), Trouble> {
        let id = link.id.as_str();
        let row = Row::new(link, self.session, key.map(|key| key.key.clone()));
        self.links.insert(id, row.encode(id).as_slice())?;
        self.digests.insert(link.digest.as_bytes(), id)?;
        self.live.insert((millis(link.expires.wall), id), ())?;
        self.users.insert((&*link.grant.app, link.grant.username.as_str(), id), ())?;
        if let Some(key) = key {
            self.repeats.insert((&*key.app, key.key.as_str()), (&key.body, id))?;
        }
        Ok(())
    }

    /// Writes a row whose life was just ended.
    fn end(&mut self, id: &str, row: &Row, now: Moment) -> Result<(), Trouble> {
        self.links.insert(id, row.encode(id).as_slice())?;
        self.leave_live(id, row)?;
        // Not before its own end: until then a redeeming is told what became of the link.
        let since = now.wall.max(row.link.expires);
        self.ended.insert((millis_after(since, RETENTION), id), ())?;
        Ok(())
    }

    fn leave_live(&mut self, id: &str, row: &Row) -> Result<(), Trouble> {
        self.live.remove((millis(row.link.expires), id))?;
        self.users.remove((row.link.app(), row.link.username(), id))?;
        Ok(())
    }

    /// Notices expiries and forgets what has been readable long enough.
    fn tidy(&mut self, now: Moment) -> Result<(), Trouble> {
        for (expiry, id) in due(&self.live, millis(now.wall), TIDIED_AT_ONCE)? {
            match read_row(&self.links, &id) {
                Ok(Some(row)) => {
                    self.leave_live(&id, &row)?;
                    self.ended.insert((millis_after(row.link.expires, RETENTION), id.as_str()), ())?;
                }
                Ok(None) | Err(Trouble::Record(_)) => {
                    self.live.remove((expiry, id.as_str()))?;
                }
                Err(trouble @ Trouble::Storage(_)) => return Err(trouble),
            }
        }
        for (when, id) in due(&self.ended, millis(now.wall), TIDIED_AT_ONCE)? {
            self.forget_at(when, &id)?;
        }
        Ok(())
    }

    /// Bounds the records of ended links by `max_tokens` too: the oldest go first, a live one never.
    fn forget_ended(&mut self) -> Result<(), Trouble> {
        let most = u64::try_from(self.max_tokens).unwrap_or(u64::MAX).saturating_mul(2);
        let surplus = usize::try_from(self.links.len()?.saturating_sub(most)).unwrap_or(usize::MAX);
        for (when, id) in due(&self.ended, i64::MAX, surplus.min(TIDIED_AT_ONCE))? {
            self.forget_at(when, &id)?;
        }
        Ok(())
    }

    fn forget_at(&mut self, when: i64, id: &str) -> Result<(), Trouble> {
        self.ended.remove((when, id))?;
        match read_row(&self.links, id) {
            // A repeat may have given the id another life.
            Ok(Some(row)) if self.live.get((millis(row.link.expires), id))?.is_none() => {
                self.forget(id, &row)
            }
            Ok(_) | Err(Trouble::Record(_)) => Ok(()),
            Err(trouble @ Trouble::Storage(_)) => Err(trouble),
        }
    }

    fn forget(&mut self, id: &str, row: &Row) -> Result<(), Trouble> {
        self.leave_live(id, row)?;
        self.digests.remove(row.digest()?.as_bytes())?;
        if let Some(key) = &row.repeat {
            self.repeats.remove((row.link.app(), key.as_str()))?;
        }
        self.links.remove(id)?;
        Ok(())
    }

    fn repeat(&self, key: &IdempotencyKey) -> Result<Option<([u8; 32], String)>, Trouble> {
        let found = self.repeats.get((&*key.app, key.key.as_str()))?;
        Ok(found.map(|entry| {
            let (body, id) = entry.value();
            (*body, id.to_owned())
        }))
    }
}
