//! `[hub]`: the hub behind us.

use std::path::PathBuf;

use super::file::ConfigFile;
use super::listeners::HubAddress;
use super::origin::base_url;
use super::{HubApi, Listen, Login, WithoutToken, hub_api, tls};
use crate::tls::Connector;

/// Where the hub's public proxy answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
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

/// `[hub]`.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Where requests go. With a routing table: the hub's own address, and none if any will do.
    pub upstream: Option<Upstream>,
    /// How its certificate is verified; none: in the clear.
    pub tls: Option<Connector>,
    /// The hub's `base_url`: starts and ends with `/`.
    pub base_url: String,
    /// Nobody wrote it, so a routing table may tell it.
    pub base_url_is_default: bool,
    /// Where and how its API is called.
    pub api: HubApi,
    /// Whether it shows no pages: only its API, the login and the logout are routed to it.
    pub api_only: bool,
}

impl Hub {
    /// The path at which tokens are redeemed: `{base}hub/login`.
    pub fn login_path(&self) -> String {
        format!("{}hub/login", self.base_url)
    }
}

/// `[hub]`; its API must be none of our `own` listeners.
pub(super) fn hub(file: &mut ConfigFile, address: Option<HubAddress>, own: &[Listen]) -> Option<Hub> {
    let base_url_is_default = !file.is_written("hub.base_url");
    let base_url = file.value("hub.base_url", "/".to_owned(), base_url);
    let api_secure = file.text("hub.api_url").is_some_and(is_https);
    let secure = address.as_ref().is_some_and(|address| address.secure);
    let roots = tls::hub_roots(file, secure || api_secure);
    let is_learnt = address.is_none() && file.has_section("routes") && !file.is_withdrawn("hub.url");
    let upstream = address.map(|address| address.upstream);
    let tls = match (&upstream, &roots) {
        (Some(Upstream::Tcp { host, .. }), Some(roots)) if secure => {
            tls::to_hub(file, "hub.url", host, roots.clone()).map(Some)
        }
        _ => Some(None),
    };
    // The keys of the API are read whatever is wrong with the others.
    let nowhere = Upstream::Unix(PathBuf::new());
    let of_hub =
        hub_api::HubTls { roots: roots.clone().flatten(), of_url: tls.as_ref().and_then(Option::as_ref) };
    let base = base_url.as_deref().unwrap_or("/");
    let api = hub_api::api(file, upstream.as_ref().unwrap_or(&nowhere), base, &of_hub, own);
    if is_learnt && api.as_ref().is_some_and(|api| api.token.is_some() && api.socket == Some(PathBuf::new()))
    {
        file.fault(
            "hub.api_url",
            "is required with hub.api_token: write for example \"http://127.0.0.1:8081/hub/api\", or the hub's own \
             address as hub.url",
        );
    }
    let api_only = api_only(file, api.as_ref());
    if upstream.is_none() && !is_learnt {
        return None;
    }
    let (base_url, tls, api, _) = (base_url?, tls?, api?, roots?);
    Some(Hub { upstream, tls, base_url, base_url_is_default, api, api_only: api_only? })
}

/// Whether `text` is spelled as an URL of https.
pub(super) fn is_https(text: &str) -> bool {
    text.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

/// `hub.api_only`. In that mode hublatch itself starts servers, and asks whether they run.
fn api_only(file: &mut ConfigFile, api: Option<&HubApi>) -> Option<bool> {
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
