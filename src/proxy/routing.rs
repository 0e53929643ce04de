//! What a routing table means for one request: its target, and what is rewritten on the way there and back.

use hyper::header::{HOST, HeaderName, HeaderValue, LOCATION};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, StatusCode, Uri};
use url::Url;

use super::healing::Healing;
use super::unreachable::ErrorPages;
use crate::config::{Activity, RoutesConfig};
use crate::routes::{Route, Scheme, Target, key};

/// The rules of the table's requests.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of configurable-http-proxy")]
pub struct Routing {
    include_prefix: bool,
    prepend_path: bool,
    custom_headers: Vec<(HeaderName, HeaderValue)>,
    auto_rewrite: bool,
    change_origin: bool,
    protocol_rewrite: Option<String>,
    /// What counts as use of a route.
    pub activity: Activity,
    /// The pages for requests that find nobody.
    pub errors: ErrorPages,
    /// What is done about a table that may lack a route.
    pub healing: Healing,
}

/// What a response's redirect is rewritten by: the host of its request, and the target that it comes from.
#[derive(Debug)]
pub struct Rewrite {
    host: HeaderValue,
    target: String,
}

impl Routing {
    /// Those of `config`.
    pub fn of(config: &RoutesConfig) -> Self {
        let chp = config.chp.clone().unwrap_or_default();
        Self {
            include_prefix: config.include_prefix,
            prepend_path: config.prepend_path,
            custom_headers: config.custom_headers.clone(),
            auto_rewrite: chp.auto_rewrite,
            change_origin: chp.change_origin,
            protocol_rewrite: chp.protocol_rewrite,
            activity: config.activity,
            errors: ErrorPages::of(config),
            healing: Healing::default(),
        }
    }

    /// The target of a request for `uri` by `route`, if that is another than its own.
    pub fn target(
        &self,
        uri: &Uri,
        route: &Route,
        target: &Target,
    ) -> Result<Option<Uri>, hyper::http::Error> {
        let before = if self.prepend_path { target.path() } else { "" };
        if before.is_empty() && self.include_prefix && target.query().is_none() {
            return Ok(None);
        }
        let path = if self.include_prefix { uri.path() } else { key::behind(uri.path(), path_of(route)) };
        let slash = if path.starts_with('/') || (path.is_empty() && !before.is_empty()) { "" } else { "/" };
        let query = match (target.query(), uri.query()) {
            (Some(ours), Some(theirs)) => format!("?{ours}&{theirs}"),
            (Some(only), None) | (None, Some(only)) => format!("?{only}"),
            (None, None) => String::new(),
        };
        Ok(Some(Uri::from(PathAndQuery::try_from(format!("{before}{slash}{path}{query}"))?)))
    }

    /// The headers of a request for `target`, and by what its response is rewritten.
    pub fn amend_request(&self, headers: &mut HeaderMap, target: &Target) -> Option<Rewrite> {
        let rewrite = (self.auto_rewrite || self.protocol_rewrite.is_some()).then(|| Rewrite {
            host: headers.get(HOST).cloned().unwrap_or_else(|| HeaderValue::from_static("")),
            target: origin(target),
        });
        if self.change_origin
            && let Ok(host) = HeaderValue::from_str(target.authority())
        {
            headers.insert(HOST, host);
        }
        for (name, value) in &self.custom_headers {
            headers.insert(name, value.clone());
        }
        rewrite
    }

    /// The redirect of a response: a target that leads to itself leads to the public name instead.
    pub fn amend_response(&self, status: StatusCode, headers: &mut HeaderMap, rewrite: &Rewrite) {
        // As configurable-http-proxy has it: not 303.
        if !matches!(status.as_u16(), 201 | 301 | 302 | 307 | 308) {
            return;
        }
        let Some(mut url) = headers.get(LOCATION).and_then(|to| Url::parse(to.to_str().ok()?).ok()) else {
            return;
        };
        let itself = url.host_str().unwrap_or_default();
        let itself = url.port().map_or_else(|| itself.to_owned(), |port| format!("{itself}:{port}"));
        if itself != rewrite.target {
            return;
        }
        if self.auto_rewrite
            && let Ok(host) = rewrite.host.to_str()
        {
            let (name, port) = match host.rsplit_once(':') {
                Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
                Some(_) | None => (host, None),
            };
            if url.set_host(Some(name)).is_err() || url.set_port(port).is_err() {
                return;
            }
        }
        if let Some(scheme) = &self.protocol_rewrite
            && url.set_scheme(scheme).is_err()
        {
            return;
        }
        if let Ok(location) = HeaderValue::from_str(url.as_str()) {
            headers.insert(LOCATION, location);
        }
    }
}

/// The path of a key: without its host, where the table is by host.
fn path_of(route: &Route) -> &str {
    let is_by_host = route.data.contains_key("host");
    let key = &*route.key;
    let path = if is_by_host { key[1..].find('/').map_or("", |at| &key[at + 1..]) } else { key };
    path.trim_end_matches('/')
}

/// Host and port of a target, as a URL of its scheme has them.
fn origin(target: &Target) -> String {
    let authority = target.authority();
    let default = match target.scheme() {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    authority.strip_suffix(default).unwrap_or(authority).to_owned()
}
