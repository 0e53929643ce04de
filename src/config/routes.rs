//! `[routes]`: hublatch as the hub's own proxy, with a routing table that the hub writes.

use std::path::PathBuf;

use hyper::header::{HeaderName, HeaderValue};
use url::Url;

use super::Listen;
use super::address::listen;
use super::file::ConfigFile;
use super::kind::{Kind, flag, list, text, words};
use super::origin::web_url;
use super::parse::any;
use super::secret::{Secret, secret, visible};
use super::table::section;
use super::tls::{authorities, path, route_client_rules};
use crate::tls::{ClientRules, Roots};

const ACTIVITY: [(&str, Activity); 2] = [("bytes", Activity::Bytes), ("messages", Activity::Messages)];

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
    #[derive(Debug, Clone)]
    pub struct RoutesConfig {
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
        state: Option<RouteState>, route_state(), optional "/var/lib/hublatch/routes.json";
        /// A listener for notebooks and services, where only {base_url}hub/api is: then the hub itself can sit where no notebook
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
    made {
        /// How targets of https are spoken to, by the keys client_*; none: by those that the system trusts.
        client_tls: Option<ClientRules>;
        /// What only the command line of configurable-http-proxy can say.
        chp: Option<Chp>;
    }
}

/// What takes more than one key of `[routes]`.
pub(super) fn complete(file: &mut ConfigFile, mut routes: RoutesConfig) -> RoutesConfig {
    if routes.error_target.is_some() && routes.error_path.is_some() {
        let message = "is written as well as routes.error_target; keep one of the two";
        file.conflict("routes.error_path", &["routes.error_target"], message);
    }
    routes.client_tls = route_client_rules(file, &routes);
    routes
}

fn route_state() -> Kind<RouteState> {
    text(any).and_then(|file, _, text: String| {
        Ok(if text == "store" { RouteState::Store } else { RouteState::File(file.file_beside(&text)) })
    })
}

/// What is wrong with the hub's token, if anything.
fn auth_token(text: &str) -> Result<(), &'static str> {
    visible(text, "holds no token: one line of visible ASCII, as in CONFIGPROXY_AUTH_TOKEN of the hub")
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
    let no_colon = || "is not a header: a colon was expected, as in \"X-Frame-Options: DENY\"".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(no_colon)?;
    let name = name.trim().parse::<HeaderName>().map_err(|_| wrong())?;
    let value = value.trim().parse::<HeaderValue>().map_err(|_| wrong())?;
    Ok((name, value))
}
