//! `[public]` and `[management]`: where hublatch is reached; and that no two addresses are the same.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::address::{listen, trusted_network, upstream};
use super::file::ConfigFile;
use super::hub::is_https;
use super::origin::public_url;
use super::{Upstream, tls};
use crate::tls::Acceptor;

/// More than any machine has cores.
const THREADS_MAX: usize = 1024;
/// Owner and group may connect to a unix socket: a front server is put into hublatch's group.
const SOCKET_MODE: u32 = 0o660;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// `127.0.0.1:8000`, `[::1]:8000`; port 0 picks a free one.
    Tcp(SocketAddr),
    /// `unix:/run/hublatch/public.sock`.
    Unix(PathBuf),
}

/// `[public]`.
#[derive(Debug, Clone)]
pub struct Public {
    /// Where browsers connect; at least one.
    pub listen: Vec<Listen>,
    /// With what they are answered on all of these; none: in the clear.
    pub tls: Option<Acceptor>,
    /// Where they are only sent to `url`, in the clear.
    pub redirect_listen: Vec<Listen>,
    /// What browsers type.
    pub url: PublicUrl,
    /// Runtimes, one thread each; 0: one for each core.
    pub threads: usize,
    /// Peers whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether they, and nobody else, connect, and say by the PROXY protocol who has connected to them.
    pub proxy_protocol: bool,
    /// The permissions of unix sockets to listen on.
    pub socket_mode: u32,
}

impl Public {
    /// How many threads that is on this machine; never 0.
    pub fn runtimes(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some,
        }
    }
}

/// The public origin (RFC 6454): scheme, host and port, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// `https://hub.example.org`, as a browser serialises an origin: no default port, no slash at the end.
    pub origin: String,
    /// Whether the scheme is https.
    pub secure: bool,
    /// `hub.example.org` or `hub.example.org:8443`: the value of a browser's Host header.
    pub authority: String,
    /// The port, also where it is the scheme's default.
    pub port: u16,
}

impl PublicUrl {
    /// The host name or address, without port and without the brackets of IPv6.
    pub fn host(&self) -> &str {
        let port = format!(":{}", self.port);
        let host = self.authority.strip_suffix(&port).unwrap_or(&self.authority);
        host.trim_matches(['[', ']'])
    }
}

/// `[management]`.
#[derive(Debug, Clone)]
pub struct Management {
    /// Where the API answers.
    pub listen: Listen,
    /// With what; none: in the clear.
    pub tls: Option<Acceptor>,
    /// The permissions of a unix socket to listen on.
    pub socket_mode: u32,
}

/// The addresses that must not be the same.
pub(super) struct Addresses {
    pub(super) public: Option<Vec<Listen>>,
    pub(super) redirect: Option<Vec<Listen>>,
    pub(super) management: Option<Listen>,
    pub(super) hub: Option<HubAddress>,
}

impl Addresses {
    /// All of our own listeners.
    pub(super) fn own(&self) -> Vec<Listen> {
        let browsers = self.public.iter().chain(&self.redirect).flatten();
        browsers.chain(&self.management).cloned().collect()
    }
}

/// Where the hub is, and whether it is to be spoken to over TLS.
pub(super) struct HubAddress {
    pub(super) upstream: Upstream,
    pub(super) secure: bool,
}

pub(super) fn addresses(file: &mut ConfigFile) -> Addresses {
    let local = |port| Listen::Tcp(([127, 0, 0, 1], port).into());
    let public = file.one_or_more("public.listen", vec![local(8000)], listen);
    let redirect = file.one_or_more("public.redirect_listen", Vec::new(), listen);
    let management = file.value("management.listen", local(8010), listen);
    let mut secure = false;
    let mut parse = |text: &str| {
        secure = is_https(text);
        upstream(text)
    };
    let upstream = if file.has_section("routes") {
        // The hub tells by itself where it is.
        file.value("hub.url", None, |text| parse(text).map(Some)).flatten()
    } else {
        file.required("hub.url", "http://127.0.0.1:8400", parse)
    };
    let of_browsers = |key: &'static str, own: &Option<Vec<Listen>>| {
        own.iter().flatten().map(|own| (key, own.clone())).collect::<Vec<_>>()
    };
    let mut browsers = of_browsers("public.listen", &public);
    browsers.extend(of_browsers("public.redirect_listen", &redirect));
    for (index, (key, own)) in browsers.iter().enumerate() {
        if let Some((other, _)) = browsers[..index].iter().find(|(_, other)| other.overlaps(own)) {
            if other == key && browsers[..index].iter().any(|(_, other)| other == own) {
                file.fault(key, format!("has \"{own}\" twice; write it once"));
            } else if other != key {
                file.fault(key, format!("\"{own}\" is also {other}; write another port"));
            }
        }
        if let Some(management) = management.as_ref().filter(|management| own.overlaps(management)) {
            let (key, message) = if file.is_written("management.listen") {
                ("management.listen", format!("\"{management}\" is also public ({key} \"{own}\")"))
            } else {
                (*key, format!("\"{own}\" is also management.listen (\"{management}\")"))
            };
            file.fault(key, format!("{message}; write another port"));
        }
    }
    if let Some(hub) = &upstream {
        let mut own = browsers.iter().map(|(_, own)| own).chain(&management);
        if let Some(own) = own.find(|own| own.is_reached_by(hub)) {
            // The port that the documents' examples have, or the next that is not ours.
            let is_ours = |port: u16| {
                let mut all = browsers.iter().map(|(_, own)| own).chain(&management);
                all.any(|own| matches!(own, Listen::Tcp(address) if address.port() == port))
            };
            let port = (8400..u16::MAX).find(|port| !is_ours(*port)).unwrap_or(8400);
            let message = format!(
                "this address is hublatch's own listener \"{own}\"; move the hub's public proxy to another \
                 (c.JupyterHub.bind_url = \"http://127.0.0.1:{port}\") and write that"
            );
            file.fault("hub.url", message);
        }
    }
    let hub = upstream.map(|upstream| HubAddress { upstream, secure });
    Addresses { public, redirect, management, hub }
}

pub(super) fn public(
    file: &mut ConfigFile,
    listen: Option<Vec<Listen>>,
    redirect_listen: Option<Vec<Listen>>,
) -> Option<Public> {
    if listen.as_ref().is_some_and(Vec::is_empty) {
        file.fault("public.listen", "is empty; write at least one address, for example \"127.0.0.1:8000\"");
    }
    let url = file.required("public.url", "https://hub.example.org", public_url);
    let tls = tls::of_public(file);
    let threads = file.number("public.threads", 0, 0..=THREADS_MAX);
    let trusted_proxies = file.list("public.trusted_proxies", Vec::new(), trusted_network);
    let proxy_protocol = file.flag("public.proxy_protocol", false);
    let socket_mode = file.value("public.socket_mode", SOCKET_MODE, file_mode);
    if proxy_protocol == Some(true) && trusted_proxies.as_ref().is_some_and(Vec::is_empty) {
        file.fault(
            "public.proxy_protocol",
            "is on, but nobody may speak it: write the addresses of your proxies as public.trusted_proxies",
        );
    }
    if let Some(url) = url.as_ref().filter(|url| !url.secure) {
        let instead = format!("write \"{}\"", url.origin.replacen("http:", "https:", 1));
        if matches!(tls, Some(Some(_))) {
            file.fault("public.url", format!("is http, but public.tls answers https only; {instead}"));
        } else if redirect_listen.as_ref().is_some_and(|listen| !listen.is_empty()) {
            file.fault("public.url", format!("is http, so public.redirect_listen leads nowhere; {instead}"));
        }
    }
    Some(Public {
        listen: listen?,
        tls: tls?,
        redirect_listen: redirect_listen?,
        url: url?,
        threads: threads?,
        trusted_proxies: trusted_proxies?,
        proxy_protocol: proxy_protocol?,
        socket_mode: socket_mode?,
    })
}

pub(super) fn management(file: &mut ConfigFile, listen: Option<Listen>) -> Option<Management> {
    let socket_mode = file.value("management.socket_mode", SOCKET_MODE, file_mode);
    let tls = tls::of_management(file)?;
    let listen = listen?;
    if tls.is_none() && !listen.is_local() {
        let message = format!(
            "\"{listen}\" can be reached from other machines, and an app's key could be read on the way; write \
             management.tls, or a loopback address, for example \"127.0.0.1:8010\", or \
             \"unix:/run/hublatch/management.sock\""
        );
        file.fault("management.listen", message);
        return None;
    }
    Some(Management { listen, tls, socket_mode: socket_mode? })
}

/// `0660`: the permissions of a file as `chmod` writes them, none of them special.
fn file_mode(text: &str) -> Result<u32, String> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    mode.ok_or_else(|| "is not the mode of a file, for example \"0660\"".to_owned())
}
