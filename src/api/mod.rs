//! The management API: JSON over HTTP, by which apps issue, watch and revoke login links.
//!
//! | call | scope | success | meaning |
//! | --- | --- | --- | --- |
//! | `POST /api/v1/links` | issue | 201 | issues a link; `Idempotency-Key` makes a repeat safe |
//! | `POST /api/v1/links/batch` | issue | 201 | issues 1 to 1000 links, all or none |
//! | `GET /api/v1/links/{id}` | read | 200 | where the app's own link stands, never its token |
//! | `GET /api/v1/links/{id}/progress` | read | 200 | how the server of a launched link starts: server-sent events |
//! | `DELETE /api/v1/links/{id}` | revoke | 204 | makes the app's own link dead |
//! | `DELETE /api/v1/users/{name}/links` | revoke | 200 | makes all of the app's pending links for a user dead |
//! | `DELETE /api/v1/users/{name}/sessions` | end | 200 | ends all browser sessions of a user |
//! | `POST /oidc/backchannel-logout` | (3) | 200 | the same, by a logout token of `OpenID` Connect |
//! | `POST /api/v1/verify` | none | 200 | whose a hub token is |
//! | `GET /api/v1/forward-auth` | none | 200 | the same for `auth_request` of nginx and `ForwardAuth` of Traefik |
//! | `POST /oauth2/token` | (1) | 200 | a hub API token for a token of the app's own (RFC 8693) |
//! | `POST /oauth2/revoke` | (1) | 200 | the end of such a hub API token (RFC 7009) |
//! | `POST /hub-oauth/token`, `GET /hub-oauth/userinfo` | (2) | 200 | who is logged in, for the hub's own OAuth login |
//! | `GET /hub-oauth/jwks`, `/.well-known/openid-configuration` | none | 200 | keys and addresses of that |
//! | `POST /login` | none | 200 | consumes a token for a user name (`JupyterHub`'s forced-login example) |
//! | `GET /api/v1/info` | none | 200 | what a developer needs to know of this hublatch |
//! | `GET /api/v1/openapi.yaml` | none | 200 | this API, field by field |
//! | `GET /api/v1/errors.md` | none | 200 | the codes of errors, and what to do |
//! | `GET /health`, `/live`, `/ready`, `/metrics` | none | 200 | see `status.rs` |
//!
//! `HEAD` is answered wherever `GET` is. Calls with a scope carry `Authorization: token KEY` or `Bearer KEY`: an app's key,
//! or a hub API token whose owner `[hub_tokens]` lists.
//! (1) OAuth: a form, the app's key in one of three ways, errors of RFC 6749; for apps with `[apps.hub_tokens]`: `oauth.rs`.
//! (2) The hub's client id and secret, or the access token; only with `[hub_oauth]`.
//! (3) Only the form's `logout_token`, which an app with `jwt` and the scope `end` has signed.
//! Every error is `{"status":400,"message":"…","code":"invalid_username","field":"username","doc_url":"…"}`; `error.rs` lists
//! the codes. Each call is told in the access log and counted, a refused one is in the audit, too (`trace.rs`), and every answer
//! bears `X-Request-Id`.
//!
//! A browser has no business here. Any `Origin`, and any `Sec-Fetch-Site` but `none` (an address typed by hand), is
//! 403 everywhere. A page that has rebound its own host name to our address sends neither with a plain GET, so a GET
//! without a key must also name a host that no such page can have; `auth.rs` says which those are. `forward-auth` alone
//! takes what a front proxy passes on of a browser's request: it changes nothing, and tells only who has a token whose
//! that is.
//!
//! An endpoint is a file in `endpoints/`. What it needs of a request it takes as arguments, which are looked at in their order:
//! who calls and what they may (`auth.rs`), what the path says (`extract.rs`), the body (`body.rs`, `oauth.rs`).
//!
//! Knows nothing of connections, and nothing of the proxy.

mod auth;
mod body;
mod document;
mod endpoint;
mod endpoints;
mod error;
mod extract;
mod issuing;
mod json;
mod launch;
mod member_error;
mod oauth;
mod order;
mod response;
mod schema;
mod shared_responses;
mod state;
mod trace;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, EXPECT, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Response, StatusCode};
use tower::ServiceExt as _;

use crate::audit::Client;
use crate::config::{Config, Listen};
use crate::login::LoginServices;
use crate::reloads::Reloads;
use crate::request_id;
use crate::shutdown::Shutdown;

use endpoints::{FORWARD_AUTH, Info};
use error::ApiError;
use extract::ClientAddress;
use response::CallRefusal;
use state::ApiState;
use trace::CallTrace;

pub use endpoint::ApiRoute;
pub use endpoints::OPENAPI;
pub use response::{ApiBody, ApiResponse};
pub use state::StatusPages;

/// What calls each endpoint.
pub static ROUTES: LazyLock<Vec<ApiRoute>> =
    LazyLock::new(|| endpoints::all().into_iter().map(|endpoint| endpoint.route).collect());

/// The management API.
pub struct Api {
    router: Router,
    login: Arc<LoginServices>,
    body_timeout: Duration,
    /// Whether calls are in the access log.
    access_log: bool,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("access_log", &self.access_log).finish_non_exhaustive()
    }
}

impl Api {
    /// The API of `config` over `login`.
    pub fn new(
        config: &Config,
        login: Arc<LoginServices>,
        status: StatusPages,
        reloads: Arc<Reloads>,
        shutdown: Shutdown,
    ) -> Self {
        let body_timeout = config.limits.held_body_timeout;
        let state = ApiState {
            info: Info::of(config, &reloads),
            public_host: auth::host_name(&config.public.url.authority).unwrap_or_default(),
            on_unix_socket: matches!(config.management.listen, Listen::Unix(_)),
            body_timeout,
            login: Arc::clone(&login),
            status,
            reloads,
            shutdown,
        };
        Self { router: router(Arc::new(state)), login, body_timeout, access_log: config.log.access }
    }

    /// Answers one request. Whatever it holds, there is a response.
    pub async fn handle<B>(&self, client: Option<IpAddr>, request: Request<B>) -> Response<ApiBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let trace = Arc::new(CallTrace::begin());
        let (head, body) = request.into_parts();
        let (body, unread) = body::lend(ApiBody::new(body));
        let mut request = Request::from_parts(head, body);
        let request_id = request_id::set(request.headers_mut(), false);
        // A client that waits for 100 (Continue) has sent nothing, and must not be asked to.
        let waits = request.headers().contains_key(EXPECT);
        let method = request.method().clone();
        request.extensions_mut().insert(Arc::clone(&trace));
        request.extensions_mut().insert(ClientAddress(client));
        let Ok(mut response) = self.router.clone().oneshot(request).await;
        let refusal = response.extensions_mut().remove::<CallRefusal>();
        let by = Client { address: client, request_id: Some(request_id.as_str()) };
        let outcome = (response.status(), refusal.as_ref());
        trace.end(&self.login.recorder, &method, outcome, by, self.access_log);
        if !waits {
            unread.discard(self.body_timeout).await;
        }
        let is_empty = response.status() == StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(request_id::X_REQUEST_ID, request_id.to_value());
        // Links are credentials, and a cached status is a wrong one.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if is_empty {
            // RFC 9110 § 8.6: axum writes the length of every body.
            headers.remove(CONTENT_LENGTH);
        }
        response
    }
}

/// All endpoints over `state`; `HEAD` is answered wherever `GET` is.
fn router(state: Arc<ApiState>) -> Router {
    let mut router = Router::new();
    for (endpoint, route) in endpoints::all().into_iter().zip(ROUTES.iter()) {
        router = router.route(route.path, endpoint.handler.route_layer(from_fn_with_state(route, reach)));
    }
    router
        .fallback(|| async { ApiError::NoSuchPath })
        .method_not_allowed_fallback(|path: MatchedPath| async move {
            ApiError::MethodNotAllowed { allow: allowed(path.as_str()) }
        })
        .layer(from_fn(refuse_before_routing))
        .with_state(state)
}

/// Tells the trace of a call which endpoint it has reached.
async fn reach(
    State(route): State<&'static ApiRoute>,
    Extension(trace): Extension<Arc<CallTrace>>,
    request: Request,
    next: Next,
) -> axum::response::Response {
    trace.reach(route);
    next.run(request).await
}

/// Refuses browsers everywhere but where front proxies pass their requests on, and paths with an empty segment, which the
/// router takes for a name.
async fn refuse_before_routing(request: Request, next: Next) -> Result<axum::response::Response, ApiError> {
    let path = request.uri().path();
    if path != FORWARD_AUTH {
        auth::refuse_browsers(request.headers())?;
    }
    if path.contains("//") {
        return Err(ApiError::NoSuchPath);
    }
    Ok(next.run(request).await)
}

/// The methods that `path` takes, for `Allow`.
fn allowed(path: &str) -> String {
    let here = ROUTES.iter().filter(|route| route.path == path);
    let methods = here.map(|route| match route.method {
        Method::GET => "GET, HEAD",
        ref other => other.as_str(),
    });
    methods.collect::<Vec<_>>().join(", ")
}
