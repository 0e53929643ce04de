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
mod reply;
mod scripts;
mod server;
mod table;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::record::GrantRecord;
use super::{
    Consumed, IdempotencyKey, Inserted, Link, LinkStatus, Memory, RETENTION, Revoked, StoreError,
    StoreFuture, TokenStore, reserved,
};
use crate::clock::Moment;
use crate::config;
use crate::token::{LinkId, TokenDigest, Username};

use connection::ReconnectingConnection;
pub use connection::RedisError;
use dial::Dialler;
pub(super) use inspect::inspect;
use reply::{Reply, ServerInfo, damaged};
use scripts::Scripts;
pub use server::ServerError;
pub use table::{RouteWritten, SharedTable, Synced, TableVersion};

/// Keeps links in Redis.
#[derive(Debug)]
pub struct RedisStore {
    connection: Arc<ReconnectingConnection>,
    dialler: Dialler,
    scripts: Scripts,
    max_tokens: usize,
    server_info: Arc<ServerInfo>,
}

impl RedisStore {
    /// Connects and looks at the server.
    pub fn open(redis: &config::Redis, max_tokens: usize) -> Result<Self, RedisError> {
        let server_info = Arc::<ServerInfo>::default();
        Ok(Self {
            connection: Arc::new(ReconnectingConnection::open(redis, Arc::clone(&server_info))?),
            dialler: Dialler { redis: redis.clone() },
            scripts: Scripts::new(),
            max_tokens,
            server_info,
        })
    }

    async fn run(&self, script: &redis::Script, arguments: &[Vec<u8>]) -> Result<Reply, StoreError> {
        self.server_info.read(self.call(script, arguments).await?)
    }

    async fn call(
        &self,
        script: &redis::Script,
        arguments: &[Vec<u8>],
    ) -> Result<Vec<redis::Value>, StoreError> {
        let mut invocation = script.key(&self.dialler.redis.prefix);
        for argument in arguments {
            invocation.arg(argument.as_slice());
        }
        self.connection.invoke(&invocation).await
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
                arguments.push(GrantRecord::of(link).to_json());
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
                    // The reply must be about this token and say that it was consumed; anything else is no success.
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

    fn reserve(&self, digest: TokenDigest, until: Moment, now: Moment) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let Some(link) = self.find(digest, now).await? else { return Ok(false) };
            // Only this call changes the link, and always in the same way, so it does no harm if the call is made twice.
            let link = reserved(link, until);
            let life = link.expires.monotonic.saturating_sub(now.monotonic);
            let arguments = [
                digest_text(digest),
                GrantRecord::of(&link).to_json(),
                life.as_millis().to_string().into_bytes(),
                RETENTION.as_millis().to_string().into_bytes(),
            ];
            match self.run(&self.scripts.reserve, &arguments).await?.word.as_str() {
                "reserved" => Ok(true),
                "ended" | "unknown" => Ok(false),
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
        self.server_info.live()
    }

    fn end_sessions(&self, sessions: Vec<String>, remembered: Duration) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut arguments = vec![remembered.as_millis().to_string().into_bytes()];
            arguments.extend(sessions.into_iter().map(String::into_bytes));
            self.run(&self.scripts.end_sessions, &arguments).await.map(|_| ())
        })
    }

    fn ended_sessions(&self) -> Option<StoreFuture<'_, Vec<String>>> {
        Some(Box::pin(async move { self.run(&self.scripts.ended_sessions, &[]).await?.texts() }))
    }

    fn skew(&self, now: Moment) -> Option<jiff::SignedDuration> {
        self.server_info.skew(now)
    }

    fn shared_table(&self, replica: &str) -> Option<SharedTable> {
        Some(SharedTable::new(Arc::clone(&self.connection), self.dialler.clone(), replica.to_owned()))
    }

    fn memory(&self, now: Moment) -> Option<Memory> {
        self.server_info.memory(now)
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
