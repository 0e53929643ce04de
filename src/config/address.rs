//! Addresses of listeners, of the hub and of trusted proxies, as they are written.
//!
//! An error is the rest of a sentence that begins with the value.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::origin::{host, origin, origin_only, port, web_url};
use super::parse::absolute_path;
use super::{Listen, UpstreamAddress};
use ipnet::IpNet;

/// The longest path of a unix socket: `sun_path` of Linux without its NUL (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listen {
    /// Whether only this machine can connect.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether binding `other` as well would be an error, or would hide one of the two.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(two)) => {
                one.port() != 0
                    && one.port() == two.port()
                    && (covers(one.ip(), two.ip()) || covers(two.ip(), one.ip()))
            }
            (Self::Unix(one), Self::Unix(two)) => one == two,
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }

    /// Whether a connection to `upstream` would come back to this listener.
    pub(super) fn is_reached_by(&self, upstream: &UpstreamAddress) -> bool {
        match (self, upstream) {
            (Self::Tcp(address), UpstreamAddress::Tcp { host, port }) => {
                let own = address.ip();
                // "[::]" takes IPv4 as well, unless another listener of ours does.
                let takes = |ip: &IpAddr| {
                    own == *ip || (ip.is_loopback() && (covers(own, *ip) || own == UNSPECIFIED_V6))
                };
                address.port() == *port && addresses(host).iter().any(takes)
            }
            (Self::Unix(own), UpstreamAddress::Unix(path)) => own == path,
            (Self::Tcp(_), UpstreamAddress::Unix(_)) | (Self::Unix(_), UpstreamAddress::Tcp { .. }) => false,
        }
    }
}

const UNSPECIFIED_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// The addresses of `host` that are known without asking anybody.
fn addresses(host: &str) -> Vec<IpAddr> {
    let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        // Connecting to 0.0.0.0 or [::] reaches loopback.
        Ok(ip) if ip.is_unspecified() => vec![if ip.is_ipv4() { v4 } else { v6 }],
        Ok(ip) => vec![ip],
        Err(_) if host == "localhost" => vec![v4, v6],
        Err(_) => Vec::new(),
    }
}

/// Whether a listener on `wide` takes connections to `narrow`, of the same family.
fn covers(wide: IpAddr, narrow: IpAddr) -> bool {
    wide == narrow || (wide.is_unspecified() && wide.is_ipv4() == narrow.is_ipv4())
}

/// An address to listen on.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(Listen::Unix);
    }
    let address: SocketAddr = text.parse().map_err(|_| {
        "is not an address to listen on; write an IP address and a port, for example \"127.0.0.1:8000\" or \
         \"[::]:8000\", or a socket, for example \"unix:/run/hublatch/public.sock\""
    })?;
    let (written, plain) = (address.ip(), address.ip().to_canonical());
    if written != plain {
        return Err(format!("is an IPv4 address in IPv6; write \"{plain}:{}\"", address.port()));
    }
    Ok(Listen::Tcp(address))
}

pub(super) fn socket_path(path: &str) -> Result<PathBuf, String> {
    let example =
        "is not the absolute path of a socket; write for example \"unix:/run/hublatch/public.sock\"";
    let socket = absolute_path(path).ok_or(example)?;
    if path.len() > SOCKET_PATH_BYTES_MAX {
        return Err(format!(
            "is longer than the {SOCKET_PATH_BYTES_MAX} bytes that a socket's path can have"
        ));
    }
    Ok(socket)
}

/// Where the hub's public proxy answers.
pub(super) fn upstream(text: &str) -> Result<UpstreamAddress, String> {
    let example = "write for example \"http://127.0.0.1:8400\" or \"unix:/run/jupyterhub/proxy.sock\"";
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(UpstreamAddress::Unix);
    }
    let url = web_url(text).ok_or_else(|| format!("is not the address of a hub; {example}"))?;
    origin_only(&url).map_err(|extra| {
        format!("has {extra}; write {:?} (and a path, if any, as hub.base_url)", origin(&url))
    })?;
    Ok(UpstreamAddress::Tcp { host: host(&url).to_owned(), port: port(&url)? })
}

/// Proxies to trust: `10.0.0.0/8`, or one address.
pub(super) fn trusted_network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(ip) => IpNet::from(ip),
        Err(_) => text.parse().map_err(|_| {
            "is not a network; write an address or a CIDR, for example \"10.0.0.5\" or \"10.0.0.0/8\""
                .to_owned()
        })?,
    };
    let every_ipv4 = Ipv6Addr::from(0xffff_0000_0000); // ::ffff:0.0.0.0, the first of the mapped addresses
    if network.prefix_len() == 0 || (network.prefix_len() <= 96 && network.contains(&IpAddr::V6(every_ipv4)))
    {
        return Err(
            "trusts the whole internet to say who a client is; write the networks of your own proxies".into(),
        );
    }
    if network.addr() != network.network() {
        return Err(format!(
            "has an address inside the network; write {:?} for all of it",
            network.trunc().to_string()
        ));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Listen {
        Listen::Tcp(text.parse().expect("an address"))
    }

    #[test]
    fn a_listener_is_an_address_or_a_socket() {
        assert_eq!(listen("127.0.0.1:8000"), Ok(tcp("127.0.0.1:8000")));
        assert_eq!(listen("[::1]:0"), Ok(tcp("[::1]:0")));
        assert_eq!(listen("unix:/run/a.sock"), Ok(Listen::Unix("/run/a.sock".into())));
        for text in [
            "",
            "8000",
            ":8000",
            "localhost:8000",
            "*:8000",
            "127.0.0.1",
            "127.0.0.1:65536",
            "::1:8000",
            "http://127.0.0.1:8000",
            "unix:",
            "unix:a.sock",
            "unix:/",
            "unix:/run/",
            "unix:/a\0b",
            "[::ffff:127.0.0.1]:8000",
        ] {
            assert!(listen(text).is_err(), "{text}");
        }
        assert!(listen(&format!("unix:/{}", "a".repeat(106))).is_ok());
        assert!(listen(&format!("unix:/{}", "a".repeat(107))).is_err());
    }

    #[test]
    fn listeners_overlap_by_wildcard_but_not_on_port_zero() {
        for (one, two) in
            [("127.0.0.1:1", "127.0.0.1:1"), ("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1")]
        {
            assert!(tcp(one).overlaps(&tcp(two)) && tcp(two).overlaps(&tcp(one)), "{one} {two}");
        }
        for (one, two) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:1", "127.0.0.1:2"),
            ("127.0.0.1:1", "127.0.0.2:1"),
            ("0.0.0.0:1", "[::1]:1"),
            ("[::]:1", "127.0.0.1:1"),
        ] {
            assert!(!tcp(one).overlaps(&tcp(two)) && !tcp(two).overlaps(&tcp(one)), "{one} {two}");
        }
    }

    #[test]
    fn a_hub_that_is_our_own_listener_is_seen() {
        let reached = |own: &str, hub: &str| tcp(own).is_reached_by(&upstream(hub).expect("a hub"));
        for (own, hub) in [
            ("127.0.0.1:1", "http://127.0.0.1:1"),
            ("0.0.0.0:1", "http://localhost:1"),
            ("0.0.0.0:1", "http://127.0.0.9:1"),
            ("[::]:1", "http://localhost:1"),
            ("[::]:1", "http://127.0.0.1:1"),
            ("[::1]:80", "http://localhost"),
            ("10.0.0.5:1", "http://10.0.0.5:1"),
            ("0.0.0.0:1", "http://0.0.0.0:1"),
        ] {
            assert!(reached(own, hub), "{own} {hub}");
        }
        for (own, hub) in [
            ("127.0.0.1:1", "http://127.0.0.1:2"),
            ("0.0.0.0:1", "http://10.0.0.5:1"),
            ("10.0.0.5:1", "http://127.0.0.1:1"),
            ("127.0.0.1:1", "http://127.0.0.2:1"),
            ("0.0.0.0:1", "http://[::1]:1"),
            ("127.0.0.1:1", "http://hub:1"),
            ("127.0.0.1:1", "unix:/run/hub.sock"),
        ] {
            assert!(!reached(own, hub), "{own} {hub}");
        }
        assert!(Listen::Unix("/a".into()).is_reached_by(&UpstreamAddress::Unix("/a".into())));
    }

    #[test]
    fn the_hub_is_http_or_a_socket_without_a_path() {
        let host = |text: &str| match upstream(text) {
            Ok(UpstreamAddress::Tcp { host, port }) => (host, port),
            other => panic!("{other:?}"),
        };
        assert_eq!(host("http://hub"), ("hub".to_owned(), 80));
        assert_eq!(host("https://hub"), ("hub".to_owned(), 443));
        assert_eq!(host("http://[::1]:8400/"), ("::1".to_owned(), 8400));
        assert_eq!(upstream("unix:/run/hub.sock"), Ok(UpstreamAddress::Unix("/run/hub.sock".into())));
        for text in [
            "",
            "hub:8400",
            "127.0.0.1:8400",
            "http://hub/jupyter/",
            "http://hub:0",
            "ws://hub",
            "https://hub/jupyter/",
            "unix:hub.sock",
        ] {
            assert!(upstream(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_trusted_network_is_never_everything() {
        for text in ["10.0.0.0/8", "192.0.2.7", "192.0.2.7/32", "fd00::/8", "::1"] {
            assert!(trusted_network(text).is_ok(), "{text}");
        }
        for text in
            ["0.0.0.0/0", "::/0", "::ffff:0:0/96", "::/1", "10.0.0.5/8", "", "10.0.0.0/33", "proxy", "*"]
        {
            assert!(trusted_network(text).is_err(), "{text}");
        }
    }
}
