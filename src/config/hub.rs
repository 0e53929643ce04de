//! `[hub]`: the hub behind us.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::address::upstream;
use super::file::ConfigFile;
use super::hub_api::{ApiPlace, HubApiConfig, api, api_place, token};
use super::kind::{flag, size, text};
use super::origin::base_url;
use super::secret::{Secret, secret};
use super::table::section;
use super::{Listen, tls};
use crate::tls::{Connector, Roots};
use crate::token::ServerName;

/// Where the hub's public proxy answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// `http://127.0.0.1:8400`, `https://hub.internal`: host name or address, and port.
    Tcp {
        /// Host name or IP address (IPv6 without brackets).
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:/run/hub.sock`.
    Unix(PathBuf),
}

/// What any login needs, and more than any server takes.
const HEAD_BYTES: RangeInclusive<usize> = 4 * 1024..=1024 * 1024;

section! {
    /// The hub behind hublatch.
    pub(super) struct HubKeys {
        /// REQUIRED, unless there is [routes]. Where requests go: the hub's own public proxy (c.JupyterHub.bind_url),
        /// "http://host:port",
        /// "https://host:port" or "unix:/run/jupyterhub/proxy.sock". No path. Not the hub's own port (8081 by default): it leads
        /// to no notebook ("500 : Redirect loop detected").
        url: Option<HubAddress>, text(hub_address), shown "http://127.0.0.1:8400";
        /// With https: authorities' certificates (PEM), one of which must have issued the hub's, for the host name in url. Not
        /// written, they are those that this system trusts.
        ca_file: Option<Roots>, tls::authorities(), optional "/etc/hublatch/hub-ca.pem";
        /// c.JupyterHub.base_url, with both slashes: "/" or "/jupyter/".
        base_url: String, text(base_url), default "/";
        /// Where the Hub API answers, for what hublatch itself asks the hub (launches, [hub_tokens], apps.hub_tokens): a URL that
        /// ends in /hub/api, or "unix:/path" of a socket. Not written, it is url + base_url + "hub/api", through the hub's public
        /// proxy; the hub's own port (c.JupyterHub.hub_bind_url) saves that hop. With [routes] and neither of the two it is
        /// learnt from the hub's route, unless that is one of https.
        api_url: Option<ApiPlace>, text(api_place), optional "http://127.0.0.1:8400/hub/api";
        /// The API token of a hub service (c.JupyterHub.services), in a file that only its owner can read. Its role needs only
        /// the scopes that the features in use need; docs/hub-tokens.md lists them. Without it hublatch asks the hub nothing of
        /// its own.
        api_token: Option<Secret>, secret(token), optional "/etc/hublatch/hub.token";
        /// The largest head of a login towards the hub, its first line and all headers with cookies and assertion, from "4KiB" to
        /// "1MiB": one that is larger is answered 431 before its link is used up. configurable-http-proxy (node) takes 16 KiB; a
        /// hub that is asked without it ([routes]) takes 64 KiB.
        head_bytes: usize, size(HEAD_BYTES), default "15KiB";
        /// API-only mode: c.JupyterHub.hub_routespec is "/hub/api/", so that the hub shows no pages. Links lead straight into
        /// servers, and people see hublatch's pages where the hub would answer with a bare error. Needs hub.api_token_file.
        /// docs/launch-and-api-only.md has the hub's side.
        api_only: bool, flag(), default false;
        /// c.JupyterHub.default_server_name: the server that is opened, or started, for an order that names none. An order with
        /// "server": "" means the one without a name all the same.
        default_server "default_server_name": ServerName, text(server_name), default "";
    }
}

/// `[hub]`.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Where requests go. With a routing table: the hub's own address, and none if any will do.
    pub upstream: Option<UpstreamAddress>,
    /// How its certificate is verified; none: in the clear.
    pub tls: Option<Connector>,
    /// The hub's `base_url`: starts and ends with `/`.
    pub base_url: String,
    /// Where and how its API is called.
    pub api: HubApiConfig,
    /// The largest head of a login that it takes.
    pub head_bytes: usize,
    /// Whether it shows no pages: only its API, the login and the logout are routed to it.
    pub api_only: bool,
    /// The server that is meant where none is named.
    pub default_server: ServerName,
}

impl Hub {
    /// The path at which tokens are redeemed: `{base}hub/login`.
    pub fn login_path(&self) -> String {
        format!("{}hub/login", self.base_url)
    }
}

/// Where the hub is, and whether it is to be spoken to over TLS.
pub(super) struct HubAddress {
    pub(super) upstream: UpstreamAddress,
    secure: bool,
}

fn server_name(text: &str) -> Result<ServerName, String> {
    ServerName::parse(text).ok_or_else(|| "is no name of a server; write for example \"lab\"".to_owned())
}

fn hub_address(text: &str) -> Result<HubAddress, String> {
    upstream(text).map(|upstream| HubAddress { upstream, secure: is_https(text) })
}

/// Whether `text` is spelled as an URL of https.
fn is_https(text: &str) -> bool {
    text.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

/// What the keys of `[hub]` say; its API must be none of our `own` listeners.
pub(super) fn hub(file: &mut ConfigFile, keys: HubKeys, own: &[Listen]) -> Hub {
    let HubKeys { url, ca_file: roots, base_url, api_url, api_token, head_bytes, api_only, default_server } =
        keys;
    let (upstream, secure) = url.map(|url| (url.upstream, url.secure)).unzip();
    let secure = secure.unwrap_or_default();
    let api_secure = api_url.as_ref().is_some_and(ApiPlace::is_secure);
    if !secure && !api_secure && file.is_written("hub.ca_file") {
        let message = "is of use with https only; write hub.url = \"https://…\", or leave it out";
        file.conflict("hub.ca_file", &["hub.url", "hub.api_url"], message);
    }
    let tls = match &upstream {
        Some(UpstreamAddress::Tcp { host, .. }) if secure => {
            tls::to_hub(file, "hub.url", host, roots.clone())
        }
        Some(UpstreamAddress::Tcp { .. } | UpstreamAddress::Unix(_)) | None => None,
    };
    let is_learnt = upstream.is_none() && file.has_section("routes");
    if upstream.is_none() && !is_learnt {
        let message = "is required; write for example url = \"http://127.0.0.1:8400\"";
        file.conflict("hub.url", &["routes"], message);
    }
    let place = api(file, api_url, upstream.as_ref(), (tls.as_ref(), roots.as_ref()), &base_url, own);
    let api = HubApiConfig { token: api_token.map(|secret| secret.text), ..place };
    Hub { upstream, tls, base_url, api, head_bytes, api_only, default_server }
}
