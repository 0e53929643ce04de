//! `[routes]`: hublatch as the hub's own proxy, with a routing table that the hub writes.

use std::path::PathBuf;

use hyper::header::{HeaderName, HeaderValue};
use url::Url;
use zeroize::Zeroizing;

use super::Listen;
use super::address::listen;
use super::file::ConfigFile;
use super::kind::{flag, list, text, words};
use super::origin::web_url;
use super::secret::{Secret, secret};
use super::store::StoreUrl;
use super::table::section;
use super::tls::{authorities, path, to_routes};
use crate::tls::{ClientRules, Roots};

const ACTIVITY: [(&str, Activity); 2] = [("bytes", Activity::Bytes), ("messages", Activity::Messages)];

/// `[routes]`.
#[derive(Debug, Clone)]
pub struct RoutesConfig {
    /// Where the routing API answers; none: on the management listener.
    pub api_listen: Option<Listen>,
    /// What the hub proves itself with; none: everybody who reaches the listener may.
    pub auth_token: Option<Zeroizing<String>>,
    /// Where requests go that no other route takes.
    pub default_target: Option<String>,
    /// Whose pages are shown for 404 and 503.
    pub error_target: Option<Url>,
    /// Where such pages lie as files.
    pub error_path: Option<PathBuf>,
    /// Whether the host of a request is part of its route.
    pub host_routing: bool,
    /// Whether the part of the path that chose the route goes to the target.
    pub include_prefix: bool,
    /// Whether the target's own path comes before it.
    pub prepend_path: bool,
    /// Headers that every request gets.
    pub custom_headers: Vec<(HeaderName, HeaderValue)>,
    /// What counts as use of a route.
    pub activity: Activity,
    /// What keeps the table.
    pub state: Option<RouteState>,
    /// Where only the Hub API answers.
    pub hub_api_listen: Option<Listen>,
    /// How targets of https are spoken to.
    pub client_tls: Option<ClientRules>,
    /// What only the command line of configurable-http-proxy can say.
    pub chp: Option<Chp>,
}

/// What keeps the table across restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteState {
    /// A file.
    File(PathBuf),
    /// The Redis of the links, where several replicas share it.
    Store,
}

/// What counts as use of a route over a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Every byte that a browser sends, as configurable-http-proxy has it.
    Bytes,
    /// Messages of either side; not what keeps the connection open.
    Messages,
}

/// What only the command line of configurable-http-proxy can say.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of configurable-http-proxy")]
pub struct Chp {
    /// Nobody logs in by a link: a plain proxy.
    pub plain: bool,
    /// `X-Forwarded-*` of a request are left as they came.
    pub no_x_forward: bool,
    /// Redirects of a target to itself are led to the public name.
    pub auto_rewrite: bool,
    /// `Host` is the target's.
    pub change_origin: bool,
    /// The scheme of redirects.
    pub protocol_rewrite: Option<String>,
    /// Where configurable-http-proxy's metrics are, under its names.
    pub metrics_listen: Option<Listen>,
    /// Where plain requests are sent: the port of https.
    pub redirect_to: Option<u16>,
}

section! {
    /// Not written, hublatch stands in front of the hub's own proxy. Written, it is that proxy: the hub writes its routes into
    /// hublatch (c.ConfigurableHTTPProxy.api_url, should_start = False), and each request goes straight to the hub or to a
    /// notebook. hub.url may then be left out; written, it is the hub's own address (c.JupyterHub.hub_bind_url), and a route
    /// of the hub to anywhere else is refused. hub.base_url, not written, is learnt from the hub's route. Without any [[apps]]
    /// nobody logs in by links: a plain proxy.
    pub(super) struct RouteKeys {
        /// Where the hub writes its routes (/api/routes); not written, on management.listen. Needs a restart.
        api_listen: Option<Listen>, text(listen), optional "127.0.0.1:8001";
        /// What the hub proves itself with, in a file that only its owner can read: CONFIGPROXY_AUTH_TOKEN of the hub. It opens
        /// the routes only, and no key of an app opens them. Without it, api_listen must be a loopback address or a socket.
        auth_token: Option<Secret>, secret(auth_token), optional "/etc/hublatch/routes.token";
        /// Where requests go that no route takes; not written, they are 404. Needs a restart.
        default_target: Option<String>, text(target), optional "http://127.0.0.1:8081";
        /// Whose pages are shown for 404 and 503 to people: "…/404?url=…" is asked once in ten seconds. Programs get JSON.
        error_target: Option<Url>, text(error_target), optional "http://127.0.0.1:8081/hub/error";
        /// Or a folder with 404.html, 503.html and error.html.
        error_path: Option<PathBuf>, text(|path| Ok(PathBuf::from(path))), optional "/etc/hublatch/errors";
        /// Whether the host of a request chooses its route as well (c.JupyterHub.subdomain_host). Needs a restart.
        host_routing: bool, flag(), default false;
        /// Whether the part of the path that chose the route goes to the server.
        include_prefix: bool, flag(), default true;
        /// Whether the path of the route's own target comes before it.
        prepend_path: bool, flag(), default true;
        /// Headers that every request gets, such as ["X-Frame-Options: DENY"].
        custom_headers: Vec<(HeaderName, HeaderValue)>, list(custom_header), default [];
        /// What counts as use of a server over a WebSocket (last_activity, by which idle servers are culled): "bytes", every byte
        /// that the browser sends, as configurable-http-proxy has it; or "messages", those of either side, but not the pings that
        /// keep an open tab's connection.
        activity: Activity, words(&ACTIVITY), default "bytes";
        /// A file that keeps the routes, so that notebooks can be reached after a restart even if the hub is down; or "store":
        /// the Redis of store.url keeps them, and all hublatch with that store go by one table. Needs a restart.
        state: Option<String>, text(|path| Ok(path.to_owned())), optional "/var/lib/hublatch/routes.json";
        /// A listener for notebooks and services, where only {base_url}hub/api/ is: then the hub itself can sit where no notebook
        /// reaches it (c.Spawner.hub_connect_url). Needs a restart.
        hub_api_listen: Option<Listen>, text(listen), optional "127.0.0.1:8082";
        /// With targets of https (c.JupyterHub.internal_ssl): the certificate and key that they are shown, and the authorities
        /// that vouch for theirs.
        client_certificate: Option<String>, text(path), optional "/srv/jupyterhub/internal-ssl/proxy-client/proxy-client.crt";
        /// With targets of https (c.JupyterHub.internal_ssl): the certificate and key that they are shown, and the authorities
        /// that vouch for theirs.
        client_private_key: Option<String>, text(path), optional "/srv/jupyterhub/internal-ssl/proxy-client/proxy-client.key";
        /// With targets of https (c.JupyterHub.internal_ssl): the certificate and key that they are shown, and the authorities
        /// that vouch for theirs.
        client_ca_file: Option<Roots>, authorities(), optional "/srv/jupyterhub/internal-ssl/proxy-client-ca_trust.crt";
    }
}

/// What the keys of `[routes]` say.
pub(super) fn routes(file: &mut ConfigFile, keys: RouteKeys) -> RoutesConfig {
    if keys.error_target.is_some() && keys.error_path.is_some() {
        let message = "is written as well as routes.error_target; keep one of the two";
        file.conflict("routes.error_path", &["routes.error_target"], message);
    }
    let client = (keys.client_certificate, keys.client_private_key);
    RoutesConfig {
        api_listen: keys.api_listen,
        auth_token: keys.auth_token.map(|secret| secret.text),
        default_target: keys.default_target,
        error_target: keys.error_target,
        error_path: keys.error_path,
        host_routing: keys.host_routing,
        include_prefix: keys.include_prefix,
        prepend_path: keys.prepend_path,
        custom_headers: keys.custom_headers,
        activity: keys.activity,
        state: keys.state.map(|state| match state.as_str() {
            "store" => RouteState::Store,
            path => RouteState::File(file.file_beside(path)),
        }),
        hub_api_listen: keys.hub_api_listen,
        client_tls: to_routes(file, client, keys.client_ca_file),
        chp: None,
    }
}

/// Notes a fault if anybody on other machines could write routes. `management`: where the routing API is otherwise.
pub(super) fn check(file: &mut ConfigFile, routes: &RoutesConfig, management: &Listen) {
    let listen = routes.api_listen.as_ref().unwrap_or(management);
    if routes.auth_token.is_none() && !listen.is_local() {
        let message = format!(
            "is required where the routes can be written from other machines (\"{listen}\"): write the hub's \
             CONFIGPROXY_AUTH_TOKEN into a file, or a loopback address as routes.api_listen"
        );
        file.conflict("routes.auth_token_file", &["routes", "management"], message);
    }
}

/// Notes a fault if no other replica could read the table in `store`.
pub(super) fn check_store(file: &mut ConfigFile, routes: &RoutesConfig, store: &StoreUrl) {
    if routes.state == Some(RouteState::Store) && !matches!(store, StoreUrl::Redis(_)) {
        let message = "is \"store\", which needs a Redis as store.url; write a file, or such a store";
        file.conflict("routes.state", &["store.url"], message);
    }
}

/// What is wrong with the hub's token, if anything.
fn auth_token(text: &str) -> Result<(), &'static str> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let wrong = "holds no token: one line of visible ASCII, as in CONFIGPROXY_AUTH_TOKEN of the hub";
    if plain { Ok(()) } else { Err(wrong) }
}

fn target(text: &str) -> Result<String, String> {
    web_url(text).map(|_| text.to_owned()).ok_or_else(|| "is not the URL of a server".to_owned())
}

fn error_target(text: &str) -> Result<Url, String> {
    web_url(text)
        .ok_or_else(|| "is not a URL; write for example \"http://127.0.0.1:8081/hub/error\"".to_owned())
}

/// `Name: value`.
pub fn custom_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || "is not a header; write for example \"X-Frame-Options: DENY\"".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = name.trim().parse::<HeaderName>().map_err(|_| wrong())?;
    let value = value.trim().parse::<HeaderValue>().map_err(|_| wrong())?;
    Ok((name, value))
}
