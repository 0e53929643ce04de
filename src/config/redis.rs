//! `store.url` of a Redis or Valkey: one server, those that Sentinels watch, or a Cluster.
//!
//! An error is the rest of a sentence that begins with the value.

use std::net::IpAddr;
use std::path::PathBuf;

use url::Url;

use super::{RedisAddress, RedisServers};

/// Redis's own port, and its Sentinels'.
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// More Sentinels or nodes than anybody has to name.
const ADDRESSES_MAX: usize = 32;

const EXAMPLES: &str = "write for example \"redis://127.0.0.1:6379/0\", \"rediss://redis.example.org\", \
                        \"redis+unix:///run/redis/redis.sock\", \
                        \"redis+sentinel://10.0.0.1,10.0.0.2,10.0.0.3/mymaster\" or \
                        \"redis+cluster://10.0.0.1,10.0.0.2,10.0.0.3\"";

/// What the URL says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) servers: RedisServers,
    pub(super) database: i64,
}

/// The place that `text` names; none if it does not begin as such a URL does.
pub(super) fn place(text: &str) -> Option<Result<Place, String>> {
    let (scheme, rest) = text.split_once("://")?;
    Some(match scheme {
        "redis" => one(rest, false),
        "rediss" => one(rest, true),
        "redis+unix" => absolute(rest)
            .map(|path| Place { servers: RedisServers::One(RedisAddress::Unix(path)), database: 0 }),
        "redis+sentinel" => sentinels(rest, false),
        "rediss+sentinel" => sentinels(rest, true),
        "redis+cluster" => cluster(rest, false),
        "rediss+cluster" => cluster(rest, true),
        _ => return None,
    })
}

fn one(rest: &str, tls: bool) -> Result<Place, String> {
    let (host, path) = split(rest)?;
    let address = address(host, REDIS_PORT, tls)?;
    Ok(Place { servers: RedisServers::One(address), database: database(path)? })
}

/// `h1:p,h2:p,h3:p/service[/db]`, as other clients write it.
fn sentinels(rest: &str, tls: bool) -> Result<Place, String> {
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
    Ok(Place { servers, database: database(number)? })
}

fn cluster(rest: &str, tls: bool) -> Result<Place, String> {
    let (hosts, path) = split(rest)?;
    if !path.is_empty() {
        return Err("has a path; a cluster has one database alone, so leave it out".to_owned());
    }
    Ok(Place { servers: RedisServers::Cluster(addresses(hosts, REDIS_PORT, tls)?), database: 0 })
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

fn absolute(path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(format!("has no absolute path; {EXAMPLES}"));
    }
    Ok(PathBuf::from(path))
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
mod tests {
    use super::*;

    fn read(text: &str) -> Place {
        place(text).expect("a Redis").unwrap_or_else(|wrong| panic!("{text} {wrong}"))
    }

    fn tcp(host: &str, port: u16) -> RedisAddress {
        RedisAddress::Tcp { host: host.to_owned(), port }
    }

    fn tls(host: &str, port: u16) -> RedisAddress {
        RedisAddress::Tls { host: host.to_owned(), port }
    }

    #[test]
    fn one_server_has_a_host_a_port_and_a_database() {
        let one = |address, database| Place { servers: RedisServers::One(address), database };
        assert_eq!(read("redis://127.0.0.1"), one(tcp("127.0.0.1", 6379), 0));
        assert_eq!(read("redis://[::1]:7000/3"), one(tcp("::1", 7000), 3));
        assert_eq!(read("rediss://redis.example.org/"), one(tls("redis.example.org", 6379), 0));
        let socket = RedisAddress::Unix("/run/redis.sock".into());
        assert_eq!(read("redis+unix:///run/redis.sock"), one(socket, 0));
    }

    #[test]
    fn sentinels_have_a_service_and_perhaps_a_database() {
        let servers = |sentinels| RedisServers::Sentinels { sentinels, service: "my-master.1".to_owned() };
        assert_eq!(
            read("redis+sentinel://10.0.0.1,[::1]:7001,s3:7002/my-master.1/2"),
            Place {
                servers: servers(vec![tcp("10.0.0.1", 26379), tcp("::1", 7001), tcp("s3", 7002)]),
                database: 2
            }
        );
        assert_eq!(
            read("rediss+sentinel://s1/my-master.1"),
            Place { servers: servers(vec![tls("s1", 26379)]), database: 0 }
        );
    }

    #[test]
    fn a_cluster_has_addresses_alone() {
        let nodes = |nodes| Place { servers: RedisServers::Cluster(nodes), database: 0 };
        assert_eq!(read("redis+cluster://n1,n2:7001/"), nodes(vec![tcp("n1", 6379), tcp("n2", 7001)]));
        assert_eq!(read("rediss+cluster://n1"), nodes(vec![tls("n1", 6379)]));
    }

    #[test]
    fn what_is_not_quite_such_a_url_is_refused() {
        for text in [
            "redis://",
            "redis://:6379",
            "redis://host:0",
            "redis://host/x",
            "redis://host/0/1",
            "redis://host/-1",
            "redis://host?db=1",
            "redis://host,other",
            "redis+unix://run/redis.sock",
            "redis+sentinel://host",
            "redis+sentinel://host/",
            "redis+sentinel:///mymaster",
            "redis+sentinel://host/my master",
            "redis+sentinel://host/mymaster/x",
            "redis+sentinel://host,,other/mymaster",
            "redis+sentinel://host,host:26379/mymaster",
            "redis+cluster://",
            "redis+cluster://host/1",
            "redis+cluster://host,",
            "redis+cluster://host,host",
        ] {
            assert!(matches!(place(text), Some(Err(_))), "{text}");
        }
        for text in ["", "redis:", "http://host", "redis+other://host"] {
            assert!(place(text).is_none(), "{text}");
        }
        let many: Vec<String> = (0..=ADDRESSES_MAX).map(|number| format!("n{number}")).collect();
        assert!(matches!(place(&format!("redis+cluster://{}", many.join(","))), Some(Err(_))));
    }

    #[test]
    fn a_password_in_the_url_is_refused() {
        for text in [
            "redis://:secret@host",
            "redis://user:secret@host",
            "rediss://user@host",
            "redis+sentinel://user:secret@host,other/mymaster",
            "redis+cluster://host,user:secret@other",
        ] {
            let wrong = place(text).expect("a Redis").expect_err("refused");
            assert!(wrong.contains("store.password_file") && !wrong.contains("secret@"), "{wrong}");
        }
    }

    #[test]
    fn only_a_redis_on_this_machine_or_behind_tls_is_closed() {
        let is_open = |text: &str| read(text).servers.is_open();
        for text in [
            "redis://127.0.0.1",
            "redis://[::1]",
            "redis://localhost",
            "rediss://host",
            "redis+unix:///r",
            "rediss+cluster://host",
        ] {
            assert!(!is_open(text), "{text}");
        }
        for text in [
            "redis://10.0.0.1",
            "redis://redis",
            "redis://[fd00::1]",
            "redis://0.0.0.0",
            "redis+sentinel://127.0.0.1,10.0.0.2/m",
            "redis+cluster://127.0.0.1,10.0.0.2",
        ] {
            assert!(is_open(text), "{text}");
        }
    }

    #[test]
    fn a_hash_tag_is_the_first_pair_of_braces_with_something_in_it() {
        for prefix in ["{hublatch}:", "a{b}c", "{a}{b}", "{{a}"] {
            assert!(has_hash_tag(prefix), "{prefix}");
        }
        for prefix in ["hublatch:", "{}a", "{a", "}a{", "{}{a}"] {
            assert!(!has_hash_tag(prefix), "{prefix}");
        }
    }
}
