//! Where login tokens live between issuing and redeeming: one trait, one contract for all stores.
//!
//! A store sees digests only, never a token, and knows nothing of HTTP. What it must promise is written at
//! [`TokenStore`] and tested for each store by `tests/it/token_store.rs`.

mod inspect;
mod measured;
mod memory;
mod record;
mod redb;
mod redis;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock, Moment};
use crate::config::{self, StoreUrl};
use crate::token::{LinkId, LoginGrant, TokenDigest, Username};

pub use inspect::{StoreFinding, StoreGrade, inspect};
pub use measured::MeasuredStore;
pub use memory::MemoryStore;
pub use redb::{FileError, RedbStore};
pub use redis::{RedisError, RedisStore, RouteWritten, ServerError, SharedTable, Synced, TableVersion};

/// How long the record of a link can be read after it has ended.
pub const RETENTION: Duration = Duration::from_mins(10);

/// A wall clock may be stepped back this far before its tokens are refused.
const STEP_TOLERANCE: Duration = Duration::from_secs(2);

/// The clocks of a store and of this machine may differ by this much.
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(2);

/// What a store's method returns: a boxed future, because stores are used behind `Arc<dyn TokenStore>`.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where a link stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkStatus {
    /// It can be redeemed once.
    Pending,
    /// It was redeemed.
    Used,
    /// It was not redeemed in time.
    Expired,
    /// It was taken back.
    Revoked,
}

/// One issued link: what is kept of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its public name.
    pub id: LinkId,
    /// The digest of its token.
    pub digest: TokenDigest,
    /// What the token is worth.
    pub grant: LoginGrant,
    /// Where it stands; [`LinkStatus::Expired`] is derived from the time at which it is read.
    pub status: LinkStatus,
    /// When it was issued.
    pub issued: Moment,
    /// When it expires.
    pub expires: Moment,
    /// When it was redeemed.
    pub used_at: Option<Timestamp>,
    /// The app's own remark.
    pub note: Option<String>,
}

/// Marks a repeated request of an app (IETF draft "The Idempotency-Key HTTP Header Field").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The app whose key it is.
    pub app: Arc<str>,
    /// The header's value.
    pub key: String,
    /// The SHA-256 of the request's body: a repeat must have the same.
    pub body: [u8; 32],
}

/// How far back a store remembers.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Tells it from the memory of a server that stood here before.
    pub epoch: i64,
    /// When it began, by the clock of whoever asks, so that it can be compared with that clock's other times.
    pub since: Timestamp,
}

/// What became of an insertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// The links are stored.
    New,
    /// The idempotency key was seen before with this body: the link now has the new token under this, its first, id.
    Again(LinkId),
    /// The idempotency key was seen before and its link was redeemed or revoked. Nothing was stored.
    Ended,
    /// The idempotency key was seen before with another body. Nothing was stored.
    OtherBody,
    /// The store is full. Nothing was stored and nothing was evicted.
    Full,
}

/// What became of an attempt to consume.
#[derive(Debug, Clone, PartialEq)]
pub enum Consumed {
    /// The one success in the life of this token.
    Granted(Box<Link>),
    /// No success: unknown.
    Unknown,
    /// No success: the link as it stands (used, expired or revoked).
    Ended(Box<Link>),
}

/// What became of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// The link is dead: by this call, by an earlier one, or by its age.
    Dead,
    /// It was redeemed before.
    Used,
    /// There is no such link of this app.
    NotFound,
}

/// Why the store of the configuration cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file.
    #[error("open the token store {path}: {cause}")]
    File {
        /// Which one.
        path: String,
        /// Why.
        #[source]
        cause: FileError,
    },
    /// The server.
    #[error("open the token store: {0}")]
    Redis(#[from] RedisError),
}

/// Opens the store that `store` names. Waits: for the disk, or for Redis at most its timeout.
pub fn open(store: &config::Store, clock: &Arc<dyn Clock>) -> Result<Arc<dyn TokenStore>, OpenError> {
    let max_tokens = store.max_tokens;
    Ok(match &store.url {
        StoreUrl::Memory => Arc::new(MemoryStore::new(max_tokens)),
        StoreUrl::Redb(path) => {
            let opened = RedbStore::open(path, max_tokens, Arc::clone(clock));
            Arc::new(opened.map_err(|cause| OpenError::File { path: path.display().to_string(), cause })?)
        }
        StoreUrl::Redis(redis) => Arc::new(RedisStore::open(redis, max_tokens)?),
    })
}

/// The store did not do what it was asked; nothing may be concluded about the token.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or answered with an error.
    #[error("the token store is unavailable: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// For this cause: an error, or a sentence.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

/// Keeps links and hands each one out at most once.
///
/// - `consume` is one atomic take: of any number of callers, in any number of processes, at most one is granted.
/// - A store that is full refuses; it never evicts a link that can still be redeemed.
/// - A link that has ended (used, expired, revoked) can be read for [`RETENTION`]; under pressure for less.
/// - Any error means: no identity.
pub trait TokenStore: Send + Sync + std::fmt::Debug {
    /// Stores `links`, all or none. An idempotency key goes with exactly one link.
    fn insert(&self, links: Vec<Link>, key: Option<IdempotencyKey>, now: Moment)
    -> StoreFuture<'_, Inserted>;
    /// The link of this token, unchanged.
    fn find(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Option<Link>>;
    /// Takes the token: see the trait's promise.
    fn consume(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Consumed>;
    /// Keeps the pending link of this token until `until`, for those who wait for their turn at the hub; its grant then
    /// says by when one must have clicked ([`LoginGrant::click_by`]). False: it is not pending, and nothing is changed.
    fn reserve(&self, digest: TokenDigest, until: Moment, now: Moment) -> StoreFuture<'_, bool>;
    /// The link of this id, if it is `app`'s.
    fn get<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Option<Link>>;
    /// Makes `app`'s link of this id dead.
    fn revoke<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Revoked>;
    /// Makes all pending links of `app` for `username` dead; answers how many there were.
    fn revoke_user<'a>(&'a self, username: &'a Username, app: &'a str, now: Moment)
    -> StoreFuture<'a, usize>;
    /// Whether the store would answer.
    fn ping(&self) -> StoreFuture<'_, ()>;
    /// How many links can still be redeemed; of a shared store, as last read.
    fn live(&self, now: Moment) -> usize;
    /// Tells every process that has this store, now or after a restart, which sessions were ended, for as long as
    /// `remembered`.
    fn end_sessions(&self, sessions: Vec<String>, remembered: Duration) -> StoreFuture<'_, ()> {
        drop((sessions, remembered));
        Box::pin(std::future::ready(Ok(())))
    }
    /// The sessions that were ended by whatever process; none where no other process ever has this store.
    fn ended_sessions(&self) -> Option<StoreFuture<'_, Vec<String>>> {
        None
    }
    /// How far the clock of a store that has one of its own is ahead of ours, which stands at `now`, as last read.
    fn skew(&self, now: Moment) -> Option<SignedDuration> {
        let _ = now;
        None
    }
    /// A routing table beside the links, for the process called `replica`; none where no other process shares this store.
    fn shared_table(&self, replica: &str) -> Option<SharedTable> {
        let _ = replica;
        None
    }
    /// How far back the store remembers all that it was told, as last read, by the clock that stands at `now`; none: to the
    /// start of this process.
    ///
    /// What was consumed before may have been forgotten, so a token of another's making that may be older is refused.
    /// Asked again after consuming: a server that was put in another's place in between has forgotten as well.
    fn memory(&self, now: Moment) -> Option<Memory> {
        let _ = now;
        None
    }
}

/// The status at `now` of a link that is stored as `status`: a pending one is expired once either clock says so, and
/// also when the wall clock was stepped to before it was issued, because then its age cannot be known.
fn as_of(status: LinkStatus, issued: Moment, expires: Moment, now: Moment) -> LinkStatus {
    let over = now.reached(expires) || now.precedes(issued, STEP_TOLERANCE);
    if status == LinkStatus::Pending && over { LinkStatus::Expired } else { status }
}

/// How a store's clock stands that is `ahead` of ours, if the two differ by more than they may: "7 s ahead of ours".
pub fn clock_fault(ahead: SignedDuration) -> Option<String> {
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    (ahead.abs() > SKEW_MAX).then(|| format!("{} s {side} ours", ahead.abs().as_secs()))
}

/// `link` as it is kept until `until`.
fn reserved(mut link: Link, until: Moment) -> Link {
    link.grant.click_by.get_or_insert(link.expires.wall);
    link.expires = Moment {
        wall: link.expires.wall.max(until.wall),
        monotonic: link.expires.monotonic.max(until.monotonic),
    };
    link
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_with_its_side_and_a_small_difference_is_none() {
        let fault = |seconds| clock_fault(SignedDuration::from_secs(seconds));
        assert_eq!(fault(7).as_deref(), Some("7 s ahead of ours"));
        assert_eq!(fault(-5).as_deref(), Some("5 s behind ours"));
        assert_eq!((fault(2), fault(-2), fault(0)), (None, None, None));
    }

    #[test]
    fn an_error_of_the_store_keeps_its_source() {
        let error = StoreError::unavailable(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        assert_eq!(source.map(std::io::Error::kind), Some(std::io::ErrorKind::ConnectionReset));
        assert_eq!(error.to_string(), "the token store is unavailable: connection reset");
    }
}
