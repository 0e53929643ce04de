//! The Hub API as it is written: where it is, and the token that it is called with.

use std::fmt;
use std::path::PathBuf;

use url::Url;
use zeroize::Zeroizing;

use super::file::ConfigFile;
use super::origin::web_url;
use super::secret::{Secret, refuse_exposed, secret};
use super::{Listen, Upstream, tls};
use crate::tls::{Connector, Roots};

/// Where every hub answers its API, behind its base URL.
const API_PATH: &str = "hub/api";

/// Where and how the Hub API is called.
#[derive(Clone)]
pub struct HubApi {
    /// `http://127.0.0.1:8400/hub/api`: without a slash at the end. Over a socket, the host is a mere name.
    pub url: Url,
    /// The unix socket that is connected to instead of the URL's host.
    pub socket: Option<PathBuf>,
    /// How its certificate is verified; none: in the clear.
    pub tls: Option<Connector>,
    /// The token of a hub service, for what hublatch itself asks; none: only tokens of others can be checked.
    pub token: Option<Zeroizing<String>>,
}

impl fmt::Debug for HubApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubApi")
            .field("url", &self.url.as_str())
            .field("socket", &self.socket)
            .field("has_token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

/// How the hub's own certificate is verified, wherever it is asked.
pub(super) struct HubTls<'a> {
    /// `hub.ca_file`.
    pub(super) roots: Option<Roots>,
    /// What connects to `hub.url`.
    pub(super) of_url: Option<&'a Connector>,
}

/// `hub.api_url` and `hub.api_token`. `own`: our listeners.
pub(super) fn api(
    file: &mut ConfigFile,
    upstream: &Upstream,
    base_url: &str,
    tls: &HubTls<'_>,
    own: &[Listen],
) -> Option<HubApi> {
    let written = file.value("hub.api_url", None, |text| place(text, base_url).map(Some));
    let token = token(file);
    let (url, socket) = match written? {
        Some(place) => {
            if let Some(own) = own.iter().find(|own| own.is_reached_by(&place.upstream())) {
                let message = format!(
                    "is hublatch's own listener \"{own}\"; write the address of the hub, or of its public proxy"
                );
                file.fault("hub.api_url", message);
                return None;
            }
            (place.url, place.socket)
        }
        None => by_default(upstream, tls.of_url.is_some(), base_url)?,
    };
    let tls = if url.scheme() == "https" {
        let host = host(&url);
        let same = matches!(upstream, Upstream::Tcp { host: of_url, .. } if of_url == host);
        Some(match tls.of_url.filter(|_| same) {
            Some(connector) => connector.clone(),
            None => tls::to_hub(file, "hub.api_url", host, tls.roots.clone())?,
        })
    } else {
        None
    };
    Some(HubApi { url, socket, tls, token: token? })
}

/// Where the Hub API is written to be.
struct Place {
    url: Url,
    socket: Option<PathBuf>,
}

impl Place {
    fn upstream(&self) -> Upstream {
        match &self.socket {
            Some(path) => Upstream::Unix(path.clone()),
            None => Upstream::Tcp {
                host: host(&self.url).to_owned(),
                port: self.url.port_or_known_default().unwrap_or_default(),
            },
        }
    }
}

/// The host name or address in `url`, without the brackets of IPv6.
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

/// An URL whose path ends in `hub/api`, or a socket, where the path is that of the hub.
fn place(text: &str, base_url: &str) -> Result<Place, String> {
    let example = "write for example \"http://127.0.0.1:8081/hub/api\" or \"unix:/run/jupyterhub/hub.sock\"";
    if text.starts_with("unix:") {
        let Upstream::Unix(socket) = super::address::upstream(text)? else { return Err(example.to_owned()) };
        let url = over_socket(base_url).ok_or_else(|| example.to_owned())?;
        return Ok(Place { url, socket: Some(socket) });
    }
    let plain = |url: &Url| {
        url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let mut url =
        web_url(text).filter(plain).ok_or_else(|| format!("is not the URL of a Hub API; {example}"))?;
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with(&format!("/{API_PATH}")) {
        return Err(format!("does not end in /{API_PATH}, as the Hub API does; {example}"));
    }
    url.set_path(&path);
    Ok(Place { url, socket: None })
}

/// Where it is behind the hub's public proxy.
fn by_default(upstream: &Upstream, secure: bool, base_url: &str) -> Option<(Url, Option<PathBuf>)> {
    match upstream {
        Upstream::Unix(path) => Some((over_socket(base_url)?, Some(path.clone()))),
        Upstream::Tcp { host, port } => {
            let scheme = if secure { "https" } else { "http" };
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            Url::parse(&format!("{scheme}://{host}:{port}{base_url}{API_PATH}")).ok().map(|url| (url, None))
        }
    }
}

fn over_socket(base_url: &str) -> Option<Url> {
    Url::parse(&format!("http://localhost{base_url}{API_PATH}")).ok()
}

/// `hub.api_token`, if it is written: `Some(None)` is none, `None` a bad one.
#[allow(clippy::option_option)] // the outer one is that of every reader: a fault has been noted
fn token(file: &mut ConfigFile) -> Option<Option<Zeroizing<String>>> {
    let Some(found) = secret(file, "hub.api_token").ok()? else { return Some(None) };
    refuse_exposed(file, &found);
    let Secret { text, key } = found;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        // Not repeated: it is a secret.
        file.fault(&key, "holds no hub API token: one line of visible ASCII, as in c.JupyterHub.services");
        return None;
    }
    Some(Some(text))
}
