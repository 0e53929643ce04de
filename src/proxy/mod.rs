//! One request from the browser to the hub and back.
//!
//! `Proxy::prepare` is the list that every request goes through; `redeem.rs` is the one branch that leaves it.

mod cookies;
mod embed;
mod error;
mod headers;
mod identity;
mod logout;
mod redeem;
mod target;
mod upgrade;
mod upstream;
mod visitor;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use crate::body::{RequestBody, Streamed, collect};
use crate::config::{Config, Login, WithoutToken};
use crate::login::LoginService;
use crate::login::assertion::Signer;
use crate::metrics::Metrics;
use crate::pages::{Format, Pages};
use crate::server::{ConnectionInfo, Service};
use crate::shutdown::Shutdown;

use embed::Embed;
use error::ProxyError;
use headers::{Forwarding, Origin};
use identity::Identity;
use redeem::Turns;
use upgrade::Tunnels;
use upstream::Upstream;

pub use upstream::ResponseBody;

/// Asks the hub for a sign of life; an error says what was tried.
pub type HubProbe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The largest body of a chunked `DELETE` or `OPTIONS`: it goes upstream with its length, because some proxies forward
/// such a body without framing.
const UNFRAMED_BODY_BYTES_MAX: usize = 64 * 1024;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The proxy of one thread: what all threads share, and the thread's own connections to the hub.
#[derive(Debug, Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
}

/// What all threads share.
#[derive(Debug)]
pub struct Shared {
    login: Arc<LoginService>,
    identity: Identity,
    forwarding: Forwarding,
    embed: Option<Embed>,
    pages: Pages,
    tunnels: Tunnels,
    turns: Turns,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    rules: Rules,
}

/// What of the configuration decides about requests.
#[derive(Debug)]
struct Rules {
    login_path: String,
    logout_path: String,
    /// Where a browser goes that has logged out.
    after_logout_url: Option<HeaderValue>,
    base_url: String,
    public_origin: String,
    public_secure: bool,
    public_authority: HeaderValue,
    without_token: WithoutToken,
    /// The app's page, with `WithoutToken::Redirect`.
    redirect_to: Option<url::Url>,
    body_stall: Duration,
    tunnel_idle: Duration,
    login_hub_timeout: Duration,
    access_log: bool,
}

impl Shared {
    /// The proxy of `config`; an error if its public authority is no header value, which validation has ruled out.
    pub fn new(
        config: &Config,
        login: Arc<LoginService>,
        signer: Option<Signer>,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> Result<Self, hyper::header::InvalidHeaderValue> {
        let public = &config.public.url;
        let embed = config.embed.as_ref().map(Embed::new);
        Ok(Self {
            login,
            identity: Identity::new(config.login.user_header.clone(), signer),
            forwarding: Forwarding::new(config.public.trusted_proxies.clone(), public),
            pages: match &embed {
                Some(embed) => Pages::new(config.login.app_url.clone()).embedded_in(embed.ancestors()),
                None => Pages::new(config.login.app_url.clone()),
            },
            embed,
            tunnels: Tunnels::new(metrics.tunnels.clone()),
            turns: Turns::default(),
            metrics,
            shutdown,
            rules: Rules {
                login_path: config.hub.login_path(),
                logout_path: format!("{}hub/logout", config.hub.base_url),
                after_logout_url: config
                    .login
                    .after_logout_url
                    .as_deref()
                    .map(HeaderValue::from_str)
                    .transpose()?,
                base_url: config.hub.base_url.clone(),
                public_origin: public.origin.clone(),
                public_secure: public.secure,
                public_authority: HeaderValue::from_str(&public.authority)?,
                without_token: config.login.without_token,
                redirect_to: redirect_to(&config.login),
                body_stall: config.limits.body_stall_timeout,
                tunnel_idle: config.limits.tunnel_idle_timeout,
                login_hub_timeout: config.limits.login_hub_timeout,
                access_log: config.log.access,
            },
        })
    }
}

impl Shared {
    /// The proxy of another `config` in place of this one: it knows the same tunnels, and the same logins under way.
    pub fn succeeded_by(
        &self,
        config: &Config,
        login: Arc<LoginService>,
        signer: Option<Signer>,
    ) -> Result<Self, hyper::header::InvalidHeaderValue> {
        let new = Self::new(config, login, signer, Arc::clone(&self.metrics), self.shutdown.clone())?;
        Ok(Self { tunnels: self.tunnels.clone(), turns: self.turns.clone(), ..new })
    }

    /// What becomes of the headers of every answer of the hub.
    fn finish(&self, headers: &mut HeaderMap) {
        headers::strip_response(headers);
        if let Some(embed) = &self.embed {
            embed.amend(headers);
        }
    }
}

/// A request on its way: stripped, with our forwarding headers, and what was learnt from what was stripped.
struct Passing {
    request: Request<Incoming>,
    origin: Origin,
    /// It has an `Upgrade` header.
    has_upgrade: bool,
    /// The upgrade it asks for and may have.
    upgrade: Option<HeaderValue>,
}

impl Passing {
    fn format(&self) -> Format {
        Format::preferred(self.request.headers())
    }
}

/// What an error page must know of a request that is gone by then: kept instead of judged, because nearly no request
/// ends in one.
struct Wishes {
    accept: Option<HeaderValue>,
    mode: Option<HeaderValue>,
}

impl Wishes {
    fn of(headers: &HeaderMap) -> Self {
        // One walk past all headers costs less than two lookups by name.
        let mut wishes = Self { accept: None, mode: None };
        for (name, value) in headers {
            if *name == ACCEPT {
                wishes.accept.get_or_insert_with(|| value.clone());
            } else if *name == SEC_FETCH_MODE {
                wishes.mode.get_or_insert_with(|| value.clone());
            }
        }
        wishes
    }

    fn format(self) -> Format {
        let accept = self.accept.map(|value| (ACCEPT, value));
        let mode = self.mode.map(|value| (SEC_FETCH_MODE, value));
        Format::preferred(&accept.into_iter().chain(mode).collect())
    }
}

impl Service for Proxy {
    type Body = ResponseBody;

    async fn answer(
        &self,
        connection: ConnectionInfo,
        mut request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let begun = self.shared.rules.access_log.then(Instant::now);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let wishes = Wishes::of(request.headers());
        let origin = self.shared.forwarding.origin(connection.peer, request.headers());
        let answered = match self.prepare(connection, origin, &mut request) {
            Err(error) => Err(error),
            Ok((has_upgrade, upgrade)) => {
                let passing = Passing { request, origin, has_upgrade, upgrade };
                // Boxed: a login must not make the state of every ordinary request larger.
                match passing.request.uri().path() {
                    path if path == self.shared.rules.login_path => {
                        Box::pin(redeem::answer(self, passing)).await
                    }
                    path if path == self.shared.rules.logout_path => {
                        Box::pin(logout::answer(self, passing)).await
                    }
                    _ => self.pass(passing).await,
                }
            }
        };
        let response = match answered {
            Ok(response) => response,
            Err(error) => {
                self.tell(&error, self.loggable(&uri));
                error.answer(&self.shared.pages, wishes.format())
            }
        };
        self.shared.metrics.requests.count(response.status());
        if let Some(begun) = begun {
            // The path and never the query: a query can hold a secret of the hub's.
            tracing::info!(
                target: "hublatch::access",
                client = %origin.client,
                method = method.as_str(),
                path = self.loggable(&uri),
                status = response.status().as_u16(),
                micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
                "request"
            );
        }
        response
    }
}

impl Proxy {
    /// The proxy of the present thread.
    pub fn new(shared: Arc<Shared>, upstream: Arc<Upstream>) -> Self {
        Self { shared, upstream }
    }

    /// An empty pool of connections for one thread.
    pub fn pool(config: &Config, limits: Arc<crate::config::Limits>, shared: &Shared) -> Arc<Upstream> {
        Arc::new(Upstream::new(config, limits, Arc::clone(&shared.metrics), shared.shutdown.clone()))
    }

    /// Asks the hub for its version, `GET {base}hub/api/`, which needs no credentials.
    pub fn probe(self) -> HubProbe {
        Arc::new(move || {
            let proxy = self.clone();
            Box::pin(async move {
                let headers: HeaderMap =
                    [(HOST, proxy.shared.rules.public_authority.clone())].into_iter().collect();
                let visitor = visitor::Visitor::new(&proxy.shared.rules, &headers);
                let mut lease = proxy.upstream.lease().await.map_err(|error| error.to_string())?;
                visitor.version(&mut lease).await.map_err(|error| error.to_string())?;
                lease.release();
                Ok(())
            })
        })
    }

    /// What every request goes through, in this order: whether it has an `Upgrade` header, and the upgrade that it asks
    /// for and may have. By reference, because a request is large and each move of it is a copy.
    fn prepare(
        &self,
        connection: ConnectionInfo,
        origin: Origin,
        request: &mut Request<Incoming>,
    ) -> Result<(bool, Option<HeaderValue>), ProxyError> {
        let shared = &*self.shared;
        target::check(request, &shared.rules.public_authority)?;
        if self.holds_token(request.uri().path()) {
            return Err(target::Rejection::TokenInPath.into());
        }
        let has_upgrade = request.headers().contains_key(UPGRADE);
        let upgrade =
            has_upgrade.then(|| headers::asked_upgrade(request.version(), request.headers())).flatten();
        headers::strip_request(request.headers_mut(), &shared.identity, &shared.login.rules().parameter);
        let client = (origin.client == connection.peer).then_some(connection.peer_value);
        shared.forwarding.add(request.headers_mut(), origin, client);
        Ok((has_upgrade, upgrade))
    }

    /// An ordinary request: without any login parameter, and without cookies of ours.
    async fn pass(&self, passing: Passing) -> Result<Response<ResponseBody>, ProxyError> {
        let Passing { mut request, upgrade, .. } = passing;
        cookies::strip_ours(request.headers_mut());
        self.strip_query(&mut request)?;
        if upgrade.is_some() {
            return Box::pin(self.upgrade(request, upgrade)).await;
        }
        let request = framed(request, self.shared.rules.body_stall).await?;
        let mut response = self.upstream.send(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ProxyError::UnaskedUpgrade);
        }
        self.shared.finish(response.headers_mut());
        Ok(response)
    }

    /// A request that asks for another protocol: passed on as such, and followed if the hub agrees to just that.
    async fn upgrade(
        &self,
        mut request: Request<Incoming>,
        asked: Option<HeaderValue>,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let shared = &*self.shared;
        // Before the request is sent: a session that ends while the hub thinks must take this tunnel with it.
        let registered = shared.tunnels.register(cookies::session_ids(request.headers()));
        let downstream = hyper::upgrade::on(&mut request);
        let mut request = framed(request, shared.rules.body_stall).await?;
        if let Some(asked) = &asked {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            request.headers_mut().insert(UPGRADE, asked.clone());
        }
        let mut response = self.upstream.send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.shared.finish(response.headers_mut());
            return Ok(response);
        }
        let agreed = response.headers().get(UPGRADE).cloned();
        let same = |a: &HeaderValue, b: &HeaderValue| a.as_bytes().eq_ignore_ascii_case(b.as_bytes());
        let Some(agreed) = agreed.filter(|agreed| asked.as_ref().is_some_and(|asked| same(asked, agreed)))
        else {
            return Err(ProxyError::UnaskedUpgrade);
        };
        let upstream = hyper::upgrade::on(&mut response);
        self.shared.finish(response.headers_mut());
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, agreed);
        let (shared, counted) = (Arc::clone(&self.shared), shared.tunnels.count());
        self.shared.shutdown.spawn(async move {
            let _counted = counted;
            // Boxed: the halves of the handshake are large, and the tunnel outlives them.
            let joined = Box::pin(async { tokio::try_join!(downstream, upstream) }).await;
            let ended = match joined {
                Ok((downstream, upstream)) => {
                    let idle = shared.rules.tunnel_idle;
                    upgrade::run(downstream, upstream, registered, idle, &shared.shutdown).await
                }
                Err(error) => Err(std::io::Error::other(error)),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "tunnel");
            }
        });
        Ok(response)
    }

    /// Cuts the login parameter, in any spelling, out of the query.
    fn strip_query<B>(&self, request: &mut Request<B>) -> Result<(), ProxyError> {
        let parameter = &self.shared.login.rules().parameter;
        let Some(rest) = request.uri().query().and_then(|query| parameter.cut(query)) else { return Ok(()) };
        *request.uri_mut() = with_query(request.uri(), &rest)?;
        Ok(())
    }

    /// Whether a path holds the login parameter: some mail and chat clients damage the `?` of a link.
    fn holds_token(&self, path: &str) -> bool {
        memchr::memchr3(b'%', b'&', b';', path.as_bytes()).is_some()
            && self.shared.login.rules().parameter.mentions(path)
    }

    /// The path as far as it may be logged.
    fn loggable<'a>(&self, uri: &'a Uri) -> &'a str {
        let path = uri.path();
        if self.holds_token(path) { path.split(['%', '&', ';']).next().unwrap_or_default() } else { path }
    }

    fn tell(&self, error: &ProxyError, path: &str) {
        match error {
            ProxyError::Rejected(_) | ProxyError::Body(_) => {
                tracing::debug!(%error, path, "request rejected");
            }
            ProxyError::Upstream(_) | ProxyError::UnaskedUpgrade => {
                self.shared.metrics.upstream_errors.inc();
                tracing::warn!(%error, path, "no answer of the hub");
            }
            ProxyError::Assertion(_) | ProxyError::Assembly(_) => {
                tracing::error!(%error, path, "request failed");
            }
        }
    }
}

fn redirect_to(login: &Login) -> Option<url::Url> {
    let app_url = login.app_url.as_deref().filter(|_| login.without_token == WithoutToken::Redirect)?;
    url::Url::parse(app_url).ok()
}

/// `uri` with another query; an empty one is none.
fn with_query(uri: &Uri, query: &str) -> Result<Uri, hyper::http::Error> {
    let path = uri.path();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    Ok(Uri::from(PathAndQuery::try_from(target)?))
}

/// The request as it goes upstream: its body streamed, or held whole where framing could be lost on the way.
async fn framed(request: Request<Incoming>, stall: Duration) -> Result<Request<RequestBody>, ProxyError> {
    let (mut parts, incoming) = request.into_parts();
    parts.version = hyper::Version::HTTP_11;
    let body = if incoming.is_end_stream() {
        RequestBody::Empty
    } else if parts.headers.contains_key(CONTENT_LENGTH) {
        RequestBody::Streamed(Streamed::new(incoming, stall))
    } else if matches!(parts.method, Method::DELETE | Method::OPTIONS) {
        let whole = collect(incoming, UNFRAMED_BODY_BYTES_MAX, stall).await?;
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
        RequestBody::Whole(whole)
    } else {
        // Said in so many words, because hyper sends no body with a GET otherwise.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        RequestBody::Streamed(Streamed::new(incoming, stall))
    };
    Ok(Request::from_parts(parts, body))
}

/// The headers of a request of our own that stands for `headers`' one.
fn without_body(headers: &HeaderMap) -> HeaderMap {
    let described = |name: &str| name.starts_with("content-") || name == "expect";
    headers
        .iter()
        .filter(|(name, _)| !described(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
