//! What is refused before anything else is looked at: odd targets, methods and hosts.
//!
//! Ambiguous framing is refused even earlier, in `server::framing`, where the bytes are still to be seen.

use hyper::body::{Body as _, Incoming};
use hyper::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, StatusCode, Uri, Version};

use super::header_scan::{Host, is_readable_host};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum Rejection {
    /// `CONNECT` and `TRACE`.
    Method,
    /// None, several or unreadable Host headers.
    Host,
    /// An absolute target whose authority is not the Host.
    Authority,
    /// The target is no path.
    Form,
    /// A dot segment or a raw backslash in the path, or a control byte.
    Path,
    /// The path holds a login token.
    TokenInPath,
    /// More than one login token, another spelling of its name, or two `next`.
    LoginQuery,
    /// A link that was escaped for HTML once too often: `&amp;` stands where `&` belongs.
    EscapedLink,
    /// A `next` that leads elsewhere.
    Next,
    /// A login that is no navigation of a browser to a document.
    NotANavigation,
    /// A login with an `Upgrade`.
    LoginUpgrade,
    /// A login form in another type than urlencoded, or unreadable.
    LoginForm,
    /// A login under another name than that of `public.url`.
    Misdirected,
    /// The login would have a larger head than the hub takes.
    TooManyCookies,
    /// Transfer-Encoding is left although the framing was judged: cannot happen, and is refused if it does.
    Framing,
}

impl Rejection {
    /// The status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotANavigation => StatusCode::FORBIDDEN,
            Self::TooManyCookies => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            // RFC 9110 § 15.5.20: a browser may ask again over a connection of its own.
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Host
            | Self::Authority
            | Self::Form
            | Self::Path
            | Self::TokenInPath
            | Self::LoginQuery
            | Self::EscapedLink
            | Self::Next
            | Self::LoginUpgrade
            | Self::LoginForm
            | Self::Framing => StatusCode::BAD_REQUEST,
        }
    }

    /// The stable word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Method => "method_not_allowed",
            Self::Host => "bad_host",
            Self::Authority => "authority_is_not_host",
            Self::Form => "bad_target",
            Self::Path => "bad_path",
            Self::TokenInPath | Self::EscapedLink => "link_damaged",
            Self::LoginQuery => "bad_login_query",
            Self::Next => "bad_next",
            Self::NotANavigation => "not_a_navigation",
            Self::LoginUpgrade => "login_is_no_upgrade",
            Self::LoginForm => "bad_login_form",
            Self::Misdirected => "misdirected_login",
            Self::TooManyCookies => "too_many_cookies",
            Self::Framing => "bad_framing",
        }
    }

    /// The sentence for people.
    pub fn message(self) -> &'static str {
        match self {
            Self::Method => "This method is not allowed here.",
            Self::Host => "The request must have exactly one readable Host header.",
            Self::Authority => "The request's target and its Host header name different hosts.",
            Self::Form => "The request's target is not a path.",
            Self::Path => "The path holds a dot segment, a backslash or a control character.",
            Self::TokenInPath => "The link was damaged on its way: open it from the application itself.",
            Self::EscapedLink => {
                "The link was damaged on its way, \"&amp;\" stands where \"&\" belongs: open it from the application itself."
            }
            Self::LoginQuery => "The link holds more than one login or more than one destination.",
            Self::Next => "The destination of this link is not allowed.",
            Self::NotANavigation => "A login link must be opened as a page of its own.",
            Self::LoginUpgrade => "A login cannot be upgraded to another protocol.",
            Self::LoginForm => "The login form cannot be read.",
            Self::Misdirected => "A login link works only at the address for which it was made.",
            Self::TooManyCookies => {
                "Your browser sends more cookies than the hub takes. Delete those of this site and open the link again: it \
                 has not been used."
            }
            Self::Framing => "The length of the request's body is ambiguous.",
        }
    }
}

/// Refuses what must not pass, and leaves the target in origin form with one Host.
pub fn check(
    request: &mut Request<Incoming>,
    host: Host,
    has_upgrade: bool,
    public_authority: &HeaderValue,
) -> Result<(), Rejection> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Rejection::Method);
    }
    check_host(request, host, public_authority)?;
    let Some(target) = request.uri().path_and_query() else { return Err(Rejection::Form) };
    if !target.path().starts_with('/') {
        return Err(Rejection::Form);
    }
    check_path(target)?;
    // What follows an upgrade is another protocol, and nobody says where a body before it would end.
    if has_upgrade && !request.body().is_end_stream() {
        return Err(Rejection::Framing);
    }
    if request.version() != Version::HTTP_11 && request.headers().contains_key(TRANSFER_ENCODING) {
        return Err(Rejection::Framing);
    }
    Ok(())
}

/// Exactly one Host (RFC 9112 § 3.2), which an absolute target must agree with. HTTP/1.0 may leave it out: the public
/// name then stands in, because the hub compares it.
fn check_host(
    request: &mut Request<Incoming>,
    host: Host,
    public_authority: &HeaderValue,
) -> Result<(), Rejection> {
    let is_there = match host {
        Host::Readable => true,
        Host::Missing if request.version() == Version::HTTP_10 && is_readable_host(public_authority) => false,
        Host::Missing | Host::Odd => return Err(Rejection::Host),
    };
    if let Some(authority) = request.uri().authority() {
        let host = if is_there { request.headers().get(HOST) } else { Some(public_authority) };
        let host = host.ok_or(Rejection::Host)?.as_bytes();
        if !authority.as_str().as_bytes().eq_ignore_ascii_case(host) {
            return Err(Rejection::Authority);
        }
        let target = request.uri().path_and_query().cloned().ok_or(Rejection::Form)?;
        *request.uri_mut() = Uri::from(target);
    }
    if !is_there {
        request.headers_mut().insert(HOST, public_authority.clone());
    }
    Ok(())
}

/// Whether `host` is that of `public`, the authority of an http or, if `secure`, https URL as browsers write it. A client may
/// write it in another case, and with the port that goes without saying. With a dot at the end it is another name: browsers
/// keep other cookies for it.
pub fn is_host_of(public: &HeaderValue, secure: bool, host: &HeaderValue) -> bool {
    let (public, host) = (public.as_bytes(), host.as_bytes());
    let default: &[u8] = if secure { b":443" } else { b":80" };
    public.eq_ignore_ascii_case(host)
        || host.strip_suffix(default).is_some_and(|name| public.eq_ignore_ascii_case(name))
}

/// Proxies behind us resolve dot segments and turn `\` into `/` before they route, so that what we take for another
/// path could be the login. All else passes as it is: notebooks have such names. In a query nothing is routed, and browsers
/// send a backslash there as it was typed (`?re=\d+`).
pub fn check_path(target: &PathAndQuery) -> Result<(), Rejection> {
    let path = target.path();
    let is_odd = |byte: u8| byte == b'\\' || byte.is_ascii_control();
    // Nearly no target has one. Without a way out the loop takes many bytes at once.
    if target.as_str().bytes().fold(false, |odd, byte| odd | is_odd(byte))
        && (path.contains('\\') || target.as_str().bytes().any(|byte| byte.is_ascii_control()))
    {
        return Err(Rejection::Path);
    }
    let may_have_dots = memchr::memchr2(b'.', b'%', path.as_bytes()).is_some();
    if may_have_dots && (path.contains("/.") || path.contains("/%2")) {
        for segment in path.split('/') {
            if is_dot_segment(segment) {
                return Err(Rejection::Path);
            }
        }
    }
    Ok(())
}

/// `.` and `..`, each dot also as `%2e` (WHATWG URL, single- and double-dot path segments).
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while !rest.is_empty() {
        let cut = rest.strip_prefix('.').or_else(|| {
            rest.get(..3).filter(|dot| dot.eq_ignore_ascii_case("%2e")).map(|dot| &rest[dot.len()..])
        });
        let Some(cut) = cut else { return false };
        rest = cut;
        dots += 1;
    }
    (1..=2).contains(&dots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(path: &str) -> Result<(), Rejection> {
        check_path(&PathAndQuery::try_from(path).unwrap())
    }

    #[test]
    fn a_dot_segment_in_any_spelling_is_refused() {
        for path in [
            "/.",
            "/..",
            "/a/../b",
            "/./a",
            "/a/%2e",
            "/a/%2E%2e/b",
            "/a/.%2e",
            "/a/%2e.",
            "/a\\b",
            "/a\\b?c",
        ] {
            assert_eq!(verdict(path), Err(Rejection::Path), "{path}");
        }
    }

    #[test]
    fn a_host_is_that_of_the_public_url_in_any_case_and_with_its_default_port() {
        let is = |public: &'static str, secure, host| {
            is_host_of(&HeaderValue::from_static(public), secure, &HeaderValue::from_str(host).unwrap())
        };
        for (public, secure, host) in [
            ("hub.test", true, "hub.test"),
            ("hub.test", true, "HUB.Test:443"),
            ("hub.test", false, "hub.test:80"),
            ("[::1]:8000", false, "[::1]:8000"),
            ("[::1]", false, "[::1]:80"),
        ] {
            assert!(is(public, secure, host), "{public} {host}");
        }
        for (public, secure, host) in [
            ("hub.test", true, "hub.test:80"),
            ("hub.test", false, "hub.test:443"),
            ("hub.test", true, "hub.test.:443"),
            ("hub.test", true, "hub.test."),
            ("hub.test", true, "evil.hub.test"),
            ("hub.test", true, "hub.test:"),
            ("hub.test:8443", true, "hub.test"),
            ("[::1]:8000", false, "[::1]"),
        ] {
            assert!(!is(public, secure, host), "{public} {host}");
        }
    }

    #[test]
    fn the_names_of_notebooks_pass() {
        for path in [
            "/",
            "/...",
            "/.ipynb_checkpoints/x",
            "/a/..b",
            "/a%2Fb",
            "/%2Fa",
            "/a;b",
            "//a",
            "/a//b",
            "/%2e%2ex",
            "/é",
            "/a?x=../..",
            "/a?re=\\d+",
        ] {
            assert_eq!(verdict(path), Ok(()), "{path}");
        }
    }
}
