//! `[store]`: where live tokens are kept.
//!
//! An error is the rest of a sentence that begins with the value.

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::file::ConfigFile;
use super::parse::duration_within;
use super::secret::{Noted, Secret, refuse_exposed, secret};
use super::{RedisServers, redis};

/// Live tokens: more would not fit into the memory of any machine, and twice as many are counted by 32 bits.
pub(super) const TOKENS_MAX: usize = 1_000_000_000;
/// No bundle of certificates is larger.
const CA_BYTES_MAX: u64 = 1024 * 1024;

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

/// What `store.url` alone says.
enum Place {
    Memory,
    Redb(PathBuf),
    Redis(redis::Place),
}

pub(super) fn store(file: &mut ConfigFile) -> Option<Store> {
    let place = file.value("store.url", Place::Memory, place);
    let max_tokens = file.number("store.max_tokens", 1_000_000, 1..=TOKENS_MAX);
    let username = file.value("store.username", None, |text| Ok(some(text)));
    let password = password_in(file, "store.password");
    let sentinel_username = file.value("store.sentinel_username", None, |text| Ok(some(text)));
    let sentinel_password = password_in(file, "store.sentinel_password");
    let ca_pem = file.value("store.ca_file", None, |text| Ok(some(text)));
    let ca_pem = ca_pem.and_then(|path| path.map_or(Some(None), |path| certificates(file, &path).map(Some)));
    let prefix = file.value("store.prefix", "{hublatch}:".to_owned(), prefix);
    let range = Duration::from_millis(100)..=Duration::from_secs(30);
    let timeout = file.value("store.timeout", Duration::from_secs(2), duration_within(range));
    let range = Duration::ZERO..=Duration::from_hours(1);
    let loading_timeout = file.value("store.loading_timeout", Duration::from_mins(1), duration_within(range));
    let url = match place? {
        Place::Memory => StoreUrl::Memory,
        Place::Redb(path) => StoreUrl::Redb(path),
        Place::Redis(redis::Place { servers, database }) => {
            let (password, sentinel_password) = (password.ok()?, sentinel_password.ok()?);
            if password.is_none() && servers.is_open() {
                file.fault(
                    "store.url",
                    "is a Redis that everybody in its network can use: give it a password and write it as \
                     store.password_file, or use rediss://",
                );
                return None;
            }
            let prefix = prefix?;
            if matches!(servers, RedisServers::Cluster(_)) && !redis::has_hash_tag(&prefix) {
                file.fault(
                    "store.prefix",
                    "has no hash tag, by which a cluster keeps all of hublatch's keys in one slot; write for \
                     example \"{hublatch}:\"",
                );
                return None;
            }
            StoreUrl::Redis(Box::new(Redis {
                servers,
                database,
                username: username?,
                password,
                sentinel_username: sentinel_username?,
                sentinel_password,
                ca_pem: ca_pem?,
                prefix,
                timeout: timeout?,
                loading_timeout: loading_timeout?,
            }))
        }
    };
    Some(Store { url, max_tokens: max_tokens? })
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

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn place(text: &str) -> Result<Place, String> {
    if text == "memory:" {
        return Ok(Place::Memory);
    }
    if let Some(path) = text.strip_prefix("redb://") {
        return absolute(path).map(Place::Redb);
    }
    match redis::place(text) {
        Some(place) => place.map(Place::Redis),
        None => Err(format!("is not a store; {EXAMPLES}")),
    }
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(format!("has no absolute path; {EXAMPLES}"));
    }
    Ok(PathBuf::from(path))
}

fn prefix(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:{}".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
        return Err(
            "is not a prefix; write at most 64 letters, digits and -_.:{}, for example \"{hublatch}:\""
                .into(),
        );
    }
    Ok(text.to_owned())
}

fn password_in(file: &mut ConfigFile, key: &str) -> Result<Option<Zeroizing<String>>, Noted> {
    let Some(found) = secret(file, key)? else { return Ok(None) };
    refuse_exposed(file, &found);
    let Secret { text, key } = found;
    if text.is_empty() {
        file.fault(&key, "is empty; leave it out if there is no password");
        return Err(Noted);
    }
    Ok(Some(text))
}

/// Not a secret, so whoever may can read it.
fn certificates(file: &mut ConfigFile, path: &str) -> Option<Vec<u8>> {
    let path = file.file_at(path);
    let size = std::fs::metadata(&path).map(|metadata| metadata.len()).unwrap_or_default();
    let read = if size > CA_BYTES_MAX {
        Err("it is too long".to_owned())
    } else {
        std::fs::read(&path).map_err(|error| error.to_string())
    };
    match read {
        Ok(pem) if memchr::memmem::find(&pem, b"-----BEGIN CERTIFICATE-----").is_some() => Some(pem),
        Ok(_) => {
            file.fault("store.ca_file", format!("{} holds no certificate in PEM", path.display()));
            None
        }
        Err(why) => {
            file.fault("store.ca_file", format!("cannot read {}: {why}", path.display()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_memory_a_file_or_a_redis() {
        assert!(matches!(place("memory:"), Ok(Place::Memory)));
        assert!(
            matches!(place("redb:///a/b.redb"), Ok(Place::Redb(path)) if path.as_os_str() == "/a/b.redb")
        );
        assert!(matches!(place("redis+cluster://host"), Ok(Place::Redis(_))));
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
