//! Where to listen and where the hub is, from the two URLs that `hublatch init` is given.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::{Host, Url};

use crate::app::PROXY_API_PORT;

/// `http://127.0.0.1:8400/jupyter` is a hub at `http://127.0.0.1:8400` whose `base_url` is `/jupyter/`.
pub(super) fn hub_and_base(text: &str) -> (String, String) {
    match Url::parse(text) {
        Ok(mut url) if url.has_host() && url.path() != "/" => {
            let base = format!("{}/", url.path().trim_end_matches('/'));
            url.set_path("");
            (url.as_str().trim_end_matches('/').to_owned(), base)
        }
        // If it is wrong, validation says so.
        _ => (text.to_owned(), "/".to_owned()),
    }
}

/// Where to listen for what browsers type: on loopback, if they are on this machine or meet a TLS front first.
pub(super) fn public_listen(url: &str) -> SocketAddr {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 8000));
    let Ok(url) = Url::parse(url) else { return loopback };
    if url.scheme() != "http" {
        return loopback;
    }
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) if ip.is_loopback() => IpAddr::from(ip),
        Some(Host::Ipv6(ip)) if ip.is_loopback() => IpAddr::from(ip),
        Some(Host::Domain("localhost")) => loopback.ip(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, url.port_or_known_default().unwrap_or(loopback.port()))
}

/// The usual management port, or the next that neither browsers nor the hub use. Of the hub's own proxy (`is_proxy`) it is
/// where the hub writes its routes.
pub(super) fn management_listen(public: SocketAddr, hub: &str, is_proxy: bool) -> SocketAddr {
    let first = if is_proxy { PROXY_API_PORT } else { 8010 };
    let port = free_port(first, &[Some(public.port()), port_of(hub)]);
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The line by which the hub's own proxy moves its API away from a port of ours; none if it need not, as on another
/// machine.
pub(super) fn proxy_api(public_url: &str, hub_url: &str) -> Option<String> {
    let (hub, _) = hub_and_base(hub_url);
    let public = public_listen(public_url);
    let management = management_listen(public, &hub, false).port();
    if public.port() != PROXY_API_PORT {
        return None;
    }
    let port = free_port(8402, &[Some(public.port()), port_of(&hub), Some(management)]);
    is_here(&hub).then(|| {
        format!(
            "    c.ConfigurableHTTPProxy.api_url = \"http://127.0.0.1:{port}\"  \
             # its default, {PROXY_API_PORT}, is hublatch's public port\n"
        )
    })
}

/// Whether the hub's proxy is on this machine.
pub(super) fn is_here(hub: &str) -> bool {
    Url::parse(hub).is_ok_and(|url| match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => true,
    })
}

fn port_of(url: &str) -> Option<u16> {
    Url::parse(url).ok().and_then(|url| url.port_or_known_default())
}

/// `first`, or the next port that is not `taken`.
fn free_port(first: u16, taken: &[Option<u16>]) -> u16 {
    (first..=u16::MAX).find(|port| !taken.contains(&Some(*port))).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_url_with_a_path_is_a_hub_with_a_base_url() {
        for (text, hub, base) in [
            ("http://127.0.0.1:8400", "http://127.0.0.1:8400", "/"),
            ("http://127.0.0.1:8400/", "http://127.0.0.1:8400/", "/"),
            ("http://hub:8400/jupyter", "http://hub:8400", "/jupyter/"),
            ("http://hub/a/b/", "http://hub", "/a/b/"),
            ("unix:/run/hub.sock", "unix:/run/hub.sock", "/"),
        ] {
            assert_eq!(hub_and_base(text), (hub.to_owned(), base.to_owned()), "{text}");
        }
    }

    #[test]
    fn it_listens_on_loopback_unless_browsers_come_without_a_tls_front() {
        for (url, listen) in [
            ("http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("http://localhost:9000", "127.0.0.1:9000"),
            ("http://[::1]:9000", "[::1]:9000"),
            ("https://hub.example.org", "127.0.0.1:8000"),
            ("http://hub.example.org", "0.0.0.0:80"),
        ] {
            assert_eq!(public_listen(url), listen.parse().unwrap(), "{url}");
        }
    }

    #[test]
    fn the_hubs_proxy_moves_its_api_away_from_our_port() {
        for (public, hub, said) in [
            ("http://127.0.0.1:8001", "http://127.0.0.1:8400", Some(8402)),
            ("http://127.0.0.1:8001", "http://localhost:8402/jupyter", Some(8403)),
            ("http://127.0.0.1:8001", "unix:/run/hub.sock", Some(8402)),
            ("http://127.0.0.1:8001", "http://hub:8400", None),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8400", None),
            ("https://hub.example.org", "http://127.0.0.1:8400", None),
        ] {
            let line = said.map(|port| {
                format!(
                    "    c.ConfigurableHTTPProxy.api_url = \"http://127.0.0.1:{port}\"  \
                     # its default, 8001, is hublatch's public port\n"
                )
            });
            assert_eq!(proxy_api(public, hub), line, "{public} {hub}");
        }
    }
}
