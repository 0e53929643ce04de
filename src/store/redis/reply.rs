//! What a script answers: read strictly, and what each answer tells besides is kept.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use redis::{FromRedisValue as _, Value};

use super::super::record::GrantRecord;
use super::super::{Link, LinkStatus, StoreError};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest};

/// What every reply tells of the server, as last read.
#[derive(Debug)]
pub(super) struct ServerInfo {
    live: AtomicUsize,
    /// By the server's clock.
    since_millis: AtomicI64,
}

impl Default for ServerInfo {
    fn default() -> Self {
        Self { live: AtomicUsize::new(0), since_millis: AtomicI64::new(i64::MIN) }
    }
}

/// A word, the number of live links, since when all is remembered, and what belongs to the word.
pub(super) struct Reply {
    pub(super) word: String,
    rest: Vec<Value>,
}

impl ServerInfo {
    /// Reads an answer.
    pub(super) fn read(&self, values: Vec<Value>) -> Result<Reply, StoreError> {
        let mut values = values.into_iter();
        let word = values.next().map(String::from_redis_value).and_then(Result::ok).ok_or_else(damaged)?;
        let live = values.next().map(usize::from_redis_value).and_then(Result::ok).ok_or_else(damaged)?;
        let since = values.next().map(i64::from_redis_value).and_then(Result::ok).ok_or_else(damaged)?;
        self.live.store(live, Ordering::Relaxed);
        // The later one: an answer of an earlier server may come after one of its successor.
        self.since_millis.fetch_max(since, Ordering::AcqRel);
        Ok(Reply { word, rest: values.collect() })
    }

    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.since_millis.load(Ordering::Acquire)).ok()
    }
}

impl Reply {
    pub(super) fn id(&self) -> Result<LinkId, StoreError> {
        self.text(0).and_then(|id| LinkId::parse(&id)).ok_or_else(damaged)
    }

    pub(super) fn number(&self) -> Result<usize, StoreError> {
        self.rest.first().and_then(|value| usize::from_redis_value_ref(value).ok()).ok_or_else(damaged)
    }

    pub(super) fn link_or_nothing(&self, now: Moment) -> Result<Option<Link>, StoreError> {
        match self.word.as_str() {
            "link" => self.link(now).map(Some),
            "unknown" => Ok(None),
            _ => Err(damaged()),
        }
    }

    /// The link in the reply: id, status, record, digest, the server's present, issue, expiry and use.
    ///
    /// Its record has the issuer's times of day, for whoever reads it. What is measured by (the monotonic times, and
    /// how long ago it was used) is brought from the server's clock to ours.
    pub(super) fn link(&self, now: Moment) -> Result<Link, StoreError> {
        let id = self.id()?;
        let status = match self.text(1).as_deref() {
            Some("pending") => LinkStatus::Pending,
            Some("used") => LinkStatus::Used,
            Some("expired") => LinkStatus::Expired,
            Some("revoked") => LinkStatus::Revoked,
            Some(_) | None => return Err(damaged()),
        };
        let record = self.text(2).ok_or_else(damaged)?;
        let record = GrantRecord::from_json(record.as_bytes()).map_err(StoreError::unavailable)?;
        let digest = self.text(3).and_then(|text| digest_of_text(&text)).ok_or_else(damaged)?;
        let [present, issued, expires, used] = [4, 5, 6, 7].map(|at| self.millis(at));
        let (present, issued_at, expires_at) = (present?, issued?, expires?);
        let moment = |wall: Timestamp, at: i64| {
            let ahead = Duration::from_millis(at.abs_diff(present));
            let monotonic = if at >= present {
                now.monotonic.saturating_add(ahead)
            } else {
                now.monotonic.saturating_sub(ahead)
            };
            Moment { wall, monotonic }
        };
        let issued = moment(record.issued, issued_at);
        let expires = moment(record.expires, expires_at);
        let used_at = match used? {
            0 => None,
            used => now.wall.checked_sub(SignedDuration::from_millis(present.saturating_sub(used))).ok(),
        };
        let (grant, note) = record.into_grant().map_err(StoreError::unavailable)?;
        Ok(Link { id, digest, grant, status, issued, expires, used_at, note })
    }

    fn text(&self, at: usize) -> Option<String> {
        self.rest.get(at).and_then(|value| String::from_redis_value_ref(value).ok())
    }

    fn millis(&self, at: usize) -> Result<i64, StoreError> {
        self.rest.get(at).and_then(|value| i64::from_redis_value_ref(value).ok()).ok_or_else(damaged)
    }
}

fn digest_of_text(text: &str) -> Option<TokenDigest> {
    let mut bytes = [0; 32];
    (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(32)).then(|| TokenDigest::from_bytes(bytes))
}

pub(super) fn damaged() -> StoreError {
    StoreError::unavailable("the answer of Redis cannot be read")
}
