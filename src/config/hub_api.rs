//! The Hub API as it is written: where it is, and the token that it is called with.

use std::fmt;
use std::path::PathBuf;

use url::Url;
use zeroize::Zeroizing;

use super::file::ConfigFile;
use super::origin::{has_credentials, host, web_url};
use super::secret::visible;
use super::{Listen, UpstreamAddress, tls};
use crate::tls::{Connector, Roots};

/// Where every hub answers its API, behind its base URL.
const API_PATH: &str = "hub/api";

/// Where and how the Hub API is called.
#[derive(Clone)]
pub struct HubApiConfig {
    /// `http://127.0.0.1:8400/hub/api`: without a slash at the end. Over a socket, the host is a mere name.
    pub url: Url,
    /// The unix socket that is connected to instead of the URL's host.
    pub socket: Option<PathBuf>,
    /// How its certificate is verified; none: in the clear.
    pub tls: Option<Connector>,
    /// The token of a hub service, for what hublatch itself asks; none: only tokens of others can be checked.
    pub token: Option<Zeroizing<String>>,
}

impl HubApiConfig {
    /// Whether nobody has written where it is: the hub's route tells it.
    pub fn is_unknown(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.as_os_str().is_empty())
    }
}

impl fmt::Debug for HubApiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubApiConfig")
            .field("url", &self.url.as_str())
            .field("socket", &self.socket)
            .field("has_token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

/// Where the Hub API is written to be.
pub(super) enum ApiPlace {
    Url(Url),
    /// There the path is that of the hub.
    Socket(PathBuf),
}

impl ApiPlace {
    pub(super) fn is_secure(&self) -> bool {
        matches!(self, Self::Url(url) if url.scheme() == "https")
    }

    fn upstream(&self) -> UpstreamAddress {
        match self {
            Self::Socket(path) => UpstreamAddress::Unix(path.clone()),
            Self::Url(url) => UpstreamAddress::Tcp {
                host: host(url).to_owned(),
                port: url.port_or_known_default().unwrap_or_default(),
            },
        }
    }
}

/// `hub.api_url` as `written`; not written, it is behind `upstream`. `connect`: what connects to `hub.url`, and the
/// authorities of `hub.ca_file`. `own`: our listeners.
pub(super) fn api(
    file: &mut ConfigFile,
    written: Option<ApiPlace>,
    upstream: Option<&UpstreamAddress>,
    (of_url, roots): (Option<&Connector>, Option<&Roots>),
    base_url: &str,
    own: &[Listen],
) -> HubApiConfig {
    if let Some(place) = &written
        && let Some(own) = own.iter().find(|own| own.is_reached_by(&place.upstream()))
    {
        let message = format!(
            "is hublatch's own listener \"{own}\"; write the address of the hub, or of its public proxy"
        );
        file.conflict(
            "hub.api_url",
            &["public.listen", "public.redirect_listen", "management.listen"],
            message,
        );
    }
    let behind = |scheme: &str, authority: &str| format!("{scheme}://{authority}{base_url}{API_PATH}");
    let (url, socket) = match (written, upstream) {
        (Some(ApiPlace::Url(url)), _) => (url.to_string(), None),
        (Some(ApiPlace::Socket(path)), _) => (behind("http", "localhost"), Some(path)),
        // It is learnt from the hub's route, or nobody asks.
        (None, None) => (behind("http", "localhost"), Some(PathBuf::new())),
        (None, Some(UpstreamAddress::Unix(path))) => (behind("http", "localhost"), Some(path.clone())),
        (None, Some(UpstreamAddress::Tcp { host, port })) => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            (behind(if of_url.is_some() { "https" } else { "http" }, &format!("{host}:{port}")), None)
        }
    };
    let url = Url::parse(&url).unwrap_or_else(|error| unreachable!("{url}, made of valid parts: {error}"));
    let same = matches!(upstream, Some(UpstreamAddress::Tcp { host: of_url, .. }) if of_url == host(&url));
    let tls = match of_url.filter(|_| same) {
        _ if url.scheme() != "https" => None,
        Some(connector) => Some(connector.clone()),
        None => tls::to_hub(file, "hub.api_url", host(&url), roots.cloned()),
    };
    HubApiConfig { url, socket, tls, token: None }
}

/// An URL whose path ends in `hub/api`, or a socket.
pub(super) fn api_place(text: &str) -> Result<ApiPlace, String> {
    let example = "write for example \"http://127.0.0.1:8081/hub/api\" or \"unix:/run/jupyterhub/hub.sock\"";
    if let Some(path) = text.strip_prefix("unix:") {
        return super::address::socket_path(path).map(ApiPlace::Socket);
    }
    let plain = |url: &Url| !has_credentials(url) && url.query().is_none() && url.fragment().is_none();
    let mut url =
        web_url(text).filter(plain).ok_or_else(|| format!("is not the URL of a Hub API; {example}"))?;
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with(&format!("/{API_PATH}")) {
        return Err(format!("does not end in /{API_PATH}, as the Hub API does; {example}"));
    }
    url.set_path(&path);
    Ok(ApiPlace::Url(url))
}

/// What is wrong with a hub API token, if anything.
pub(super) fn token(text: &str) -> Result<(), &'static str> {
    visible(text, "holds no hub API token: one line of visible ASCII, as in c.JupyterHub.services")
}
