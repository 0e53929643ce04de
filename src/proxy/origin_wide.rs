//! What a response says for the whole origin. On a host that users' servers share with the hub, that is not theirs to say:
//! a service worker above the server's own path would see other people's login links, and so would whoever has the
//! browser report all requests of the origin to him.
//!
//! The hub says what it likes, and so does a server that has a host of its own.

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Request};

use super::context::Shared;

/// Widens the scope of a service worker beyond the folder of its script (Service Workers § 6.2).
const SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");

/// What clears cookies and storage of an origin, has browsers report its requests with their whole addresses (Network Error
/// Logging, Reporting), or has them ask elsewhere (RFC 7838).
const FOR_THE_ORIGIN: [HeaderName; 5] = [
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("alt-svc"),
    SERVICE_WORKER_ALLOWED,
];

/// Who answers a request, as far as that decides what the response may say.
#[derive(Debug)]
pub struct Responder {
    /// The path of the request, if a user's server or a service may answer it on the hub's own host.
    shares_host: Option<PathAndQuery>,
}

impl Responder {
    /// Who answers `request`.
    pub fn of<B>(shared: &Shared, request: &Request<B>) -> Self {
        let (rules, path) = (&shared.rules, request.uri().path());
        let below = path.strip_prefix(rules.base_url.as_str());
        let is_hub = below.is_some_and(|below| below.starts_with("hub/"));
        let shares_host = rules.logs_in && !is_hub && rules.is_public_host(request.headers());
        Self { shares_host: shares_host.then(|| request.uri().path_and_query().cloned()).flatten() }
    }

    /// Takes back what the response with `headers` may not say.
    pub fn amend(&self, shared: &Shared, headers: &mut HeaderMap) {
        let Some(target) = &self.shares_host else { return };
        let home = Home::of(&shared.rules.base_url, target.path());
        // Nearly no response says any of it.
        if !headers.keys().any(is_for_the_origin) && !matches!(home, Home::Without) {
            return;
        }
        let scope = match home {
            Home::At(home) => {
                let allowed = headers.get_all(SERVICE_WORKER_ALLOWED);
                let mut allowed = allowed.iter().map(HeaderValue::as_bytes);
                match (allowed.next(), allowed.next()) {
                    (None, _) => None,
                    (Some(scope), None) if is_within(scope, home.as_bytes()) => {
                        HeaderValue::from_bytes(scope).ok()
                    }
                    (Some(_), _) => HeaderValue::from_str(home).ok(),
                }
            }
            // Its script at this very path would have the folder above it, which holds everybody's servers.
            Home::Without => HeaderValue::from_str(&format!("{}/", target.path())).ok(),
            Home::Unknown => None,
        };
        for name in &FOR_THE_ORIGIN {
            headers.remove(name);
        }
        if let Some(scope) = scope {
            headers.insert(SERVICE_WORKER_ALLOWED, scope);
        }
    }
}

/// Below which path a server is at home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home<'p> {
    /// This one, with a slash at its end: `/user/alice/`.
    At(&'p str),
    /// The request is for the server, and its path lacks the slash: `/user/alice`.
    Without,
    /// It is none of a user's server or a service.
    Unknown,
}

impl<'p> Home<'p> {
    fn of(base_url: &str, path: &'p str) -> Self {
        let Some(below) = path.strip_prefix(base_url) else { return Self::Unknown };
        let named = below.strip_prefix("user/").or_else(|| below.strip_prefix("services/"));
        let Some(named) = named.filter(|named| !named.is_empty() && !named.starts_with('/')) else {
            return Self::Unknown;
        };
        match named.find('/') {
            Some(end) => Self::At(&path[..=path.len() - named.len() + end]),
            None => Self::Without,
        }
    }
}

/// Whether the scope that `allowed` names lies below `home`, however a browser reads it.
fn is_within(allowed: &[u8], home: &[u8]) -> bool {
    let Some(rest) = allowed.strip_prefix(home) else { return false };
    // A dot segment leads out of it again; a backslash is a slash for browsers (WHATWG URL).
    !rest.iter().any(|byte| *byte == b'\\' || byte.is_ascii_control())
        && !rest.split(|byte| *byte == b'/').any(|segment| {
            segment.starts_with(b".")
                || segment.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case(b"%2e"))
        })
}

fn is_for_the_origin(name: &HeaderName) -> bool {
    // Told apart by their lengths, which differ.
    matches!(name.as_str(), "clear-site-data" | "nel" | "report-to" | "alt-svc" | "service-worker-allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_at_home_below_the_name_of_its_user_or_service() {
        for (base, path, home) in [
            ("/", "/user/alice/lab/sw.js", Home::At("/user/alice/")),
            ("/", "/user/alice/", Home::At("/user/alice/")),
            ("/", "/services/x/y", Home::At("/services/x/")),
            ("/jupyter/", "/jupyter/user/a%40b/named/x", Home::At("/jupyter/user/a%40b/")),
            ("/", "/user/alice", Home::Without),
            ("/", "/services/x", Home::Without),
            ("/", "/user/", Home::Unknown),
            ("/", "/user//x", Home::Unknown),
            ("/", "/users/alice/", Home::Unknown),
            ("/", "/", Home::Unknown),
            ("/jupyter/", "/user/alice/", Home::Unknown),
        ] {
            assert_eq!(Home::of(base, path), home, "{path}");
        }
    }

    #[test]
    fn a_scope_is_within_only_if_every_browser_reads_it_so() {
        for scope in ["/user/a/", "/user/a/lab/x", "/user/a/lab?x=..", "/user/a/x..y/"] {
            assert!(is_within(scope.as_bytes(), b"/user/a/"), "{scope}");
        }
        for scope in [
            "",
            "/",
            "./",
            "../",
            "/user/",
            "/user/a",
            "/user/ab/",
            "/user/a/..",
            "/user/a/../b/",
            "/user/a/%2E%2e/",
            "/user/a/.%2e/",
            "/user/a/\\..\\",
            "/user/a/.\t./",
            "//user/a/",
            "http://hub.test/user/a/",
            "\"/user/a/\"",
        ] {
            assert!(!is_within(scope.as_bytes(), b"/user/a/"), "{scope}");
        }
    }
}
