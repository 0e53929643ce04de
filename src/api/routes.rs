//! The endpoint table of the management API, and who is asked for in it.

use hyper::Method;

use super::error::{ApiError, ERRORS_PATH};

/// One line of the endpoint table.
#[derive(Debug)]
pub struct ApiRoute {
    /// The method; `GET` stands for `HEAD` too.
    pub method: Method,
    /// The path; a segment in braces stands for any one segment.
    pub path: &'static str,
    pub(super) endpoint: Endpoint,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Endpoint {
    Issue,
    IssueBatch,
    ReadLink,
    Progress,
    RevokeLink,
    RevokeUser,
    EndSessions,
    BackchannelLogout,
    Verify,
    ForwardAuth,
    OAuthToken,
    HubOAuthToken,
    HubOAuthUserinfo,
    HubOAuthJwks,
    HubOAuthDiscovery,
    OAuthRevoke,
    Exchange,
    Info,
    OpenApi,
    Errors,
    Status,
}

/// Where front proxies ask whom to let through.
pub(super) const FORWARD_AUTH: &str = "/api/v1/forward-auth";

/// The endpoint table.
pub const ROUTES: &[ApiRoute] = &[
    ApiRoute { method: Method::POST, path: "/api/v1/links", endpoint: Endpoint::Issue },
    ApiRoute { method: Method::POST, path: "/api/v1/links/batch", endpoint: Endpoint::IssueBatch },
    ApiRoute { method: Method::GET, path: "/api/v1/links/{id}", endpoint: Endpoint::ReadLink },
    ApiRoute { method: Method::GET, path: "/api/v1/links/{id}/progress", endpoint: Endpoint::Progress },
    ApiRoute { method: Method::DELETE, path: "/api/v1/links/{id}", endpoint: Endpoint::RevokeLink },
    ApiRoute { method: Method::DELETE, path: "/api/v1/users/{name}/links", endpoint: Endpoint::RevokeUser },
    ApiRoute {
        method: Method::DELETE,
        path: "/api/v1/users/{name}/sessions",
        endpoint: Endpoint::EndSessions,
    },
    ApiRoute {
        method: Method::POST,
        path: "/oidc/backchannel-logout",
        endpoint: Endpoint::BackchannelLogout,
    },
    ApiRoute { method: Method::POST, path: "/api/v1/verify", endpoint: Endpoint::Verify },
    ApiRoute { method: Method::GET, path: FORWARD_AUTH, endpoint: Endpoint::ForwardAuth },
    ApiRoute { method: Method::POST, path: "/oauth2/token", endpoint: Endpoint::OAuthToken },
    ApiRoute { method: Method::POST, path: "/oauth2/revoke", endpoint: Endpoint::OAuthRevoke },
    ApiRoute { method: Method::POST, path: "/login", endpoint: Endpoint::Exchange },
    ApiRoute { method: Method::POST, path: "/hub-oauth/token", endpoint: Endpoint::HubOAuthToken },
    ApiRoute { method: Method::GET, path: "/hub-oauth/userinfo", endpoint: Endpoint::HubOAuthUserinfo },
    ApiRoute { method: Method::GET, path: "/hub-oauth/jwks", endpoint: Endpoint::HubOAuthJwks },
    ApiRoute {
        method: Method::GET,
        path: "/.well-known/openid-configuration",
        endpoint: Endpoint::HubOAuthDiscovery,
    },
    ApiRoute { method: Method::GET, path: "/api/v1/info", endpoint: Endpoint::Info },
    ApiRoute { method: Method::GET, path: "/api/v1/openapi.yaml", endpoint: Endpoint::OpenApi },
    ApiRoute { method: Method::GET, path: ERRORS_PATH, endpoint: Endpoint::Errors },
    ApiRoute { method: Method::GET, path: "/health", endpoint: Endpoint::Status },
    ApiRoute { method: Method::GET, path: "/live", endpoint: Endpoint::Status },
    ApiRoute { method: Method::GET, path: "/ready", endpoint: Endpoint::Status },
    ApiRoute { method: Method::GET, path: "/metrics", endpoint: Endpoint::Status },
];

/// The route of a request, and the segment that its braces stand for.
pub(super) fn find_route<'p>(
    method: &Method,
    path: &'p str,
) -> Result<(&'static ApiRoute, &'p str), ApiError> {
    // "/api/v1/links/batch" is a name of its own and no link's id.
    let is_literal = |route: &&ApiRoute| route.path == path;
    let literal: Vec<&ApiRoute> = ROUTES.iter().filter(is_literal).collect();
    let candidates = if literal.is_empty() { ROUTES.iter().collect() } else { literal };
    let matching: Vec<(&ApiRoute, &str)> = candidates
        .into_iter()
        .filter_map(|route| captured(route.path, path).map(|segment| (route, segment)))
        .collect();
    if matching.is_empty() {
        return Err(ApiError::NoSuchPath);
    }
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    matching.iter().find(|(route, _)| route.method == wanted).copied().ok_or_else(|| {
        let methods = matching.iter().map(|(route, _)| match route.method {
            Method::GET => "GET, HEAD",
            ref other => other.as_str(),
        });
        ApiError::MethodNotAllowed { allow: methods.collect::<Vec<_>>().join(", ") }
    })
}

/// What the braces of `template` stand for in `path` (empty without braces), if it matches.
fn captured<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, rest)) = template.split_once('{') else {
        return (template == path).then_some("");
    };
    let after = rest.split_once('}').map_or("", |(_, after)| after);
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}
