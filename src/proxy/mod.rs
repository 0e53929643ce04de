//! One request from the browser to the hub and back.
//!
//! `Proxy::prepare` is the list that every request goes through; `login/` is the one branch that leaves it.

// Public for the fuzz targets (tests/fuzz): they judge hostile bytes without a socket.
pub mod cookies;
pub mod embed;
pub mod header_scan;
pub mod headers;
pub mod identity;
pub mod validate;

mod accept;
mod api_only;
mod context;
mod ended_session;
mod error;
mod failure_log;
mod forward;
mod header_names;
mod healing;
mod hub_session;
mod launch_page;
mod login;
mod logout;
mod origin_wide;
mod respond;
mod routing;
pub mod sessions;
mod spawn_queue;
mod tunnel;
mod unreachable;
mod upstream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::audit::Client;
use crate::body::CollectError;
use crate::config::Config;
use crate::hub::HubProbe;
use crate::metrics::{Reason, ReasonLabel, SourceLabel};
use crate::pages::Format;
use crate::request_id::{self, RequestId};
use crate::server::{ConnectionInfo, Service};

use accept::AcceptHeaders;
use context::RequestContext;
use ended_session::EndedSession;
use error::ProxyError;
use header_scan::HeaderScan;
use headers::Origin;
use upstream::Upstreams;

pub use context::{Parts, Proxy, Shared};
pub use upstream::ResponseBody;

/// Rooms of ours that answer instead of whom a request is for.
enum Room {
    Login,
    /// The hub's own OAuth login, where hublatch is its provider.
    OAuthLogin,
    Logout,
    Launch,
    /// Where the hub starts a server for whoever asks.
    Spawn,
    Health,
}

/// Where configurable-http-proxy says that it lives.
const HEALTH_PATH: &str = "/_chp_healthz";

fn health() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Whole(bytes::Bytes::from_static(b"{\"status\":\"OK\"}")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Service for Proxy {
    type Body = ResponseBody;

    async fn call(
        &self,
        connection: Arc<ConnectionInfo>,
        mut request: Box<Request<Incoming>>,
    ) -> Response<ResponseBody> {
        let (begun, version) = (Instant::now(), request.version());
        let (method, target) = (request.method().clone(), request.uri().path_and_query().cloned());
        let mut found = HeaderScan::among(request.headers(), &self.shared.identity);
        let wishes = std::mem::take(&mut found.wishes);
        let (has_upgrade, has_cookies) = (found.upgrade, found.cookies);
        let origin = self.shared.forwarding.origin(connection.peer, request.headers());
        let believed = self.shared.forwarding.trusts(connection.peer) || !self.shared.rules.logs_in;
        let logged = self.shared.rules.access_log;
        let peer = (logged && origin.client == connection.peer).then(|| connection.peer_value.clone());
        let request_id = request_id::set(request.headers_mut(), believed);
        let ended = if has_cookies { sessions::strip(&self.shared, request.headers_mut()) } else { None };
        let ended = ended.map(Arc::new);
        let answered = match self.prepare(&connection, origin, found, &mut request) {
            Err(error) => Err(error),
            Ok(upgrade) => {
                let ended = ended.clone();
                let context = RequestContext { request, origin, has_upgrade, has_cookies, upgrade, ended };
                // Boxed: a login must not make the state of every ordinary request larger.
                match self.room_of(&context.request) {
                    None if let Some(told) = sessions::response_to_person(self, &context, &wishes) => told,
                    Some(Room::Login) => Box::pin(login::handle(self, context)).await,
                    Some(Room::OAuthLogin) => self.lead_to_login(&context),
                    Some(Room::Logout) => Box::pin(logout::handle(self, context)).await,
                    Some(Room::Launch) => Box::pin(launch_page::handle(self, context)).await,
                    Some(Room::Spawn) => Box::pin(spawn_queue::handle(self, context)).await,
                    Some(Room::Health) => Ok(health()),
                    None if wishes.a_stream() => Box::pin(self.stream(context)).await,
                    None if self.shared.token_rules.api_only => {
                        Box::pin(api_only::forward(self, context)).await
                    }
                    None => self.forward(context).await,
                }
            }
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(error) => self.failed(&error, target.as_ref(), &wishes, has_upgrade).await,
        };
        if let Some(ended) = ended {
            let path = target.as_ref().map_or("/", PathAndQuery::path);
            self.end_session(&ended, path, origin, &request_id, &mut response);
        }
        respond::sign(self, &mut response, &request_id);
        self.shared.metrics.requests.count(version, response.status());
        if let Some(counters) = self.shared.routes.as_ref().and_then(|routes| routes.counters()) {
            counters.answered(has_upgrade, response.status());
        }
        let elapsed = begun.elapsed();
        self.shared.metrics.request_seconds.observe(elapsed);
        if logged {
            let other = if peer.is_none() { origin.client.to_string() } else { String::new() };
            let client = peer.as_ref().and_then(|peer| peer.to_str().ok()).unwrap_or(&other);
            self.log_access(client, &method, target.as_ref(), response.status(), elapsed, &request_id);
        }
        response
    }
}

impl Proxy {
    /// The line of a request in the access log.
    fn log_access(
        &self,
        client: &str,
        method: &Method,
        target: Option<&PathAndQuery>,
        status: StatusCode,
        elapsed: Duration,
        request_id: &RequestId,
    ) {
        // The path and never the query: a query can hold a secret of the hub's.
        tracing::info!(
            target: "hublatch::access",
            client_ip = %client,
            method = method.as_str(),
            path = self.loggable(target),
            status = status.as_u16(),
            micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            request_id = request_id.as_str(),
            "request"
        );
    }

    /// The proxy of the present thread.
    pub fn new(shared: Arc<Shared>, upstream: Arc<Upstreams>) -> Self {
        Self { shared, upstream, is_hub_api: false }
    }

    /// The same for notebooks and services, who get the Hub API and nothing else.
    #[must_use]
    pub fn with_hub_api_alone(&self) -> Self {
        Self { is_hub_api: true, ..self.clone() }
    }

    /// An empty pool of connections for one thread.
    pub fn pool(config: &Config, limits: Arc<crate::config::Limits>, shared: &Shared) -> Arc<Upstreams> {
        Arc::new(Upstreams::new(
            config,
            shared.routes.as_ref(),
            limits,
            Arc::clone(&shared.metrics),
            shared.shutdown.clone(),
            shared.connection_limit.clone(),
        ))
    }

    /// Asks the hub for its version, `GET {base}hub/api/`, which needs no credentials.
    pub fn probe(self) -> HubProbe {
        Arc::new(move || {
            let proxy = self.clone();
            Box::pin(async move {
                let headers: HeaderMap =
                    [(HOST, proxy.shared.rules.public_authority.clone())].into_iter().collect();
                let session = hub_session::HubSession::new(&proxy.shared.rules, &headers);
                let mut lease = proxy.upstream.lease().await.map_err(|error| error.to_string())?;
                session.version(&mut lease).await.map_err(|error| error.to_string())?;
                lease.release();
                Ok(())
            })
        })
    }

    /// Makes the browser forget a session that is over, unless the response is a login that begins another.
    fn end_session(
        &self,
        ended: &EndedSession,
        path: &str,
        origin: Origin,
        request_id: &RequestId,
        response: &mut Response<ResponseBody>,
    ) {
        if path == self.shared.rules.login_path && response.status().is_redirection() {
            return sessions::forget_planted(ended, &self.shared, response.headers_mut());
        }
        sessions::expire(ended, &self.shared, path, response.headers_mut());
        if ended.is_news() {
            let client = Client { address: Some(origin.client), request_id: Some(request_id.as_str()) };
            self.shared.login.recorder.session_over(client);
        }
    }

    /// What every request goes through, in this order: the upgrade that it asks for and may have.
    fn prepare(
        &self,
        connection: &ConnectionInfo,
        origin: Origin,
        mut found: HeaderScan,
        request: &mut Request<Incoming>,
    ) -> Result<Option<HeaderValue>, ProxyError> {
        let shared = &*self.shared;
        validate::check(request, found.host, found.upgrade, &shared.rules.public_authority)?;
        if shared.rules.logs_in && self.holds_token(request.uri().path()) {
            return Err(validate::Rejection::TokenInPath.into());
        }
        let upgrade =
            found.upgrade.then(|| headers::asked_upgrade(request.version(), request.headers())).flatten();
        shared.forwarding.keep_theirs(&mut found);
        headers::strip_request(request.headers_mut(), found, &shared.login.rules().parameter);
        let client = (origin.client == connection.peer).then(|| connection.peer_value.clone());
        shared.forwarding.add(request.headers_mut(), origin, client);
        Ok(upgrade)
    }

    /// Which room of ours answers a request, if any does: what is the hub's only where the hub is upstream.
    fn room_of(&self, request: &Request<Incoming>) -> Option<Room> {
        let (path, rules) = (request.uri().path(), &self.shared.rules);
        if self.is_hub_api {
            return None;
        }
        if path == HEALTH_PATH && self.shared.routing.is_some() {
            return Some(Room::Health);
        }
        let room = if path == rules.login_path {
            Room::Login
        } else if rules.oauth_login_path.as_deref() == Some(path) {
            Room::OAuthLogin
        } else if path == rules.logout_path {
            Room::Logout
        } else if path.starts_with(self.shared.token_rules.waiting_path.as_str())
            && self.shared.login.hub().has_token()
        {
            Room::Launch
        } else if path.starts_with(rules.spawn_path.as_str()) {
            Room::Spawn
        } else {
            return None;
        };
        let is_ours = rules.logs_in
            && (self.shared.routing.is_none() || self.upstream.leads_to_hub(request.headers(), path));
        is_ours.then_some(room)
    }

    /// The hub's OAuth login leads to its provider, and that is no page: whoever comes there is at the login.
    fn lead_to_login(&self, context: &RequestContext) -> Result<Response<ResponseBody>, ProxyError> {
        let (uri, path) = (context.request.uri(), &self.shared.rules.login_path);
        let parameter = &self.shared.token_rules.parameter;
        let query = uri.query().map(|query| parameter.cut(query).unwrap_or_else(|| query.to_owned()));
        match query.filter(|query| !query.is_empty()) {
            Some(query) => respond::see_other(&format!("{path}?{query}")),
            None => respond::see_other(path),
        }
    }

    /// Path and query, without the login parameter, for the page that is shown in the place of a response.
    fn asked(&self, target: Option<&PathAndQuery>) -> String {
        let Some(target) = target else { return "/".to_owned() };
        if !self.shared.rules.logs_in {
            return target.as_str().to_owned();
        }
        let query = target
            .query()
            .map(|query| self.shared.token_rules.parameter.cut(query).unwrap_or_else(|| query.to_owned()));
        match query.filter(|query| !query.is_empty()) {
            Some(query) => format!("{}?{query}", self.loggable(Some(target))),
            None => self.loggable(Some(target)).to_owned(),
        }
    }

    /// Whether a path holds the login parameter: some mail and chat clients damage the `?` of a link.
    fn holds_token(&self, path: &str) -> bool {
        memchr::memchr3(b'%', b'&', b';', path.as_bytes()).is_some()
            && self.shared.token_rules.parameter.mentions(path)
    }

    /// The path as far as it may be logged. A ticket says where its browser goes then, query and all.
    fn loggable<'a>(&'a self, target: Option<&'a PathAndQuery>) -> &'a str {
        let (path, waiting) =
            (target.map_or("", PathAndQuery::path), self.shared.token_rules.waiting_path.as_str());
        if path.starts_with(waiting) {
            return waiting;
        }
        if self.holds_token(path) { path.split(['%', '&', ';']).next().unwrap_or_default() } else { path }
    }

    /// The response to a request that ended in `error`: where a table says who should have answered, of that server.
    async fn failed(
        &self,
        error: &ProxyError,
        target: Option<&PathAndQuery>,
        wishes: &AcceptHeaders,
        is_upgrade: bool,
    ) -> Response<ResponseBody> {
        let Some(status) = error.finds_nobody().filter(|_| self.shared.routing.is_some()) else {
            return self.error_response(error, self.loggable(target), wishes.format());
        };
        self.tell(error, self.loggable(target));
        let asked = self.asked(target);
        // Boxed: it is rare, and must not make the state of every request larger.
        Box::pin(unreachable::respond(self, status, wishes, &asked, is_upgrade)).await
    }

    /// The response that tells of `error`, which is logged.
    fn error_response(&self, error: &ProxyError, path: &str, format: Format) -> Response<ResponseBody> {
        self.tell(error, path);
        error.response(&self.shared.pages, format)
    }

    fn tell(&self, error: &ProxyError, path: &str) {
        let source = error.side().as_str();
        self.shared.metrics.request_errors.get_or_create(&SourceLabel { source: Reason(source) }).inc();
        if let ProxyError::Body(CollectError::NoRoom) = error {
            let limit = ReasonLabel { reason: Reason("held_bytes") };
            self.shared.metrics.clients_limited.get_or_create(&limit).inc();
        }
        match error {
            ProxyError::Rejected(_) | ProxyError::Body(_) | ProxyError::OverShare(_) => {
                tracing::debug!(%error, source, path, "request rejected");
            }
            ProxyError::Upstream { error: cause, .. } => self.tell_upstream(error, cause.reason(), path),
            ProxyError::UnaskedUpgrade { .. } => self.tell_upstream(error, "upgrade", path),
            ProxyError::Unrouted(_) => tracing::debug!(%error, path, "no route"),
            ProxyError::TooManyTunnels { limit, server } => {
                if let Some(unlogged) = self.shared.failure_log.admit(limit, server, Instant::now()) {
                    tracing::error!(%error, source, server, path, unlogged, "request failed");
                }
            }
            ProxyError::Assertion(_) | ProxyError::HubOAuth(_) | ProxyError::Assembly(_) => {
                tracing::error!(%error, source, path, "request failed");
            }
        }
    }

    fn tell_upstream(&self, error: &ProxyError, reason: &'static str, path: &str) {
        self.shared.metrics.upstream_errors.get_or_create(&ReasonLabel { reason: Reason(reason) }).inc();
        let server = error.server();
        if let Some(unlogged) = self.shared.failure_log.admit(reason, server, Instant::now()) {
            let source = error.side().as_str();
            tracing::warn!(%error, source, server, path, unlogged, "no answer of the upstream");
        }
    }
}
