//! `store.url` of a Redis or Valkey: one server, those that Sentinels watch, or a Cluster.
//!
//! An error is the rest of a sentence that begins with the value.

use std::net::IpAddr;
use std::path::PathBuf;

use url::Url;

use super::parse::absolute_path;

/// Redis's own port, and its Sentinels'.
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// More Sentinels or nodes than anybody has to name.
const ADDRESSES_MAX: usize = 32;

const EXAMPLES: &str = "write for example \"redis://127.0.0.1:6379/0\", \"rediss://redis.example.org\", \
                        \"redis+unix:///run/redis/redis.sock\", \
                        \"redis+sentinel://10.0.0.1,10.0.0.2,10.0.0.3/mymaster\" or \
                        \"redis+cluster://10.0.0.1,10.0.0.2,10.0.0.3\"";

/// How the primary is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisServers {
    /// `redis://127.0.0.1:6379`: there is one server.
    One(RedisAddress),
    /// `redis+sentinel://10.0.0.1,10.0.0.2,10.0.0.3/mymaster`: Sentinels say which server it is.
    Sentinels {
        /// The Sentinels.
        sentinels: Vec<RedisAddress>,
        /// The name by which they know it.
        service: String,
    },
    /// `redis+cluster://10.0.0.1,10.0.0.2,10.0.0.3`: the node that holds the slot of all our keys.
    Cluster(Vec<RedisAddress>),
}

/// Where a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAddress {
    /// `redis://127.0.0.1:6379`.
    Tcp {
        /// Host name or address (IPv6 without brackets).
        host: String,
        /// Port.
        port: u16,
    },
    /// `rediss://redis.example.org:6379`.
    Tls {
        /// The host name that its certificate must have.
        host: String,
        /// Port.
        port: u16,
    },
    /// `redis+unix:///run/redis/redis.sock`.
    Unix(PathBuf),
}

/// What the URL says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RedisLocation {
    pub(super) servers: RedisServers,
    pub(super) database: i64,
}

/// The place that `text` names; none if it does not begin as such a URL does.
pub(super) fn place(text: &str) -> Option<Result<RedisLocation, String>> {
    let (scheme, rest) = text.split_once("://")?;
    Some(match scheme {
        "redis" => one(rest, false),
        "rediss" => one(rest, true),
        "redis+unix" => absolute_path(rest)
            .map(|path| RedisLocation { servers: RedisServers::One(RedisAddress::Unix(path)), database: 0 })
            .ok_or_else(|| format!("has no absolute path; {EXAMPLES}")),
        "redis+sentinel" => sentinels(rest, false),
        "rediss+sentinel" => sentinels(rest, true),
        "redis+cluster" => cluster(rest, false),
        "rediss+cluster" => cluster(rest, true),
        _ => return None,
    })
}

fn one(rest: &str, tls: bool) -> Result<RedisLocation, String> {
    let (host, path) = split(rest)?;
    let address = address(host, REDIS_PORT, tls)?;
    Ok(RedisLocation { servers: RedisServers::One(address), database: database(path)? })
}

/// `h1:p,h2:p,h3:p/service[/db]`, as other clients write it.
fn sentinels(rest: &str, tls: bool) -> Result<RedisLocation, String> {
    let (hosts, path) = split(rest)?;
    let sentinels = addresses(hosts, SENTINEL_PORT, tls)?;
    let (service, number) = path.split_once('/').unwrap_or((path, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if service.is_empty() || service.len() > 255 || !service.bytes().all(plain) {
        return Err("names no service; write the name by which the Sentinels know it, for example \
                    \"redis+sentinel://10.0.0.1,10.0.0.2,10.0.0.3/mymaster\""
            .to_owned());
    }
    let servers = RedisServers::Sentinels { sentinels, service: service.to_owned() };
    Ok(RedisLocation { servers, database: database(number)? })
}

fn cluster(rest: &str, tls: bool) -> Result<RedisLocation, String> {
    let (hosts, path) = split(rest)?;
    if !path.is_empty() {
        return Err("has a path; a cluster has one database alone, so leave it out".to_owned());
    }
    Ok(RedisLocation { servers: RedisServers::Cluster(addresses(hosts, REDIS_PORT, tls)?), database: 0 })
}

/// The host or hosts, and what follows the `/`.
fn split(rest: &str) -> Result<(&str, &str), String> {
    if rest.contains(['?', '#']) {
        return Err(format!("has a query or a fragment; {EXAMPLES}"));
    }
    if rest.contains('@') {
        // Not repeated by the caller, who shows values: this one is a secret.
        return Err(
            "has a name or password in it; write them as store.username and store.password_file".to_owned()
        );
    }
    Ok(rest.split_once('/').unwrap_or((rest, "")))
}

fn addresses(hosts: &str, port: u16, tls: bool) -> Result<Vec<RedisAddress>, String> {
    let addresses: Vec<RedisAddress> =
        hosts.split(',').map(|host| address(host, port, tls)).collect::<Result<_, _>>()?;
    if addresses.len() > ADDRESSES_MAX {
        return Err(format!("names more than {ADDRESSES_MAX} addresses; a few of them are enough"));
    }
    if let Some(twice) = (1..addresses.len()).find(|&at| addresses[..at].contains(&addresses[at])) {
        return Err(format!("names {} twice", addresses[twice]));
    }
    Ok(addresses)
}

/// `host`, `host:port` or `[::1]:port`.
fn address(text: &str, default: u16, tls: bool) -> Result<RedisAddress, String> {
    let url = Url::parse(&format!("redis://{text}")).map_err(|_| format!("is not a store; {EXAMPLES}"))?;
    let plain = |host: &&str| !host.is_empty() && !host.contains(',');
    let host = url.host_str().filter(plain).ok_or_else(|| format!("has no host; {EXAMPLES}"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port().unwrap_or(default);
    if port == 0 {
        return Err("has the port 0; write the real one".to_owned());
    }
    Ok(if tls { RedisAddress::Tls { host, port } } else { RedisAddress::Tcp { host, port } })
}

fn database(path: &str) -> Result<i64, String> {
    match path {
        "" => Ok(0),
        number => number.parse::<u16>().map(i64::from).map_err(|_| {
            "has a path that is not the number of a database; write for example \"/0\"".to_owned()
        }),
    }
}

/// Whether all names that begin with `prefix` lie in one slot of a cluster: what stands in its first pair of braces,
/// if it is not empty, is all that is hashed (Redis Cluster specification, "Hash tags").
pub(super) fn has_hash_tag(prefix: &str) -> bool {
    let tag = prefix.split_once('{').and_then(|(_, after)| after.split_once('}'));
    tag.is_some_and(|(tag, _)| !tag.is_empty())
}

impl RedisServers {
    /// Whether one of them is spoken to in the clear over a network.
    pub(super) fn is_open(&self) -> bool {
        self.addresses().iter().any(RedisAddress::is_open)
    }

    /// The addresses that are written.
    pub fn addresses(&self) -> &[RedisAddress] {
        match self {
            Self::One(address) => std::slice::from_ref(address),
            Self::Sentinels { sentinels: addresses, .. } | Self::Cluster(addresses) => addresses,
        }
    }
}

impl RedisAddress {
    /// Whether it is spoken to in the clear over a network.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => {
                let loopback = host.parse::<IpAddr>().map(|ip| ip.to_canonical().is_loopback());
                !loopback.unwrap_or(host == "localhost")
            }
            Self::Tls { .. } | Self::Unix(_) => false,
        }
    }
}

impl std::fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } | Self::Tls { host, port } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Tcp { host, port } | Self::Tls { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
