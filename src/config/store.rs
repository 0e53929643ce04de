//! `[store]`: where live tokens are kept.
//!
//! An error is the rest of a sentence that begins with the value.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::file::ConfigFile;
use super::kind::{Kind, duration, number, text};
use super::parse::{absolute_path, any_or_none, plain_text};
use super::secret::{Secret, secret};
use super::section::Section as _;
use super::table::section;
use super::{RedisServers, redis, tls};

/// Live tokens: more would not fit into the memory of any machine, and twice as many are counted by 32 bits.
pub(super) const TOKENS_MAX: usize = 1_000_000_000;
/// Waits for Redis.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30);

const EXAMPLES: &str = "write \"memory:\", a file, for example \"redb:///var/lib/hublatch/tokens.redb\", or a Redis or \
                        Valkey, for example \"redis://127.0.0.1:6379/0\"";

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Which kind, and where.
    pub url: StoreUrl,
    /// The most live tokens; above it issuing answers 503.
    pub max_tokens: usize,
}

/// Where live tokens are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `memory:`: in this process; they do not survive it.
    Memory,
    /// `redb:///var/lib/hublatch/tokens.redb`: in a file of this process.
    Redb(PathBuf),
    /// `redis://` and its kin: in a server that replicas share.
    Redis(Box<Redis>),
}

/// A Redis or Valkey.
#[derive(Clone, PartialEq, Eq)]
pub struct Redis {
    /// Which servers.
    pub servers: RedisServers,
    /// The number of the database.
    pub database: i64,
    /// The ACL user; none: the default user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Zeroizing<String>>,
    /// The ACL user of the Sentinels; none: their default user.
    pub sentinel_username: Option<String>,
    /// Its password.
    pub sentinel_password: Option<Zeroizing<String>>,
    /// Certificates that sign the server's, in PEM; none: the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// The longest wait for a connection and for an answer.
    pub timeout: Duration,
    /// At the start, the longest wait while it loads its data; by default below the 90 s that systemd gives a start.
    pub loading_timeout: Duration,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("servers", &self.servers)
            .field("database", &self.database)
            .field("username", &self.username)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

section! {
    /// Where links are kept until they are used. All of it needs a restart.
    pub(super) struct StoreKeys {
        /// "memory:" keeps them in the process: a restart voids the links that were not used yet.
        /// "redb:///var/lib/hublatch/tokens.redb" keeps them in a file (and a marker beside it): for one hublatch whose links
        /// survive a restart. The directory must exist; the file is made, for its owner alone.
        /// "redis://127.0.0.1:6379/0", "rediss://redis.example.org" (TLS) or "redis+unix:///run/redis/redis.sock" keep them in a
        /// Redis or Valkey, 6.2 or newer, that several hublatch share: a primary with maxmemory-policy noeviction. A restart of
        /// Redis, or a failover, voids the links that were not used yet; it never makes one work twice.
        /// "redis+sentinel://10.0.0.1,10.0.0.2,10.0.0.3/mymaster" asks Sentinels (port 26379 unless written) which server is the
        /// primary of the service "mymaster"; a database may follow ("/mymaster/2"). "redis+cluster://10.0.0.1,10.0.0.2,10.0.0.3"
        /// (port 6379) finds the node of a cluster that holds our keys: all of them lie in one slot. "rediss+sentinel://" and
        /// "rediss+cluster://" are the same over TLS, for whichever servers are named as well.
        url: StoreLocation, text(place), default "memory:";
        /// For Redis: the ACL user ("" is the default user), and its password in a file that only its owner can read. Off this
        /// machine a Redis needs a password or TLS.
        username: Option<String>, text(any_or_none), default "";
        /// Its password, in a file that only its owner can read.
        password: Option<Secret>, secret(password), optional "/etc/hublatch/redis.password";
        /// For redis+sentinel://: the ACL user and the password of the Sentinels themselves, if they have any.
        sentinel_username: Option<String>, text(any_or_none), default "";
        /// The password of the Sentinels.
        sentinel_password: Option<Secret>, secret(password), optional "/etc/hublatch/sentinel.password";
        /// For rediss://: certificates, PEM, by which the server's is judged: those of authorities, or its own. "" takes the
        /// system's.
        ca_file: Option<Vec<u8>>, certificates(), default "";
        /// For Redis: what the names of all keys begin with. Hublatch that share one must have the same. A cluster needs the
        /// braces (a hash tag).
        prefix: String, text(prefix), default "{hublatch}:";
        /// For Redis: the longest wait for a connection and for an answer, from "100ms" to "30s".
        timeout: Duration, duration(TIMEOUT), default "2s";
        /// For Redis: at the start, the longest wait for one that takes no connections yet or still loads its data, up to "1h".
        /// systemd gives a start 90 s (TimeoutStartSec).
        loading_timeout: Duration, duration(Duration::ZERO..=Duration::from_hours(1)), default "1m";
        /// The most links that wait to be used. When it is reached, issuing answers 503; no valid link is dropped.
        max_tokens: usize, number(1..=TOKENS_MAX), default 1000000;
    }
}

/// What `store.url` alone says.
pub(super) enum StoreLocation {
    Memory,
    Redb(PathBuf),
    Redis(redis::RedisLocation),
}

/// `[store]`.
pub(super) fn store(file: &mut ConfigFile) -> Store {
    let keys = StoreKeys::read(file, "store");
    let url = match keys.url {
        StoreLocation::Memory => StoreUrl::Memory,
        StoreLocation::Redb(path) => StoreUrl::Redb(path),
        StoreLocation::Redis(redis::RedisLocation { servers, database }) => {
            if keys.password.is_none() && servers.is_open() {
                let message = "is a Redis that everybody in its network can use: give it a password and write it as \
                               store.password_file, or use rediss://";
                file.conflict("store.url", &["store.password"], message);
            }
            if matches!(servers, RedisServers::Cluster(_)) && !redis::has_hash_tag(&keys.prefix) {
                let message = "has no hash tag, by which a cluster keeps all of hublatch's keys in one slot; write for \
                               example \"{hublatch}:\"";
                file.conflict("store.prefix", &[], message);
            }
            StoreUrl::Redis(Box::new(Redis {
                servers,
                database,
                username: keys.username,
                password: keys.password.map(|secret| secret.text),
                sentinel_username: keys.sentinel_username,
                sentinel_password: keys.sentinel_password.map(|secret| secret.text),
                ca_pem: keys.ca_file,
                prefix: keys.prefix,
                timeout: keys.timeout,
                loading_timeout: keys.loading_timeout,
            }))
        }
    };
    Store { url, max_tokens: keys.max_tokens }
}

impl StoreUrl {
    /// `memory`, `redb` or `redis`: for the operator.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redb(_) => "redb",
            Self::Redis(_) => "redis",
        }
    }

    /// What is allowed but unwise.
    pub(super) fn warning(&self) -> Option<String> {
        match self {
            Self::Memory => {
                Some("store.url is \"memory:\": links that were not used yet do not survive a restart".to_owned())
            }
            Self::Redis(redis) if redis.servers.is_open() => Some(
                "store.url is a Redis without TLS on another machine: its password and who logs in can be read on the \
                 way; use rediss://"
                    .to_owned(),
            ),
            Self::Redb(_) | Self::Redis(_) => None,
        }
    }
}

fn place(text: &str) -> Result<StoreLocation, String> {
    if text == "memory:" {
        return Ok(StoreLocation::Memory);
    }
    if let Some(path) = text.strip_prefix("redb://") {
        let path = absolute_path(path).ok_or_else(|| format!("has no absolute path; {EXAMPLES}"))?;
        return Ok(StoreLocation::Redb(path));
    }
    match redis::place(text) {
        Some(place) => place.map(StoreLocation::Redis),
        None => Err(format!("is not a store; {EXAMPLES}")),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:{}".contains(&byte);
    let wrong = "is not a prefix; write at most 64 letters, digits and -_.:{}, for example \"{hublatch}:\"";
    plain_text(text, 64, plain, wrong)
}

fn password(text: &str) -> Result<(), &'static str> {
    if text.is_empty() { Err("is empty; leave it out if there is no password") } else { Ok(()) }
}

/// A file of certificates; none if empty. Not a secret, so whoever may can read it.
fn certificates() -> Kind<Option<Vec<u8>>> {
    text(any_or_none).and_then(|file, key, path: Option<String>| {
        let Some(path) = path else { return Ok(None) };
        let pem = tls::certificates_at(file, key, &path)?;
        if memchr::memmem::find(&pem, b"-----BEGIN CERTIFICATE-----").is_none() {
            let path = file.file_beside(&path);
            return Err(file.noted(key, format!("{} holds no certificate in PEM", path.display())));
        }
        Ok(Some(pem))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_memory_a_file_or_a_redis() {
        assert!(matches!(place("memory:"), Ok(StoreLocation::Memory)));
        assert!(
            matches!(place("redb:///a/b.redb"), Ok(StoreLocation::Redb(path)) if path.as_os_str() == "/a/b.redb")
        );
        assert!(matches!(place("redis+cluster://host"), Ok(StoreLocation::Redis(_))));
        for text in [
            "",
            "memory",
            "memory://",
            "redb:",
            "redb://tokens.redb",
            "redb:///",
            "redb:///var/",
            "redis:",
            "redis://",
            "http://host",
        ] {
            assert!(place(text).is_err(), "{text}");
        }
    }
}
