//! `[routes]`: hublatch as the hub's own proxy, with a routing table that the hub writes.

use std::path::PathBuf;

use hyper::header::{HeaderName, HeaderValue};
use url::Url;
use zeroize::Zeroizing;

use super::Listen;
use super::address::listen;
use super::file::ConfigFile;
use super::secret::{Secret, refuse_exposed, secret};
use crate::tls::ClientRules;

/// `[routes]`.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of configurable-http-proxy")]
pub struct Routes {
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
    /// The file that keeps the table.
    pub state: Option<PathBuf>,
    /// Where only the Hub API answers.
    pub hub_api_listen: Option<Listen>,
    /// How targets of https are spoken to.
    pub client_tls: Option<ClientRules>,
    /// What only the command line of configurable-http-proxy can say.
    pub chp: Option<Chp>,
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
    /// Where plain requests are sent: the port of https.
    pub redirect_to: Option<u16>,
}

/// `[routes]`, if it is there: `Some(None)` is none, `None` a bad one.
#[allow(clippy::option_option)] // the outer one is that of every reader: a fault has been noted
pub(super) fn routes(file: &mut ConfigFile) -> Option<Option<Routes>> {
    if !file.has_section("routes") {
        return Some(None);
    }
    let api_listen = file.value("routes.api_listen", None, |text| listen(text).map(Some));
    let auth_token = auth_token(file);
    let default_target = file.value("routes.default_target", None, |text| {
        super::origin::web_url(text)
            .map(|_| Some(text.to_owned()))
            .ok_or_else(|| "is not the URL of a server".into())
    });
    let error_target = file.value("routes.error_target", None, |text| {
        let url = super::origin::web_url(text);
        url.map(Some)
            .ok_or_else(|| "is not a URL; write for example \"http://127.0.0.1:8081/hub/error\"".into())
    });
    let error_path = file.value("routes.error_path", None, |text| Ok(Some(PathBuf::from(text))));
    if matches!((&error_target, &error_path), (Some(Some(_)), Some(Some(_)))) {
        file.fault("routes.error_path", "is written as well as routes.error_target; keep one of the two");
    }
    let host_routing = file.flag("routes.host_routing", false);
    let include_prefix = file.flag("routes.include_prefix", true);
    let prepend_path = file.flag("routes.prepend_path", true);
    let custom_headers = file.list("routes.custom_headers", Vec::new(), custom_header);
    let activity = file.value("routes.activity", Activity::Bytes, |text| match text {
        "bytes" => Ok(Activity::Bytes),
        "messages" => Ok(Activity::Messages),
        _ => Err("is neither \"bytes\" nor \"messages\"".to_owned()),
    });
    let state = file.value("routes.state", None, |text| Ok(Some(text.to_owned())));
    let state = state.map(|state| state.map(|state| file.file_beside(&state)));
    let hub_api_listen = file.value("routes.hub_api_listen", None, |text| listen(text).map(Some));
    let client_tls = super::tls::of_routes(file);
    Some(Some(Routes {
        api_listen: api_listen?,
        auth_token: auth_token?,
        default_target: default_target?,
        error_target: error_target?,
        error_path: error_path?,
        host_routing: host_routing?,
        include_prefix: include_prefix?,
        prepend_path: prepend_path?,
        custom_headers: custom_headers?,
        activity: activity?,
        state: state?,
        hub_api_listen: hub_api_listen?,
        client_tls: client_tls?,
        chp: None,
    }))
}

/// `routes.auth_token`, if it is written: `Some(None)` is none, `None` a bad one.
#[allow(clippy::option_option)] // as above
fn auth_token(file: &mut ConfigFile) -> Option<Option<Zeroizing<String>>> {
    let Some(found) = secret(file, "routes.auth_token").ok()? else { return Some(None) };
    refuse_exposed(file, &found);
    let Secret { text, key } = found;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        // Not repeated: it is a secret.
        file.fault(
            &key,
            "holds no token: one line of visible ASCII, as in CONFIGPROXY_AUTH_TOKEN of the hub",
        );
        return None;
    }
    Some(Some(text))
}

/// `Name: value`.
pub fn custom_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || "is not a header; write for example \"X-Frame-Options: DENY\"".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = name.trim().parse::<HeaderName>().map_err(|_| wrong())?;
    let value = value.trim().parse::<HeaderValue>().map_err(|_| wrong())?;
    Ok((name, value))
}
