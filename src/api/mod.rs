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
//! (2) The hub's client id and secret, or the access token; only with `[hub_oauth]`: `hub_oauth.rs`.
//! (3) Only the form's `logout_token`, which an app with `jwt` and the scope `end` has signed: `sessions.rs`.
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
//! Knows nothing of connections, and nothing of the proxy.

mod auth;
mod body;
mod error;
mod exchange;
mod hub_oauth;
mod info;
mod json;
mod launch;
mod links;
mod member_error;
mod oauth;
mod order;
mod response;
mod routes;
mod sessions;
mod trace;
mod verify;

use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use crate::audit::Client;
use crate::config::{App, Config, Listen, Scope};
use crate::login::hub_oauth::HubOAuth;
use crate::login::{Caller, LoginServices};
use crate::reloads::Reloads;
use crate::request_id;
use crate::shutdown::Shutdown;
use crate::token::Username;

use error::ApiError;
use info::Info;
use oauth::{Form, OAuthError};
use response::{allow, json_response, response, without_body};
use routes::{Endpoint, FORWARD_AUTH, find_route};
use trace::CallTrace;

pub use response::{ApiBody, ApiResponse};
pub use routes::{ApiRoute, ROUTES};

/// The API, field by field, as `/api/v1/openapi.yaml` answers it.
pub const OPENAPI: &str = include_str!("openapi.yaml");

/// The codes of errors, as `/api/v1/errors.md` answers them.
const ERRORS: &str = include_str!("../../docs/errors.md");

/// Answers `/health`, `/ready` and `/metrics`: `status.rs` makes one. Passed in, because neither side knows the other.
pub type StatusPages =
    Arc<dyn Fn(&'static str, &HeaderMap) -> Pin<Box<dyn Future<Output = ApiResponse> + Send>> + Send + Sync>;

/// The management API.
pub struct Api {
    login: Arc<LoginServices>,
    status: StatusPages,
    reloads: Arc<Reloads>,
    /// Of what must go on when its caller hangs up.
    shutdown: Shutdown,
    info: Info,
    /// The host of `public.url`, which may be ours as well.
    public_host: String,
    /// No browser reaches a unix socket, so there the host says nothing.
    on_unix_socket: bool,
    body_timeout: Duration,
    /// Whether calls are in the access log.
    access_log: bool,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("info", &self.info).finish_non_exhaustive()
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
        Self {
            info: Info::of(config),
            public_host: auth::host_name(&config.public.url.authority).unwrap_or_default(),
            on_unix_socket: matches!(config.management.listen, Listen::Unix(_)),
            body_timeout: config.limits.held_body_timeout,
            access_log: config.log.access,
            login,
            status,
            reloads,
            shutdown,
        }
    }

    /// Answers one request. Whatever it holds, there is a response.
    pub async fn handle<B>(&self, client: Option<IpAddr>, request: Request<B>) -> Response<ApiBody>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut head, body) = request.into_parts();
        let trace = CallTrace::begin();
        let request_id = request_id::set(&mut head.headers, false);
        let mut body = pin!(body);
        let mut response = match self.dispatch(client, &head, body.as_mut(), &trace).await {
            Ok(response) => response,
            Err(error) => {
                trace.fail(error.status_and_code().1, error.username());
                error.into_response().map(ApiBody::Whole)
            }
        };
        let by = Client { address: client, request_id: Some(request_id.as_str()) };
        trace.end(&self.login.recorder, &head.method, response.status(), by, self.access_log);
        response.headers_mut().insert(request_id::X_REQUEST_ID, request_id.to_value());
        body::discard(&head.headers, body, self.body_timeout).await;
        // Links are credentials, and a cached status is a wrong one.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if head.method == Method::HEAD { without_body(response) } else { response }
    }

    async fn dispatch<B>(
        &self,
        client: Option<IpAddr>,
        head: &Parts,
        body: Pin<&mut B>,
        trace: &CallTrace,
    ) -> Result<Response<ApiBody>, ApiError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if head.uri.path() != FORWARD_AUTH {
            auth::refuse_browsers(&head.headers)?;
        }
        let (route, segment) = find_route(&head.method, head.uri.path())?;
        trace.reach(route);
        if let Endpoint::Progress = route.endpoint {
            let caller = self.caller(&head.headers, Scope::Read, trace).await?;
            return launch::progress(&self.login, &caller.app, segment).await;
        }
        self.whole(client, head, body, (route, segment), trace)
            .await
            .map(|response| response.map(ApiBody::Whole))
    }

    /// The response of an endpoint that answers at once.
    async fn whole<B>(
        &self,
        client: Option<IpAddr>,
        head: &Parts,
        body: Pin<&mut B>,
        (route, segment): (&'static ApiRoute, &str),
        trace: &CallTrace,
    ) -> Result<ApiResponse, ApiError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match route.endpoint {
            // It does not answer at once.
            Endpoint::Progress => Err(ApiError::NoSuchPath),
            Endpoint::Issue => {
                let caller = self.caller(&head.headers, Scope::Issue, trace).await?;
                let body = self.json(&head.headers, body, body::SMALL_BYTES_MAX).await?;
                links::issue(&self.issue_call(&caller, client), &head.headers, body).await
            }
            Endpoint::IssueBatch => {
                let caller = self.caller(&head.headers, Scope::Issue, trace).await?;
                let body = self.json(&head.headers, body, body::BATCH_BYTES_MAX).await?;
                links::issue_batch(&self.issue_call(&caller, client), &head.headers, body).await
            }
            Endpoint::ReadLink => {
                let caller = self.caller(&head.headers, Scope::Read, trace).await?;
                links::read(&self.login, &caller.app, segment).await
            }
            Endpoint::RevokeLink => {
                let caller = self.caller(&head.headers, Scope::Revoke, trace).await?;
                links::revoke(&self.login, &caller.app, segment, client).await
            }
            Endpoint::RevokeUser => {
                let caller = self.caller(&head.headers, Scope::Revoke, trace).await?;
                let username = self.user_in_path(&caller.app, segment)?;
                links::revoke_user(&self.login, &caller.app, &username, client).await
            }
            Endpoint::EndSessions => {
                let caller = self.caller(&head.headers, Scope::End, trace).await?;
                let username = self.user_in_path(&caller.app, segment)?;
                sessions::end(&self.login, &caller.app, &username, client).await
            }
            Endpoint::BackchannelLogout => {
                let response = match self.form(head, body).await {
                    Ok(form) => sessions::log_out(&self.login, form, client).await,
                    Err(error) => Err(error),
                };
                Ok(response.unwrap_or_else(|error| error.into_traced_response(trace)))
            }
            Endpoint::Verify => {
                let body = self.json(&head.headers, body, body::SMALL_BYTES_MAX).await?;
                verify::verify(&self.login, body).await
            }
            Endpoint::ForwardAuth => verify::forward_auth(&self.login, &head.headers, head.uri.query()).await,
            Endpoint::OAuthToken => {
                let response = match self.form(head, body).await {
                    Ok(form) => {
                        oauth::token(&self.login, &self.shutdown, (&head.headers, form), client, trace).await
                    }
                    Err(error) => Err(error),
                };
                Ok(response.unwrap_or_else(|error| error.into_traced_response(trace)))
            }
            Endpoint::OAuthRevoke => {
                let response = match self.form(head, body).await {
                    Ok(form) => oauth::revoke(&self.login, (&head.headers, form), client, trace).await,
                    Err(error) => Err(error),
                };
                Ok(response.unwrap_or_else(|error| error.into_traced_response(trace)))
            }
            Endpoint::HubOAuthToken => {
                let provider = self.hub_oauth()?;
                let response = match self.form(head, body).await {
                    Ok(form) => hub_oauth::token(&provider, &head.headers, form).await,
                    Err(error) => Err(error),
                };
                Ok(response.unwrap_or_else(|error| error.into_traced_response(trace)))
            }
            Endpoint::HubOAuthUserinfo => hub_oauth::userinfo(&*self.hub_oauth()?, &head.headers),
            Endpoint::HubOAuthJwks => {
                self.refuse_rebound_names(head)?;
                hub_oauth::jwks(&*self.hub_oauth()?)
            }
            Endpoint::HubOAuthDiscovery => {
                self.refuse_rebound_names(head)?;
                Ok(hub_oauth::discovery(&*self.hub_oauth()?))
            }
            Endpoint::Exchange => {
                let body = self.json(&head.headers, body, body::SMALL_BYTES_MAX).await?;
                exchange::exchange(&self.login, body, Client::at(client)).await
            }
            Endpoint::Info => {
                self.refuse_rebound_names(head)?;
                Ok(json_response(StatusCode::OK, &self.info.with(&self.reloads)))
            }
            Endpoint::OpenApi => {
                self.refuse_rebound_names(head)?;
                // RFC 9512.
                Ok(response(StatusCode::OK, "application/yaml", OPENAPI))
            }
            Endpoint::Errors => {
                self.refuse_rebound_names(head)?;
                // RFC 7763.
                Ok(response(StatusCode::OK, "text/markdown; charset=utf-8", ERRORS))
            }
            Endpoint::Status => {
                self.refuse_rebound_names(head)?;
                Ok((self.status)(route.path, &head.headers).await)
            }
        }
    }

    fn issue_call<'a>(&'a self, caller: &'a Caller, client: Option<IpAddr>) -> links::IssueCall<'a> {
        links::IssueCall { login: &self.login, caller, client }
    }

    fn hub_oauth(&self) -> Result<Arc<HubOAuth>, ApiError> {
        self.login.policy().hub_oauth.clone().ok_or(ApiError::NoSuchPath)
    }

    async fn form<B>(&self, head: &Parts, body: B) -> Result<Form, OAuthError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // A secret in an address ends in somebody's log.
        if head.uri.query().is_some() {
            return Err(ApiError::NotForm.into());
        }
        Form::parse(&body::form(&head.headers, body, self.body_timeout).await?)
    }

    /// The user of whom `app` speaks by the `segment` of a path.
    fn user_in_path(&self, app: &App, segment: &str) -> Result<Username, ApiError> {
        let name = percent_decode_str(segment).decode_utf8().map_err(|_| ApiError::NameNotUtf8)?;
        self.login.rules().usernames.parse(&app.full_username(&name)).map_err(ApiError::Username)
    }

    async fn caller(&self, headers: &HeaderMap, scope: Scope, trace: &CallTrace) -> Result<Caller, ApiError> {
        let caller = auth::authenticate(&self.login, headers).await?;
        trace.authenticated(&caller);
        let may = caller.app.may(scope);
        if may { Ok(caller) } else { Err(ApiError::Scope { app: caller.app.name.to_string(), scope }) }
    }

    /// Whether the request carries an app's key. The hub is not asked for the sake of what needs no key.
    fn has_key(&self, headers: &HeaderMap) -> bool {
        auth::key(headers).is_ok_and(|key| self.login.policy().applications.by_key(key).is_some())
    }

    async fn json<B>(
        &self,
        headers: &HeaderMap,
        body: B,
        bytes_max: usize,
    ) -> Result<body::JsonBody, ApiError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        body::read(headers, body, bytes_max, self.body_timeout).await
    }

    fn refuse_rebound_names(&self, head: &Parts) -> Result<(), ApiError> {
        if self.on_unix_socket || self.has_key(&head.headers) {
            return Ok(());
        }
        auth::refuse_foreign_hosts(&head.uri, &head.headers, &self.public_host)
    }
}
