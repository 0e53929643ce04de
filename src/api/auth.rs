//! Who calls: an app by its key, the owner of a hub token by that, and never a browser.

use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use super::error::ApiError;
use super::state::ApiState;
use super::trace;
use crate::config::Scope;
use crate::login::{AuthenticationError, Caller, LoginServices};

/// The schemes in which a key may come: the hub's own word, and that of RFC 6750.
const SCHEMES: [&str; 2] = ["token", "bearer"];

/// Domains that cannot be registered, so that no page from elsewhere can have a name in them: RFC 6761, ICANN's private-use
/// domain, and Kubernetes' short form of a service's name. Not `.local` (RFC 6762): any machine on the same network gives
/// itself such a name, and another address a moment later.
const PRIVATE_DOMAINS: [&str; 3] = [".localhost", ".internal", ".svc"];

/// The app, or the owner of a hub token, that the request is from, and may do what `S` stands for.
#[derive(Debug)]
pub(super) struct Authorized<S> {
    pub(super) caller: Caller,
    scope: PhantomData<S>,
}

/// What an app needs for a call.
pub(super) trait NeededScope {
    const SCOPE: Scope;
}

pub(super) enum ToIssue {}
pub(super) enum ToRead {}
pub(super) enum ToRevoke {}
pub(super) enum ToEnd {}

impl NeededScope for ToIssue {
    const SCOPE: Scope = Scope::Issue;
}

impl NeededScope for ToRead {
    const SCOPE: Scope = Scope::Read;
}

impl NeededScope for ToRevoke {
    const SCOPE: Scope = Scope::Revoke;
}

impl NeededScope for ToEnd {
    const SCOPE: Scope = Scope::End;
}

impl<S: NeededScope> FromRequestParts<Arc<ApiState>> for Authorized<S> {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, api: &Arc<ApiState>) -> Result<Self, ApiError> {
        let caller = authenticate(&api.login, &head.headers).await?;
        trace::authenticated(head, &caller);
        let (app, scope) = (&caller.app, S::SCOPE);
        if app.may(scope) {
            Ok(Self { caller, scope: PhantomData })
        } else {
            Err(ApiError::Scope { app: app.name.to_string(), scope })
        }
    }
}

/// That the request names a host which no page from elsewhere can have, or carries an app's key: for what needs no key.
/// The hub is not asked for its sake.
pub(super) struct KnownHost;

impl FromRequestParts<Arc<ApiState>> for KnownHost {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, api: &Arc<ApiState>) -> Result<Self, ApiError> {
        let has_key =
            || key(&head.headers).is_ok_and(|key| api.login.policy().applications.by_key(key).is_some());
        if !api.on_unix_socket && !has_key() {
            refuse_foreign_hosts(&head.uri, &head.headers, &api.public_host)?;
        }
        Ok(Self)
    }
}

/// The app whose key, or the owner whose hub token, the request carries.
async fn authenticate(login: &LoginServices, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let key = key(headers)?;
    let policy = login.policy();
    policy.applications.authenticate(key).await.map_err(|error| match error {
        AuthenticationError::Unknown => ApiError::Unauthenticated { key_given: true },
        AuthenticationError::NotListed { .. } => ApiError::NotListed(error),
        AuthenticationError::Hub(error) => ApiError::Hub(error),
    })
}

/// The key of the request, whoever's it is.
pub(super) fn key(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(ApiError::Unauthenticated { key_given: headers.contains_key(AUTHORIZATION) });
    };
    let line = line.to_str().map_err(|_| ApiError::Unauthenticated { key_given: true })?;
    // RFC 6750 § 3: another scheme, or none, is as if nothing were sent; whoever sends it is told how.
    key_of(line).ok_or(ApiError::Unauthenticated { key_given: false })
}

/// The key in `token KEY` or `Bearer KEY`. The scheme's case does not matter (RFC 9110 § 11.1).
fn key_of(credentials: &str) -> Option<&str> {
    let (scheme, key) = credentials.split_once(' ')?;
    let known = SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let key = key.trim_matches(' ');
    (known && !key.is_empty()).then_some(key)
}

/// Refuses what only a browser sends: scripts of any site, ours included, must not issue links with a user's network
/// position. An address typed into the address bar says `Sec-Fetch-Site: none` and may read what needs no key.
pub(super) fn refuse_browsers(headers: &HeaderMap) -> Result<(), ApiError> {
    let by_a_page = headers.get_all("sec-fetch-site").iter().any(|site| site != "none");
    if by_a_page || headers.contains_key(ORIGIN) { Err(ApiError::BrowserRequest) } else { Ok(()) }
}

/// Refuses a host name that a page from elsewhere could have rebound to our address.
///
/// Such a page calls us by its own name. An address, a name without a dot (`localhost`, or `hublatch` among containers)
/// and a name in a private domain can be no page's name from the internet; the public URL's host is hublatch's own.
/// Whoever scrapes metrics by another name sends an app's key.
fn refuse_foreign_hosts(uri: &Uri, headers: &HeaderMap, ours: &str) -> Result<(), ApiError> {
    let in_target = uri.authority().map(Authority::as_str);
    let in_headers = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or(""));
    for host in in_target.into_iter().chain(in_headers) {
        let name = host_name(host).ok_or(ApiError::HostNotAllowed)?;
        if name != ours && !is_unregistrable(&name) {
            return Err(ApiError::HostNotAllowed);
        }
    }
    Ok(())
}

/// The name or address in a Host header: lower case, without port and final dot.
pub(super) fn host_name(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    let name = authority.host();
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    (!name.is_empty() && !host.contains('@')).then_some(name)
}

fn is_unregistrable(name: &str) -> bool {
    let in_brackets = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    in_brackets.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        || name.parse::<Ipv4Addr>().is_ok()
        || !name.contains('.')
        || PRIVATE_DOMAINS.iter().any(|domain| name.ends_with(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_after_one_of_two_schemes_in_any_case() {
        for credentials in ["token k", "Bearer k", "TOKEN k", "bEARER  k "] {
            assert_eq!(key_of(credentials), Some("k"), "{credentials}");
        }
        for credentials in ["", "k", "token", "token ", "Basic k", "tokenk", "token\tk"] {
            assert_eq!(key_of(credentials), None, "{credentials}");
        }
    }

    #[test]
    fn names_that_no_page_from_elsewhere_can_have_are_allowed() {
        let allowed = [
            "127.0.0.1:8001",
            "[::1]:8001",
            "10.1.2.3",
            "localhost:8001",
            "LOCALHOST.",
            "hublatch:8001",
            "hublatch.jupyter.svc:8001",
            "host.docker.internal:8001",
            "hub.example.org:8001",
        ];
        for host in allowed {
            assert!(verdict(host).is_ok(), "{host}");
        }
    }

    #[test]
    fn names_that_a_page_from_elsewhere_can_have_are_refused() {
        let refused = [
            "evil.example",
            "evil.example:8001",
            "evil.local",
            "evil.local.:8001",
            "hublatch.jupyter.svc.cluster.local",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "hub.example.org.evil.example",
            "xhub.example.org",
            "0x7f.1",
            "user@localhost",
            "",
            ":8001",
            "a b",
        ];
        for host in refused {
            assert!(verdict(host).is_err(), "{host}");
        }
    }

    fn verdict(host: &str) -> Result<(), ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        refuse_foreign_hosts(&Uri::from_static("/metrics"), &headers, "hub.example.org")
    }
}
