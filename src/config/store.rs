//! `[store]`: where live tokens are kept.
//!
//! An error is the rest of a sentence that begins with the value.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

use super::file::ConfigFile;
use super::parse::duration_within;
use super::secret::{Noted, Secret, refuse_exposed, secret};
use super::{Redis, RedisAddress, Store, StoreUrl};

/// Live tokens: more would not fit into the memory of any machine, and twice as many are counted by 32 bits.
pub(super) const TOKENS_MAX: usize = 1_000_000_000;
/// No bundle of certificates is larger.
const CA_BYTES_MAX: u64 = 1024 * 1024;
/// Redis's own port.
const REDIS_PORT: u16 = 6379;

const EXAMPLES: &str = "write \"memory:\", a file, for example \"redb:///var/lib/hublatch/tokens.redb\", or a Redis or \
                        Valkey, for example \"redis://127.0.0.1:6379/0\", \"rediss://redis.example.org\" or \
                        \"redis+unix:///run/redis/redis.sock\"";

/// What `store.url` alone says.
enum Place {
    Memory,
    Redb(PathBuf),
    Redis(RedisAddress, i64),
}

pub(super) fn store(file: &mut ConfigFile) -> Option<Store> {
    let place = file.value("store.url", Place::Memory, place);
    let max_tokens = file.number("store.max_tokens", 1_000_000, 1..=TOKENS_MAX);
    let username = file.value("store.username", None, |text| Ok(some(text)));
    let password = password(file);
    let ca_pem = file.value("store.ca_file", None, |text| Ok(some(text)));
    let ca_pem = ca_pem.and_then(|path| path.map_or(Some(None), |path| certificates(file, &path).map(Some)));
    let prefix = file.value("store.prefix", "{hublatch}:".to_owned(), prefix);
    let range = Duration::from_millis(100)..=Duration::from_secs(30);
    let timeout = file.value("store.timeout", Duration::from_secs(2), duration_within(range));
    let url = match place? {
        Place::Memory => StoreUrl::Memory,
        Place::Redb(path) => StoreUrl::Redb(path),
        Place::Redis(address, database) => {
            let password = password.ok()?;
            if password.is_none() && address.is_open() {
                file.fault(
                    "store.url",
                    "is a Redis that everybody in its network can use: give it a password and write it as \
                     store.password_file, or use rediss://",
                );
                return None;
            }
            StoreUrl::Redis(Redis {
                address,
                database,
                username: username?,
                password,
                ca_pem: ca_pem?,
                prefix: prefix?,
                timeout: timeout?,
            })
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
            Self::Redis(redis) if redis.address.is_open() => Some(
                "store.url is a Redis without TLS on another machine: its password and who logs in can be read on the \
                 way; use rediss://"
                    .to_owned(),
            ),
            Self::Redb(_) | Self::Redis(_) => None,
        }
    }
}

impl RedisAddress {
    /// Whether it is spoken to in the clear over a network.
    fn is_open(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => {
                let loopback = host.parse::<IpAddr>().map(|ip| ip.to_canonical().is_loopback());
                !loopback.unwrap_or(host == "localhost")
            }
            Self::Tls { .. } | Self::Unix(_) => false,
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
    if let Some(path) = text.strip_prefix("redis+unix://") {
        return absolute(path).map(|path| Place::Redis(RedisAddress::Unix(path), 0));
    }
    let url = Url::parse(text).map_err(|_| format!("is not a store; {EXAMPLES}"))?;
    if url.password().is_some() || !url.username().is_empty() {
        // Not repeated by the caller, who shows values: this one is a secret.
        return Err(
            "has a name or password in it; write them as store.username and store.password_file".to_owned()
        );
    }
    let tls = match url.scheme() {
        "redis" => false,
        "rediss" => true,
        _ => return Err(format!("is not a store; {EXAMPLES}")),
    };
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("has a query or a fragment; {EXAMPLES}"));
    }
    let host =
        url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| format!("has no host; {EXAMPLES}"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port().unwrap_or(REDIS_PORT);
    if port == 0 {
        return Err("has the port 0; write the real one".to_owned());
    }
    let database = match url.path().strip_prefix('/').unwrap_or_default() {
        "" => 0,
        number => number.parse::<u16>().map(i64::from).map_err(|_| {
            "has a path that is not the number of a database; write for example \"/0\"".to_owned()
        })?,
    };
    let address = if tls { RedisAddress::Tls { host, port } } else { RedisAddress::Tcp { host, port } };
    Ok(Place::Redis(address, database))
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

fn password(file: &mut ConfigFile) -> Result<Option<Zeroizing<String>>, Noted> {
    let Some(found) = secret(file, "store.password")? else { return Ok(None) };
    refuse_exposed(file, &found);
    let Secret { text, key } = found;
    if text.is_empty() {
        file.fault(&key, "is empty; leave it out if Redis has no password");
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

    fn redis(text: &str) -> (RedisAddress, i64) {
        match place(text) {
            Ok(Place::Redis(address, database)) => (address, database),
            Ok(Place::Memory | Place::Redb(_)) => panic!("{text} is no Redis"),
            Err(wrong) => panic!("{text} {wrong}"),
        }
    }

    #[test]
    fn a_store_is_memory_a_file_or_a_redis() {
        assert!(matches!(place("memory:"), Ok(Place::Memory)));
        assert!(
            matches!(place("redb:///a/b.redb"), Ok(Place::Redb(path)) if path.as_os_str() == "/a/b.redb")
        );
        let tcp = |host: &str, port| RedisAddress::Tcp { host: host.to_owned(), port };
        assert_eq!(redis("redis://127.0.0.1"), (tcp("127.0.0.1", 6379), 0));
        assert_eq!(redis("redis://[::1]:7000/3"), (tcp("::1", 7000), 3));
        let tls = RedisAddress::Tls { host: "redis.example.org".to_owned(), port: 6379 };
        assert_eq!(redis("rediss://redis.example.org/"), (tls, 0));
        assert_eq!(redis("redis+unix:///run/redis.sock"), (RedisAddress::Unix("/run/redis.sock".into()), 0));
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
            "redis://:6379",
            "redis://host:0",
            "redis://host/x",
            "redis://host/0/1",
            "redis://host/-1",
            "redis://host?db=1",
            "redis+unix://run/redis.sock",
            "redis+sentinel://host",
            "http://host",
        ] {
            assert!(place(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_in_the_url_is_refused() {
        for text in ["redis://:secret@host", "redis://user:secret@host", "rediss://user@host"] {
            let wrong = place(text).err().expect("refused");
            assert!(wrong.contains("store.password_file") && !wrong.contains("secret@"), "{wrong}");
        }
    }

    #[test]
    fn only_a_redis_on_this_machine_or_behind_tls_is_closed() {
        for text in
            ["redis://127.0.0.1", "redis://[::1]", "redis://localhost", "rediss://host", "redis+unix:///r"]
        {
            assert!(!redis(text).0.is_open(), "{text}");
        }
        for text in ["redis://10.0.0.1", "redis://redis", "redis://[fd00::1]", "redis://0.0.0.0"] {
            assert!(redis(text).0.is_open(), "{text}");
        }
    }
}
