//! Headers on their way through: hop-by-hop ones end here, forwarding ones are ours, everything else stays.
//!
//! Order matters: hop-by-hop first, then identity, then ours are added. A client's `Connection: REMOTE_USER` must not
//! remove what we add.

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, REFERER, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{HeaderMap, Version};
use ipnet::IpNet;

use super::header_names::{HOP_BY_HOP, is_forwarding, is_hop_by_hop};
use super::header_scan::HeaderScan;
use crate::config::PublicUrl;
use crate::login::parameter::Parameter;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_SCHEME: HeaderName = HeaderName::from_static("x-scheme");

/// Where a request really came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The client: the peer, or what a trusted proxy says.
    pub client: IpAddr,
    /// Whether the client speaks https to us or to a trusted proxy.
    pub secure: bool,
}

/// What becomes of the headers that say where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardingMode {
    /// Only ours arrive.
    Own,
    /// Ours are appended to those that came, as configurable-http-proxy does.
    Append,
    /// They stay as they came.
    Untouched,
}

/// Whom to believe, and what to say otherwise.
#[derive(Debug)]
pub struct Forwarding {
    mode: ForwardingMode,
    trusted: Vec<IpNet>,
    secure: bool,
    port: HeaderValue,
}

impl Forwarding {
    /// Believes `trusted` peers; says the scheme and port of `public` otherwise.
    pub fn new(trusted: Vec<IpNet>, public: &PublicUrl) -> Self {
        let mode = ForwardingMode::Own;
        Self { mode, trusted, secure: public.secure, port: HeaderValue::from(public.port) }
    }

    /// The same in another mode.
    #[must_use]
    pub fn in_mode(self, mode: ForwardingMode) -> Self {
        Self { mode, ..self }
    }

    /// Leaves in `found` what must go: in other modes than our own, what came may stay.
    pub fn keep_theirs(&self, found: &mut HeaderScan) {
        if self.mode != ForwardingMode::Own {
            found.unwanted.retain(|name| !is_forwarding(name.as_str().as_bytes()));
        }
    }

    /// Where the request with `headers` came from: read before they are stripped.
    pub fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> Origin {
        if !self.trusts(peer) {
            return Origin { client: peer, secure: self.secure };
        }
        // From the right, the first address that is not a trusted proxy's: what stands left of it, anybody may have
        // written.
        let mut client = peer;
        let lines: Vec<&str> =
            headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Some(address) = address(entry) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        let mut schemes = headers.get_all(X_FORWARDED_PROTO).iter();
        let secure = match (schemes.next().map(HeaderValue::as_bytes), schemes.next()) {
            (Some(b"https"), None) => true,
            (Some(b"http"), None) => false,
            _ => self.secure,
        };
        Origin { client, secure }
    }

    /// Whether `address` is a trusted proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// Says where the request came from. `X-Scheme` because the hub's own proxy appends to `X-Forwarded-Proto`, of
    /// which the hub believes the last.
    ///
    /// `client`: the client's address as a header value, where there is one already.
    pub fn add(&self, headers: &mut HeaderMap, origin: Origin, client: Option<HeaderValue>) {
        match self.mode {
            ForwardingMode::Own => {}
            ForwardingMode::Append => return self.append(headers, origin),
            ForwardingMode::Untouched => return,
        }
        // An address is always a header value.
        let client = client.unwrap_or_else(|| {
            HeaderValue::from_str(&origin.client.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("0.0.0.0"))
        });
        let scheme = HeaderValue::from_static(if origin.secure { "https" } else { "http" });
        let port = match (origin.secure, self.secure) {
            (true, false) => HeaderValue::from_static("443"),
            (false, true) => HeaderValue::from_static("80"),
            (true, true) | (false, false) => self.port.clone(),
        };
        headers.insert(X_REAL_IP, client.clone());
        headers.insert(X_FORWARDED_FOR, client);
        headers.insert(X_SCHEME, scheme.clone());
        headers.insert(X_FORWARDED_PROTO, scheme);
        headers.insert(X_FORWARDED_PORT, port);
    }
}

impl Forwarding {
    /// What configurable-http-proxy adds: to each list one more, and the host if nobody has said it yet.
    fn append(&self, headers: &mut HeaderMap, origin: Origin) {
        let host = headers.get(HOST).cloned();
        let of_host = host.as_ref().and_then(|host| {
            let (_, port) = host.to_str().ok()?.rsplit_once(':')?;
            port.parse::<u16>().ok()
        });
        let port = of_host.unwrap_or(if self.secure { 443 } else { 80 });
        let scheme = if self.secure { "https" } else { "http" };
        for (name, ours) in [
            (X_FORWARDED_FOR, origin.client.to_string()),
            (X_FORWARDED_PORT, port.to_string()),
            (X_FORWARDED_PROTO, scheme.to_owned()),
        ] {
            let mut all = Vec::new();
            for line in headers.get_all(&name) {
                all.extend_from_slice(line.as_bytes());
                all.push(b',');
            }
            all.extend_from_slice(ours.as_bytes());
            if let Ok(all) = HeaderValue::from_bytes(&all) {
                headers.insert(name, all);
            }
        }
        if let Some(host) = host.filter(|_| !headers.contains_key(X_FORWARDED_HOST)) {
            headers.insert(X_FORWARDED_HOST, host);
        }
    }
}

/// `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]:443` or `192.0.2.1:443`.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.parse::<IpAddr>().ok();
    let with_port = || entry.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare.or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

/// The upgrade that a request asks for: `Connection: upgrade` with one protocol in `Upgrade`, and not by HTTP/1.0
/// (RFC 9110 § 7.8). Not h2c: the tunnel would carry requests that nobody has looked at.
pub fn asked_upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let upgrade = headers.get(UPGRADE).filter(|_| version == Version::HTTP_11)?;
    let asked = connection_names(headers).any(|name| name.eq_ignore_ascii_case("upgrade"));
    let value = upgrade.as_bytes();
    let is_one = value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+/".contains(byte));
    let name = value.split(|byte| *byte == b'/').next().unwrap_or_default();
    let is_http = ["h2c", "h2", "http"].iter().any(|http| name.eq_ignore_ascii_case(http.as_bytes()));
    (asked && is_one && !is_http).then(|| upgrade.clone())
}

fn connection_names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Removes what must not go upstream from a request: hop-by-hop headers and what `Connection` names, every spelling of
/// an identity, every forwarding header, a Referer with a token.
pub fn strip_request(headers: &mut HeaderMap, found: HeaderScan, parameter: &Parameter) {
    if found.connection {
        strip_named_by_connection(headers);
        headers.remove(CONNECTION);
    }
    for name in found.unwanted {
        headers.remove(name);
    }
    if found.referer && headers.get_all(REFERER).iter().any(|value| parameter.mentions(value)) {
        headers.remove(REFERER);
    }
}

/// Removes hop-by-hop headers from a response; trailers may follow it, so `Trailer` stays.
pub fn strip_response(headers: &mut HeaderMap) {
    // Nearly every response has none of them, nor then a `Connection` that names others.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    strip_named_by_connection(headers);
    // RFC 9112 § 6.3: Transfer-Encoding goes before Content-Length, which must not be passed on then.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in HOP_BY_HOP.iter().filter(|name| *name != TRAILER) {
        headers.remove(name);
    }
}

/// RFC 9110 § 7.6.1, but never what frames, routes or authenticates a request: a client must not make those
/// disappear on the way.
fn strip_named_by_connection(headers: &mut HeaderMap) {
    // What nearly every request says, or nothing at all.
    if headers.get_all(CONNECTION).iter().all(|value| value == "keep-alive" || value == "close") {
        return;
    }
    let named: Vec<HeaderName> = connection_names(headers)
        .filter(|name| !name.eq_ignore_ascii_case("close") && !name.eq_ignore_ascii_case("keep-alive"))
        .filter_map(|name| name.parse().ok())
        .filter(|name: &HeaderName| !is_kept(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

fn is_kept(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "authorization"
            | "cookie"
            | "transfer-encoding"
            | "upgrade"
            | "sec-websocket-key"
            | "x-request-id"
    ) || name.as_str().starts_with("content-")
}
