//! Where a server is: `http`, `https` or a unix socket, and the path before all of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::config::UpstreamAddress;

/// A server that routes lead to.
#[derive(Debug)]
pub struct Target {
    /// Tells it from every other target that there has been.
    id: u64,
    text: String,
    scheme: Scheme,
    address: UpstreamAddress,
    /// `127.0.0.1:8888`: what stands in `Host` where that is the target's own.
    authority: String,
    /// What stands before every path: empty, or `/some/prefix`.
    path: String,
    query: Option<String>,
    place: String,
    health: Arc<Health>,
}

/// What all threads know of a target. Outlives it, as its connections do.
#[derive(Debug)]
pub struct Health {
    /// Connections that are open.
    pub connections: AtomicUsize,
    /// Tunnels that are open, or about to be.
    pub tunnels: AtomicUsize,
    /// Until when nobody need try to connect, in milliseconds since this was made; 0: anybody may. By a clock that is never
    /// set back: a server would be taken to refuse for as long as the time of day was.
    refused_until: AtomicU64,
    began: Instant,
}

impl Health {
    /// It has refused a connection: for `span` nobody need try.
    pub fn refuses_for(&self, span: Duration) {
        self.refused_until.store(self.millis() + millis(span), Ordering::Relaxed);
    }

    /// Whether it has just refused a connection.
    pub fn is_refusing(&self) -> bool {
        let until = self.refused_until.load(Ordering::Relaxed);
        until != 0 && until > self.millis()
    }

    /// Whatever refused a moment ago may have been another server there.
    pub fn forget_refusal(&self) {
        self.refused_until.store(0, Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            connections: AtomicUsize::default(),
            tunnels: AtomicUsize::default(),
            refused_until: AtomicU64::default(),
            began: Instant::now(),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// What was written is no address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no URL of a server")]
pub struct TargetError(String);

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Target {
    /// `http://127.0.0.1:8888`, `https://[::1]:8443/prefix`, `http+unix://%2Frun%2Fhub.sock`.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let wrong = || TargetError(text.to_owned());
        let (scheme, socket) = match text.split_once("://") {
            Some(("http+unix" | "unix+http", rest)) => (Scheme::Http, Some(rest)),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, None),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, None),
            Some(_) | None => return Err(wrong()),
        };
        let (address, authority, path, query) = if let Some(rest) = socket {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let file = percent_decode_str(host).decode_utf8().map_err(|_| wrong())?;
            if !file.starts_with('/') {
                return Err(wrong());
            }
            (UpstreamAddress::Unix(PathBuf::from(&*file)), "localhost".to_owned(), path.to_owned(), None)
        } else {
            let url = Url::parse(text).map_err(|_| wrong())?;
            let host = match url.host().ok_or_else(wrong)? {
                Host::Domain(name) => name.to_owned(),
                Host::Ipv4(ip) => ip.to_string(),
                Host::Ipv6(ip) => ip.to_string(),
            };
            let port = url.port_or_known_default().filter(|port| *port != 0).ok_or_else(wrong)?;
            let name = url.host_str().unwrap_or_default();
            let authority = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
            let query = url.query().filter(|query| !query.is_empty()).map(str::to_owned);
            (UpstreamAddress::Tcp { host, port }, authority, url.path().to_owned(), query)
        };
        let place = match &address {
            UpstreamAddress::Tcp { host, port } => format!("{host}:{port}"),
            UpstreamAddress::Unix(path) => format!("unix:{}", path.display()),
        };
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            text: text.to_owned(),
            scheme,
            address,
            authority,
            path: path.trim_end_matches('/').to_owned(),
            query,
            place,
            health: Arc::default(),
        })
    }

    /// Tells it from every other target that there has been.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where to connect.
    pub fn address(&self) -> &UpstreamAddress {
        &self.address
    }

    /// What stands in `Host` where that is the target's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What stands before every path: empty, or `/some/prefix`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A query that joins those of requests.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// What all threads know of it.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// The machine and port, or the socket: `127.0.0.1:8081`, `unix:/run/hub.sock`.
    pub fn place(&self) -> &str {
        &self.place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_machine_or_a_socket_and_a_path() {
        let of = |text| {
            Target::parse(text).map(|t| (t.place().to_owned(), t.authority().to_owned(), t.path().to_owned()))
        };
        let is = |text, place: &str, authority: &str, path: &str| {
            assert_eq!(of(text), Ok((place.to_owned(), authority.to_owned(), path.to_owned())), "{text}");
        };
        is("http://127.0.0.1:8888", "127.0.0.1:8888", "127.0.0.1:8888", "");
        is("http://hub/", "hub:80", "hub", "");
        is("https://[::1]:8443/a/b/", "::1:8443", "[::1]:8443", "/a/b");
        is("http+unix://%2Frun%2Fhub.sock", "unix:/run/hub.sock", "localhost", "");
        is("unix+http://%2Frun%2Fhub.sock/x", "unix:/run/hub.sock", "localhost", "/x");
        for text in ["", "hub", "ftp://hub", "http://", "http+unix://run", "/x", "http://hub:0"] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
