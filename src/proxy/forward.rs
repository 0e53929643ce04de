//! An ordinary request on its way to the hub, and one that asks for another protocol.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};

use super::context::{Proxy, RequestContext};
use super::cookies;
use super::error::ProxyError;
use super::healing::Healing;
use super::origin_wide::Responder;
use super::routing::Rewrite;
use super::tunnel::copy::{self, Used};
use super::upstream::limit::Purpose;
use super::upstream::{ResponseBody, RouteError, Upstream, UpstreamDestination};
use crate::body::{RequestBody, hold};
use crate::last_activity::LastActivity;
use crate::routes::Route;

/// The largest body of a chunked `DELETE` or `OPTIONS`: it goes upstream with its length, because some proxies forward
/// such a body without framing.
const UNFRAMED_BODY_BYTES_MAX: usize = 64 * 1024;

impl Proxy {
    /// An ordinary request: without any login parameter, and without cookies of ours.
    pub(super) async fn forward(
        &self,
        context: RequestContext,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let RequestContext { mut request, origin, upgrade, has_cookies, .. } = context;
        if self.shared.rules.logs_in {
            if has_cookies {
                cookies::strip_ours(request.headers_mut());
            }
            self.strip_query(&mut request)?;
        }
        let responder = Responder::of(&self.shared, &request);
        let UpstreamDestination { pool, route } = self.destination(&request).await?;
        let (used, rewrite) = match &route {
            None => (None, None),
            Some(route) => {
                self.shared.metrics.routed[route.kind as usize].inc();
                (Some(route.last_activity.clone()), self.to_target(&mut request, route)?)
            }
        };
        if upgrade.is_some() {
            return Box::pin(self.upgrade(request, origin.client, upgrade, &pool, used, responder)).await;
        }
        let request = self.with_body(request, origin.client, used.clone()).await?;
        let share = self.shared.hub_share(origin.client, Purpose::Request).await?;
        let sent = pool.send(request, Some(share), used).await;
        let mut response = sent.map_err(|error| ProxyError::of_server(error, pool.address()))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ProxyError::UnaskedUpgrade { server: pool.address().to_string().into() });
        }
        self.shared.finish(response.headers_mut());
        responder.amend(&self.shared, response.headers_mut());
        if let (Some(rewrite), Some(routing)) = (rewrite, &self.shared.routing) {
            routing.amend_response(response.status(), response.headers_mut(), &rewrite);
        }
        Ok(response)
    }

    /// Where a request goes.
    async fn destination(&self, request: &Request<Incoming>) -> Result<UpstreamDestination, ProxyError> {
        let (headers, path) = (request.headers(), request.uri().path());
        let base_url = self.shared.rules.base_url.as_str();
        if self.is_hub_api {
            let below = path.strip_prefix(base_url).and_then(|rest| rest.strip_prefix("hub/api"));
            // A server that starts asks for `hub/api` itself, and does not run without an answer.
            if !below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
                return Err(RouteError::NoRoute.into());
            }
            return Ok(UpstreamDestination { pool: self.upstream.hub()?.into_pool(), route: None });
        }
        let found = self.upstream.for_request(headers, path);
        match &self.shared.routing {
            Some(routing) if Healing::may_help(self.upstream.routes(), &found, path, base_url) => {
                // Boxed: it is rare, and must not make the state of every request larger.
                if Box::pin(Healing::look(self.upstream.routes())).await {
                    let again = self.upstream.for_request(headers, path);
                    if !Healing::may_help(self.upstream.routes(), &again, path, base_url) {
                        return Ok(again?);
                    }
                }
                if Box::pin(routing.healing.heal(self.upstream.routes(), self.shared.login.hub())).await {
                    return Ok(self.upstream.for_request(headers, path)?);
                }
                Ok(found?)
            }
            Some(_) | None => Ok(found?),
        }
    }

    /// Before a login: where the table does not say where the hub is, whoever may know is asked.
    pub(super) async fn find_hub(&self) {
        let Some(routing) = self.shared.routing.as_ref().filter(|_| self.upstream.lacks_hub()) else {
            return;
        };
        let routes = self.upstream.routes();
        // Boxed: it is rare, and must not make the state of every login larger.
        if Box::pin(Healing::look(routes)).await && !self.upstream.lacks_hub() {
            return;
        }
        // Without the hub the login says so, and uses nothing up.
        _ = Box::pin(routing.healing.heal(routes, self.shared.login.hub())).await;
    }

    /// What a request is rewritten to on its way by `route`, and what its response is rewritten by.
    fn to_target(
        &self,
        request: &mut Request<Incoming>,
        route: &Route,
    ) -> Result<Option<Rewrite>, ProxyError> {
        let (Some(routing), Some(target)) = (&self.shared.routing, &route.target) else { return Ok(None) };
        if let Some(uri) = routing.target(request.uri(), route, target)? {
            *request.uri_mut() = uri;
        }
        Ok(routing.amend_request(request.headers_mut(), target))
    }

    /// A request that asks for another protocol: passed on as such, and followed if the hub agrees to just that.
    async fn upgrade(
        &self,
        mut request: Box<Request<Incoming>>,
        client: IpAddr,
        asked: Option<HeaderValue>,
        pool: &Arc<Upstream>,
        used: Option<LastActivity>,
        responder: Responder,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let shared = &*self.shared;
        if shared.tunnels.open() >= shared.rules.tunnels_max {
            return Err(ProxyError::TooManyTunnels { limit: "limits.tunnels", server: Box::default() });
        }
        let server = || pool.address().to_string().into();
        let limit = "limits.route_tunnels";
        let tunnel_permit =
            pool.tunnel_permit().ok_or_else(|| ProxyError::TooManyTunnels { limit, server: server() })?;
        let tunnel_share = shared.tunnel_share(client)?;
        // Before the request is sent: a session that ends while the hub thinks must take this tunnel with it.
        let registered = shared.tunnels.register(cookies::session_ids(request.headers()));
        let downstream = hyper::upgrade::on(&mut *request);
        let mut request = self.with_body(request, client, None).await?;
        if let Some(asked) = &asked {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            request.headers_mut().insert(UPGRADE, asked.clone());
        }
        let share = shared.hub_share(client, Purpose::Request).await?;
        let sent = pool.send_upgrade(request, Some(share), used.clone()).await;
        let mut response = sent.map_err(|error| ProxyError::of_server(error, pool.address()))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.shared.finish(response.headers_mut());
            responder.amend(&self.shared, response.headers_mut());
            return Ok(response);
        }
        let agreed = agreed_upgrade(asked.as_ref(), response.headers());
        let agreed = agreed.ok_or_else(|| ProxyError::UnaskedUpgrade { server: server() })?;
        let (of_server, upstream) = (pool.count_tunnel(), hyper::upgrade::on(&mut response));
        self.shared.finish(response.headers_mut());
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, agreed);
        let (shared, counted) = (Arc::clone(&self.shared), shared.tunnels.count());
        let used = used.map(|used| Used::by(used, shared.routing.as_ref().map(|routing| routing.activity)));
        self.shared.shutdown.spawn_tunnel(async move {
            let _counted = (counted, tunnel_share, tunnel_permit, of_server);
            // Boxed: the halves of the handshake are large, and the tunnel outlives them.
            let joined = Box::pin(async { tokio::try_join!(downstream, upstream) }).await;
            let ended = match joined {
                Ok((downstream, upstream)) => {
                    let idle = shared.rules.tunnel_idle;
                    copy::run(downstream, upstream, registered, idle, used, &shared.shutdown).await
                }
                Err(error) => Err(std::io::Error::other(error)),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "tunnel");
            }
        });
        Ok(response)
    }

    /// The request as it goes upstream: with the beginning of its body, or all of it where its framing could be lost.
    async fn with_body(
        &self,
        request: Box<Request<Incoming>>,
        client: IpAddr,
        used: Option<LastActivity>,
    ) -> Result<Box<Request<RequestBody>>, ProxyError> {
        let (mut parts, incoming) = (*request).into_parts();
        parts.version = Version::HTTP_11;
        let body = if incoming.is_end_stream() {
            RequestBody::Empty
        } else {
            // Boxed: it is rare, and must not make the state of every request larger.
            Box::pin(self.body(&mut parts, incoming, client, used)).await?
        };
        Ok(Box::new(Request::from_parts(parts, body)))
    }

    async fn body(
        &self,
        parts: &mut Parts,
        incoming: Incoming,
        client: IpAddr,
        used: Option<LastActivity>,
    ) -> Result<RequestBody, ProxyError> {
        let (limits, mut held) = (&self.shared.rules.bodies, self.shared.held_share(client));
        if loses_framing(parts) {
            let whole = hold(incoming, UNFRAMED_BODY_BYTES_MAX, limits, &mut held).await?;
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
            return Ok(RequestBody::Whole(whole, Some(held)));
        }
        if !parts.headers.contains_key(CONTENT_LENGTH) {
            // Said in so many words, because hyper sends no body with a GET otherwise.
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // RFC 9110 § 10.1.1: the client waits for the hub's word before it sends the body.
        let early = parts.headers.contains_key(EXPECT).then(|| self.shared.early_share(client)).flatten();
        match early {
            Some(early) => Ok(RequestBody::streamed_early(incoming, limits, early, used)),
            None => Ok(RequestBody::streamed(incoming, limits, held, used).await?),
        }
    }

    /// Cuts the login parameter, in any spelling, out of the query, and what the hub must not be asked to lead to.
    pub(super) fn strip_query<B>(&self, request: &mut Request<B>) -> Result<(), ProxyError> {
        let Some(query) = request.uri().query() else { return Ok(()) };
        let rules = &self.shared.token_rules;
        let mut rest = rules.parameter.cut(query);
        if self.reads_next(request.uri().path()) {
            let judged = rules.next.without_bad(rest.as_deref().unwrap_or(query).as_bytes());
            // Whole pairs of a text are a text.
            rest = judged.and_then(|judged| String::from_utf8(judged).ok()).or(rest);
        }
        let Some(rest) = rest else { return Ok(()) };
        *request.uri_mut() = with_query(request.uri(), &rest)?;
        Ok(())
    }

    /// Whether the hub may take the `next` of a request for `path` as its own. Of its API it does not, and what is asked
    /// of `user-redirect` it gives to a server.
    fn reads_next(&self, path: &str) -> bool {
        let below = path.strip_prefix(self.shared.rules.base_url.as_str());
        let page = below.and_then(|below| below.strip_prefix("hub/"));
        page.is_some_and(|page| !page.starts_with("api/") && !page.starts_with("user-redirect/"))
    }
}

/// `uri` with another query; an empty one is none.
pub(super) fn with_query(uri: &Uri, query: &str) -> Result<Uri, hyper::http::Error> {
    let path = uri.path();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    Ok(Uri::from(PathAndQuery::try_from(target)?))
}

/// Whether the framing of a request's body could be lost on the way.
fn loses_framing(parts: &Parts) -> bool {
    matches!(parts.method, Method::DELETE | Method::OPTIONS) && !parts.headers.contains_key(CONTENT_LENGTH)
}

/// The protocol of a 101 with `headers`, if it is the one that was asked for.
fn agreed_upgrade(asked: Option<&HeaderValue>, headers: &HeaderMap) -> Option<HeaderValue> {
    let agreed = headers.get(UPGRADE)?;
    asked?.as_bytes().eq_ignore_ascii_case(agreed.as_bytes()).then(|| agreed.clone())
}

/// The headers of a request of our own that stands for `headers`' one.
pub(super) fn without_body(mut headers: HeaderMap) -> HeaderMap {
    let described = |name: &&HeaderName| name.as_str().starts_with("content-") || **name == EXPECT;
    let described: Vec<HeaderName> = headers.keys().filter(described).cloned().collect();
    for name in described {
        headers.remove(name);
    }
    headers
}
