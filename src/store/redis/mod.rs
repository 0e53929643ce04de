//! The store that several replicas share: one Redis or Valkey, one script a call.
//!
//! A script is atomic, so all of a call happens or nothing; it takes the time from the server, so the clocks of the
//! replicas do not matter; and it binds each link to the *epoch* of the server (`run_id` and `master_replid`), so that
//! neither a restart from an old file nor a failover nor a way back brings a used token to life: such an event voids
//! the links that were not used yet. `MULTI; GETDEL; INFO; EXEC` would bind as well, but needs a second round trip to
//! note what became of the link, and a crash between the two would lose it.
//!
//! In a cluster all our keys lie in one slot, by the hash tag of their prefix: a script sees the keys of one node only,
//! and issuing needs the key of a repeat, the room that is left and the links of a user in one step.

mod connection;
mod dial;
mod inspect;
mod primary;
mod scripts;
mod server;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use redis::{FromRedisValue as _, Value};

use super::record::{Record, RecordError};
use super::{
    Consumed, IdempotencyKey, Inserted, Link, LinkStatus, RETENTION, Revoked, StoreError, StoreFuture,
    TokenStore,
};
use crate::clock::Moment;
use crate::config;
use crate::token::{LinkId, TokenDigest, Username};

use connection::Connection;
pub use connection::RedisError;
pub(super) use inspect::inspect;
use scripts::Scripts;
pub use server::ServerError;

/// Keeps links in Redis.
#[derive(Debug)]
pub struct RedisStore {
    connection: Connection,
    scripts: Scripts,
    prefix: String,
    max_tokens: usize,
    /// As last heard.
    live: AtomicUsize,
    /// By the server's clock, as last heard.
    since_millis: AtomicI64,
}

/// What a script answers: a word, the number of live links, since when all is remembered, and what belongs to the word.
struct Reply {
    word: String,
    rest: Vec<Value>,
}

impl RedisStore {
    /// Connects and looks at the server.
    pub fn open(redis: &config::Redis, max_tokens: usize) -> Result<Self, RedisError> {
        Ok(Self {
            connection: Connection::open(redis)?,
            scripts: Scripts::new(),
            prefix: redis.prefix.clone(),
            max_tokens,
            live: AtomicUsize::new(0),
            since_millis: AtomicI64::new(i64::MIN),
        })
    }

    async fn run(&self, script: &redis::Script, arguments: &[Vec<u8>]) -> Result<Reply, StoreError> {
        let mut invocation = script.key(&self.prefix);
        for argument in arguments {
            invocation.arg(argument.as_slice());
        }
        let values = self.connection.invoke(&invocation).await?;
        let mut values = values.into_iter();
        let word = values.next().map(String::from_redis_value).and_then(Result::ok).ok_or_else(damaged)?;
        let live = values.next().map(usize::from_redis_value).and_then(Result::ok).ok_or_else(damaged)?;
        let since = values.next().map(i64::from_redis_value).and_then(Result::ok).ok_or_else(damaged)?;
        self.live.store(live, Ordering::Relaxed);
        // The later one: an answer of an earlier server may come after one of its successor.
        self.since_millis.fetch_max(since, Ordering::AcqRel);
        Ok(Reply { word, rest: values.collect() })
    }
}

impl TokenStore for RedisStore {
    fn insert(
        &self,
        links: Vec<Link>,
        key: Option<IdempotencyKey>,
        _now: Moment,
    ) -> StoreFuture<'_, Inserted> {
        Box::pin(async move {
            let mut arguments = vec![
                self.max_tokens.to_string().into_bytes(),
                RETENTION.as_millis().to_string().into_bytes(),
                key.as_ref().map(repeat_name).unwrap_or_default(),
                key.as_ref().map(|key| URL_SAFE_NO_PAD.encode(key.body).into_bytes()).unwrap_or_default(),
            ];
            for link in &links {
                arguments.push(link.id.as_str().as_bytes().to_vec());
                arguments.push(digest_text(link.digest));
                arguments.push(life(link).as_millis().to_string().into_bytes());
                arguments.push(Record::of(link).to_json());
                arguments.push(user_name(&link.grant.app, &link.grant.username));
            }
            let reply = self.run(&self.scripts.insert, &arguments).await?;
            match reply.word.as_str() {
                "new" => Ok(Inserted::New),
                "again" => reply.id().map(Inserted::Again),
                "ended" => Ok(Inserted::Ended),
                "other" => Ok(Inserted::OtherBody),
                "full" => Ok(Inserted::Full),
                _ => Err(damaged()),
            }
        })
    }

    fn find(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Option<Link>> {
        Box::pin(async move {
            let reply = self.run(&self.scripts.find, &[digest_text(digest)]).await?;
            reply.link_or_nothing(now)
        })
    }

    fn consume(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Consumed> {
        Box::pin(async move {
            let reply = self.run(&self.scripts.consume, &[digest_text(digest)]).await?;
            match reply.word.as_str() {
                "granted" => {
                    // Of this token, and taken: a reply that says anything else is no success.
                    let link = reply.link(now)?;
                    if link.digest != digest || link.status != LinkStatus::Used {
                        return Err(damaged());
                    }
                    Ok(Consumed::Granted(Box::new(link)))
                }
                "ended" => Ok(Consumed::Ended(Box::new(reply.link(now)?))),
                "unknown" => Ok(Consumed::Unknown),
                _ => Err(damaged()),
            }
        })
    }

    fn get<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Option<Link>> {
        Box::pin(async move {
            let arguments = [id.as_str().as_bytes().to_vec(), app_name(app)];
            self.run(&self.scripts.get, &arguments).await?.link_or_nothing(now)
        })
    }

    fn revoke<'a>(&'a self, id: &'a LinkId, app: &'a str, _now: Moment) -> StoreFuture<'a, Revoked> {
        Box::pin(async move {
            let arguments = [id.as_str().as_bytes().to_vec(), app_name(app)];
            match self.run(&self.scripts.revoke, &arguments).await?.word.as_str() {
                "dead" => Ok(Revoked::Dead),
                "used" => Ok(Revoked::Used),
                "unknown" => Ok(Revoked::NotFound),
                _ => Err(damaged()),
            }
        })
    }

    fn revoke_user<'a>(
        &'a self,
        username: &'a Username,
        app: &'a str,
        _now: Moment,
    ) -> StoreFuture<'a, usize> {
        Box::pin(async move {
            let reply = self.run(&self.scripts.revoke_user, &[user_name(app, username)]).await?;
            reply.number()
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move { self.run(&self.scripts.ping, &[]).await.map(|_| ()) })
    }

    fn live(&self, _now: Moment) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    fn remembers_since(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.since_millis.load(Ordering::Acquire)).ok()
    }
}

impl Reply {
    fn id(&self) -> Result<LinkId, StoreError> {
        self.text(0).and_then(|id| LinkId::parse(&id)).ok_or_else(damaged)
    }

    fn number(&self) -> Result<usize, StoreError> {
        self.rest.first().and_then(|value| usize::from_redis_value_ref(value).ok()).ok_or_else(damaged)
    }

    fn link_or_nothing(&self, now: Moment) -> Result<Option<Link>, StoreError> {
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
    fn link(&self, now: Moment) -> Result<Link, StoreError> {
        let id = self.id()?;
        let status = match self.text(1).as_deref() {
            Some("pending") => LinkStatus::Pending,
            Some("used") => LinkStatus::Used,
            Some("expired") => LinkStatus::Expired,
            Some("revoked") => LinkStatus::Revoked,
            Some(_) | None => return Err(damaged()),
        };
        let record = self.text(2).ok_or_else(damaged)?;
        let record = Record::from_json(record.as_bytes()).map_err(unreadable)?;
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
        let (grant, note) = record.into_grant().map_err(unreadable)?;
        Ok(Link { id, digest, grant, status, issued, expires, used_at, note })
    }

    fn text(&self, at: usize) -> Option<String> {
        self.rest.get(at).and_then(|value| String::from_redis_value_ref(value).ok())
    }

    fn millis(&self, at: usize) -> Result<i64, StoreError> {
        self.rest.get(at).and_then(|value| i64::from_redis_value_ref(value).ok()).ok_or_else(damaged)
    }
}

/// What is left of a link's life when it is issued.
fn life(link: &Link) -> Duration {
    link.expires.monotonic.saturating_sub(link.issued.monotonic)
}

/// With its length before it: no app's name and user can be read as another's.
fn app_name(app: &str) -> Vec<u8> {
    format!("{}:{app}:", app.len()).into_bytes()
}

fn user_name(app: &str, username: &Username) -> Vec<u8> {
    let mut name = app_name(app);
    name.extend_from_slice(username.as_str().as_bytes());
    name
}

/// A name of fixed size, whatever the header's value is.
fn repeat_name(key: &IdempotencyKey) -> Vec<u8> {
    let mut bytes = app_name(&key.app);
    bytes.extend_from_slice(key.key.as_bytes());
    URL_SAFE_NO_PAD.encode(digest(&SHA256, &bytes)).into_bytes()
}

fn digest_text(digest: TokenDigest) -> Vec<u8> {
    URL_SAFE_NO_PAD.encode(digest.as_bytes()).into_bytes()
}

fn digest_of_text(text: &str) -> Option<TokenDigest> {
    let mut bytes = [0; 32];
    (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(32)).then(|| TokenDigest::from_bytes(bytes))
}

fn damaged() -> StoreError {
    StoreError::Unavailable("the answer of Redis cannot be read".to_owned())
}

#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unreadable(error: RecordError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
