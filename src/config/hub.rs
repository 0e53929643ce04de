//! The Hub API as it is written: where it is, the token that it is called with, whose tokens are keys of our own API.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

use super::apps;
use super::file::ConfigFile;
use super::origin::web_url;
use super::parse::duration_within;
use super::secret::{Secret, refuse_exposed, secret};
use super::{App, Hub, Listen, Login, Scope, Upstream, WithoutToken, tls};
use crate::tls::{Connector, Roots};

/// Where every hub answers its API, behind its base URL.
const API_PATH: &str = "hub/api";
/// How long the hub's word on a token is believed, unless the operator says otherwise: as in `HubAuth`.
const CACHE_MAX_AGE: Duration = Duration::from_mins(5);
/// The longest that it can be.
const CACHE_MAX_AGE_MAX: Duration = Duration::from_hours(1);
/// The life of an app's hub tokens, unless the operator says otherwise.
const TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// The longest that it can be.
const TOKEN_LIFETIME_MAX: Duration = Duration::from_hours(30 * 24);
/// The longest name or scope in a list, in bytes: the hub's own column.
const NAME_BYTES_MAX: usize = 255;

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

/// `[hub_tokens]`: whose hub API tokens are keys of the management API, and what their owners may do.
#[derive(Debug, Clone)]
pub struct HubTokens {
    /// Services, by name.
    pub services: Vec<String>,
    /// Users, by name.
    pub users: Vec<String>,
    /// Users, by a hub group of theirs.
    pub groups: Vec<String>,
    /// Owners of any kind, by a scope that the token has.
    pub scopes: Vec<String>,
    /// How long the hub's word on a token is believed.
    pub cache_max_age: Duration,
    /// Whether a user who is listed may log in others than herself.
    pub users_for_others: bool,
    /// The rules of an app; each owner has the rate and the live links of one.
    pub rules: Arc<App>,
}

impl HubTokens {
    /// Whether the token of anybody is a key.
    pub fn lists_anybody(&self) -> bool {
        [&self.services, &self.users, &self.groups, &self.scopes].iter().any(|list| !list.is_empty())
    }
}

/// `[apps.hub_tokens]`: what hub tokens an app may exchange its own tokens for.
#[derive(Debug, Clone)]
pub struct AppHubTokens {
    /// Their scopes at most; never empty. `!user` stands for the user whose token it is.
    pub scopes: Vec<String>,
    /// Their life at most.
    pub max_lifetime: Duration,
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

/// `[hub_tokens]`, if it is there: `Some(None)` is none, `None` a bad one. `longest` is `login.max_lifetime`.
#[allow(clippy::option_option)] // the outer one is that of every reader: a fault has been noted
pub(super) fn hub_tokens(file: &mut ConfigFile, longest: Option<Duration>) -> Option<Option<HubTokens>> {
    if !file.has_section("hub_tokens") {
        return Some(None);
    }
    let services = file.list("hub_tokens.services", Vec::new(), name);
    let users = file.list("hub_tokens.users", Vec::new(), name);
    let groups = file.list("hub_tokens.groups", Vec::new(), name);
    let scopes = file.list("hub_tokens.scopes", Vec::new(), scope);
    let range = Duration::ZERO..=CACHE_MAX_AGE_MAX;
    let cache_max_age = file.value("hub_tokens.cache_max_age", CACHE_MAX_AGE, duration_within(range));
    let users_for_others = file.flag("hub_tokens.users_for_others", false);
    let rules = apps::rules(file, "hub_tokens", longest);
    Some(Some(HubTokens {
        services: services?,
        users: users?,
        groups: groups?,
        scopes: scopes?,
        cache_max_age: cache_max_age?,
        users_for_others: users_for_others?,
        rules: Arc::new(rules?.app("hub".into(), Vec::new(), Vec::from(Scope::ALL))),
    }))
}

/// `[apps.hub_tokens]` of the app `section`, if it is there.
#[allow(clippy::option_option)] // as above
pub(super) fn of_app(file: &mut ConfigFile, section: &str) -> Option<Option<AppHubTokens>> {
    let key = |name: &str| format!("{section}.hub_tokens.{name}");
    if !file.has_section(&format!("{section}.hub_tokens")) {
        return Some(None);
    }
    let scopes = file.list(&key("scopes"), Vec::new(), scope);
    if scopes.as_ref().is_some_and(Vec::is_empty) {
        // A token that is asked for without scopes has all that its user has.
        file.fault(
            &key("scopes"),
            "has no scope: which ones may the tokens have? Write for example [\"access:servers!user\"]",
        );
        return None;
    }
    let range = Duration::from_secs(1)..=TOKEN_LIFETIME_MAX;
    let max_lifetime = file.value(&key("max_lifetime"), TOKEN_LIFETIME, duration_within(range));
    Some(Some(AppHubTokens { scopes: scopes?, max_lifetime: max_lifetime? }))
}

/// Notes a fault for each app that needs what only a hub token of our own can do.
pub(super) fn demand_token(file: &mut ConfigFile, hub: Option<&Hub>, apps: Option<&[Arc<App>]>) {
    if hub.is_none_or(|hub| hub.api.token.is_some()) {
        return;
    }
    for (index, _) in
        apps.iter().flat_map(|apps| apps.iter().enumerate()).filter(|(_, app)| app.hub_tokens.is_some())
    {
        file.fault(
            &format!("apps[{index}].hub_tokens"),
            "needs hub.api_token_file: the token of a hub service that has the scope \"tokens\"",
        );
    }
}

/// `hub.api_only`. In that mode hublatch itself starts servers, and asks whether they run.
pub(super) fn api_only(file: &mut ConfigFile, api: Option<&HubApi>) -> Option<bool> {
    let api_only = file.flag("hub.api_only", false)?;
    if api_only && api.is_some_and(|api| api.token.is_none()) {
        file.fault(
            "hub.api_only",
            "needs hub.api_token_file: the token of a hub service with the scopes \"read:servers\", \
             \"start:servers\" and \"admin:users\"",
        );
    }
    Some(api_only)
}

/// Notes a fault if people would be sent to the hub's own login, whose page API-only mode does not style.
pub(super) fn refuse_forward(file: &mut ConfigFile, hub: Option<&Hub>, login: Option<&Login>) {
    let forwards = login.is_some_and(|login| login.without_token == WithoutToken::Forward);
    if forwards && hub.is_some_and(|hub| hub.api_only) {
        file.fault(
            "login.without_token",
            "is \"forward\", but with hub.api_only the hub has no login page; write \"page\" or \"redirect\"",
        );
    }
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
#[allow(clippy::option_option)] // as above
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

/// The name of a service, user or group: the hub puts few bounds to it.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains(char::is_control) {
        return Err(format!("is not a name; write 1 to {NAME_BYTES_MAX} bytes on one line"));
    }
    Ok(text.to_owned())
}

/// A scope (RFC 6749 § 3.3), such as `access:servers!user`.
fn scope(text: &str) -> Result<String, String> {
    let token = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(token) {
        return Err("is not a scope of the hub; write for example \"access:servers!user\"".to_owned());
    }
    Ok(text.to_owned())
}
