//! `[public]` and `[management]`: where hublatch is reached; and that no two addresses are the same.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::address::{listen, trusted_network};
use super::file::ConfigFile;
use super::kind::{flag, list, number, one_or_more, text};
use super::origin::public_url;
use super::table::section;
use super::{UpstreamAddress, tls};
use crate::tls::Acceptor;

/// More than any machine has cores.
const THREADS_MAX: usize = 1024;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// `127.0.0.1:8000`, `[::1]:8000`; port 0 picks a free one.
    Tcp(SocketAddr),
    /// `unix:/run/hublatch/public.sock`.
    Unix(PathBuf),
}

section! {
    /// What browsers talk to.
    #[derive(Debug, Clone)]
    pub struct Public {
        /// Where to listen: an address and port, a socket ("unix:/run/hublatch/public.sock"), or a list of them. Port 0 takes a
        /// free port; the log says which. Needs a restart: until then the whole file is refused.
        listen: Vec<Listen>, one_or_more(listen).not_empty(NOWHERE), default "127.0.0.1:8000";
        /// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, on all of these addresses. Not written, they speak plain HTTP. Both files are
        /// PEM: the server's certificate with the intermediate ones after it, and its private key (PKCS#8, SEC1 or PKCS#1), which
        /// only its owner may read.
        tls: Option<Acceptor>, tls::for_browsers(), optional
            { certificate = "/etc/hublatch/tls/fullchain.pem", private_key = "/etc/hublatch/tls/privkey.pem" };
        /// With TLS: plain addresses, such as ["0.0.0.0:80", "[::]:80"], whose every answer is "308: go to public.url".
        /// Needs a restart, as listen does.
        redirect_listen: Vec<Listen>, one_or_more(listen), default [];
        /// Who may connect to a socket ("unix:…") of listen or redirect_listen: its mode, as for chmod. Put a front server into
        /// hublatch's group.
        socket_mode: u32, text(file_mode), default "0660";
        /// What browsers type: scheme, host and port, no path. Login links begin with it. With a TLS front before
        /// hublatch it is the front's.
        url: PublicUrl, text(public_url), required "https://hub.example.org";
        /// Threads that carry requests; 0 is one for each core. Needs a restart.
        threads: usize, number(0..=THREADS_MAX), default 0;
        /// Proxies before hublatch whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses or networks, such as
        /// ["10.0.0.5", "10.1.0.0/16"]. From anybody else these headers are replaced. Never 0.0.0.0/0.
        trusted_proxies: Vec<IpNet>, list(trusted_network), default [];
        /// Whether these proxies, and nobody else, connect to listen and redirect_listen, and begin each connection with a header
        /// of the PROXY protocol (version 1 or 2) that says who the client is: HAProxy's send-proxy-v2, nginx's proxy_protocol, a
        /// load balancer that passes TLS through. Over a socket, the proxy is 127.0.0.1.
        proxy_protocol: bool, flag(), default false;
    }
}

section! {
    /// Where apps ask for links (/api/v1/links), and where /health, /ready and /metrics answer.
    #[derive(Debug, Clone)]
    pub struct Management {
        /// Without TLS, only this machine may reach it: a loopback address, or a socket ("unix:/run/hublatch/management.sock").
        /// In containers, let the app share hublatch's network (compose: network_mode: "service:hublatch"; Kubernetes: the same
        /// pod) or a volume with the socket. Needs a restart, as public.listen does.
        listen: Listen, text(listen), default "127.0.0.1:8010";
        /// Who may connect to it where it is a socket ("unix:…"): its mode, as for chmod.
        socket_mode: u32, text(file_mode), default "0660";
        /// TLS for apps on other machines; then any address will do. With client_ca, a file of authorities' certificates, a
        /// client must prove a certificate that one of them has issued, besides its key. `hublatch health` needs none: it proves
        /// the listener's own private key.
        tls: Option<Acceptor>, tls::for_programs(), optional
            { certificate = "…/fullchain.pem", private_key = "…/privkey.pem", client_ca = "…/apps-ca.pem" };
    }
}

section! {
    /// A listener for probes and scrapers that come from elsewhere, as in Kubernetes: plain HTTP on any address, and nothing
    /// but /live, /ready and /metrics. No key, no API, no secret is there; who logs in is not told either. Without this
    /// section (remove the "#" to have it) only management.listen answers them.
    #[derive(Debug, Clone)]
    pub struct StatusListener {
        /// An address and port, or a socket. Needs a restart.
        listen: Listen, text(listen), required "0.0.0.0:9100";
    }
}

const NOWHERE: &str = "is empty; write at least one address, for example \"127.0.0.1:8000\"";

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

/// Notes a fault for each address that is ours twice, and for what does not go together. Answers all of our own
/// listeners.
pub(super) fn check(
    file: &mut ConfigFile,
    public: &Public,
    management: &Management,
    status: Option<&StatusListener>,
    hub: Option<&UpstreamAddress>,
) -> Vec<Listen> {
    let browsers: Vec<(&str, &Listen)> =
        [("public.listen", &public.listen), ("public.redirect_listen", &public.redirect_listen)]
            .into_iter()
            .flat_map(|(key, listeners)| listeners.iter().map(move |listen| (key, listen)))
            .collect();
    for (index, (key, own)) in browsers.iter().enumerate() {
        if let Some((other, _)) = browsers[..index].iter().find(|(_, other)| other.overlaps(own)) {
            if other == key && browsers[..index].iter().any(|(_, other)| other == own) {
                file.conflict(key, &[], format!("has \"{own}\" twice; write it once"));
            } else if other != key {
                file.conflict(key, &[other], format!("\"{own}\" is also {other}; write another port"));
            }
        }
        if own.overlaps(&management.listen) {
            let other = "management.listen";
            let (at, message) = if file.is_written(other) {
                (other, format!("\"{}\" is also public ({key} \"{own}\")", management.listen))
            } else {
                (*key, format!("\"{own}\" is also {other} (\"{}\")", management.listen))
            };
            file.conflict(at, &[key, other], format!("{message}; write another port"));
        }
    }
    let mut own: Vec<Listen> =
        browsers.into_iter().map(|(_, own)| own).chain([&management.listen]).cloned().collect();
    if let Some(status) = status {
        let listen = &status.listen;
        if own.iter().any(|own| own.overlaps(listen)) {
            let message =
                format!("\"{listen}\" is also public.listen or management.listen; write another port");
            file.conflict("status.listen", &["public.listen", "management.listen"], message);
        }
        own.push(listen.clone());
    }
    if let Some(hub) = hub {
        refuse_own(file, hub, &own);
    }
    own
}

/// The hub must be none of our `own` listeners.
fn refuse_own(file: &mut ConfigFile, hub: &UpstreamAddress, own: &[Listen]) {
    let Some(listener) = own.iter().find(|own| own.is_reached_by(hub)) else { return };
    // The port that the examples have, or the next that is not ours.
    let is_ours =
        |port: u16| own.iter().any(|own| matches!(own, Listen::Tcp(address) if address.port() == port));
    let port = (8400..u16::MAX).find(|port| !is_ours(*port)).unwrap_or(8400);
    let message = format!(
        "this address is hublatch's own listener \"{listener}\"; move the hub's public proxy to another \
         (c.JupyterHub.bind_url = \"http://127.0.0.1:{port}\") and write that"
    );
    file.conflict("hub.url", &["public.listen", "public.redirect_listen", "management.listen"], message);
}

/// `0660`: the permissions of a file as `chmod` writes them, none of them special.
fn file_mode(text: &str) -> Result<u32, String> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    mode.ok_or_else(|| "is not the mode of a file, for example \"0660\"".to_owned())
}
