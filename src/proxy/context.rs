//! What all threads of the proxy share, put together from the configuration.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue, InvalidHeaderValue};
use hyper::{HeaderMap, Request};
use ipnet::IpNet;
use tokio::sync::Semaphore;

use super::cookies::{self, CookieNames};
use super::embed::Embed;
use super::ended_session::EndedSession;
use super::error::ProxyError;
use super::failure_log::FailureLog;
use super::headers::{self, Forwarding, ForwardingMode, Origin};
use super::identity::IdentityHeaders;
use super::login::admission::Admission;
use super::login::click_ticket::ClickTickets;
use super::login::parked::Parked;
use super::login::recent_logins::RecentLogins;
use super::login::single_flight::SingleFlight;
use super::routing::Routing;
use super::tunnel::registry::Tunnels;
use super::upstream::Upstreams;
use super::upstream::limit::{ConnectionLimit, Purpose};
use super::validate;
use crate::body::BodyLimits;
use crate::client_network::{ClientShares, Share};
use crate::config::{Config, Limits, Login, WithoutToken};
use crate::login::assertion::Signer;
use crate::login::sessions::{EndedSessions, SessionIds};
use crate::login::{self, LoginServices};
use crate::metrics::{Metrics, Reason, ReasonLabel};
use crate::pages::{Format, Pages};
use crate::routes::Routes;
use crate::shutdown::Shutdown;

/// Of so many requests of one client at the hub, one may be there before its body has begun.
const EARLY_OF: usize = 16;

/// The proxy of one thread: what all threads share, and the thread's own connections to the hub.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub(super) shared: Arc<Shared>,
    pub(super) upstream: Arc<Upstreams>,
    /// It answers notebooks and services, and them with the Hub API alone.
    pub(super) is_hub_api: bool,
}

/// A request on its way: stripped, with our forwarding headers, and what was learnt from what was stripped.
pub struct RequestContext {
    pub(super) request: Box<Request<Incoming>>,
    pub(super) origin: Origin,
    /// It has an `Upgrade` header.
    pub(super) has_upgrade: bool,
    /// It has a `Cookie` header.
    pub(super) has_cookies: bool,
    /// The upgrade it asks for and may have.
    pub(super) upgrade: Option<HeaderValue>,
    /// Its session, which was taken out of it because it is over.
    pub(super) ended: Option<Arc<EndedSession>>,
}

impl RequestContext {
    /// In what form the request prefers a page.
    pub(super) fn format(&self) -> Format {
        Format::preferred(self.request.headers())
    }
}

/// What all threads share.
#[derive(Debug)]
pub struct Shared {
    pub(super) login: Arc<LoginServices>,
    /// The rules of tokens that came with this configuration: for each request, so without a look at those in force.
    pub(super) token_rules: Arc<login::Rules>,
    pub(super) session_ids: SessionIds,
    pub(super) ended_sessions: Arc<EndedSessions>,
    pub(super) identity: IdentityHeaders,
    pub(super) forwarding: Forwarding,
    pub(super) embed: Option<Embed>,
    pub(super) pages: Pages,
    pub(super) tunnels: Tunnels,
    /// The tokens that are being redeemed.
    pub(super) flights: SingleFlight,
    /// Whose turn it is at the hub.
    pub(super) admission: Admission,
    /// What is kept for browsers in line.
    pub(super) parked: Parked,
    /// Who has just been logged in.
    pub(super) recent_logins: RecentLogins,
    /// Which failures are in the log.
    pub(super) failure_log: FailureLog,
    /// Signs the times of clicks.
    pub(super) click_tickets: ClickTickets,
    pub(super) connection_limit: ConnectionLimit,
    pub(super) clients: Clients,
    /// Waiting pages that listen to the hub's progress.
    pub(super) watchers: Arc<Semaphore>,
    /// Questions to the Hub API that anybody can cause. Fewer than it takes, so that our own calls always find a place.
    pub(super) askers: Semaphore,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shutdown: Shutdown,
    /// The rules of the routing table; none in front of the hub's own proxy.
    pub(super) routing: Option<Routing>,
    pub(super) routes: Option<Arc<Routes>>,
    pub(super) rules: ProxyRules,
}

/// What each client has of what all share.
#[derive(Debug, Clone, Default)]
pub(super) struct Clients {
    /// Requests that the hub is busy with.
    requests: ClientShares,
    tunnels: ClientShares,
    /// Bytes of bodies that are held.
    held: ClientShares,
    /// Requests that the hub is asked for before their bodies have begun.
    early: ClientShares,
}

/// What is made of one configuration, and goes with it.
pub struct Parts {
    /// The life of tokens.
    pub login: Arc<LoginServices>,
    /// The rules of tokens in this configuration.
    pub rules: Arc<login::Rules>,
    /// The ids of sessions that end by themselves.
    pub session_ids: SessionIds,
    /// What proves a login to the hub; none: the header alone.
    pub signer: Option<Signer>,
    /// Our own pages.
    pub pages: Pages,
}

/// What of the configuration decides about requests.
#[derive(Debug)]
pub struct ProxyRules {
    pub(super) login_path: String,
    /// Where the hub begins its own OAuth login; none unless hublatch is its provider.
    pub(super) oauth_login_path: Option<String>,
    pub(super) logout_path: String,
    /// What begins like this starts a server.
    pub(super) spawn_path: String,
    /// Where a browser goes that has logged out.
    pub(super) after_logout_url: Option<HeaderValue>,
    pub(super) base_url: String,
    pub(super) public_origin: String,
    pub(super) public_secure: bool,
    /// What our own cookies are called.
    pub(super) cookie_names: CookieNames,
    pub(super) public_authority: HeaderValue,
    pub(super) without_token: WithoutToken,
    /// The app's page, with `WithoutToken::Redirect`.
    pub(super) redirect_to: Option<url::Url>,
    pub(super) bodies: BodyLimits,
    pub(super) tunnel_idle: Duration,
    pub(super) tunnels_max: usize,
    /// The limits per client, and how long is waited for them.
    pub(super) limits: Limits,
    pub(super) login_hub_timeout: Duration,
    /// The largest head of a login that the hub takes.
    pub(super) hub_head_bytes: usize,
    pub(super) access_log: bool,
    /// Links log people in; if not, hublatch is the hub's proxy and nothing else.
    pub(super) logs_in: bool,
}

impl ProxyRules {
    /// Those of `config`; an error if a name or URL in it is no header value, which validation has ruled out.
    fn of(config: &Config) -> Result<Self, InvalidHeaderValue> {
        let (public, limits, base_url) = (&config.public.url, &config.limits, &config.hub.base_url);
        let after_logout_url = config.login.after_logout_url.as_deref();
        Ok(Self {
            login_path: config.hub.login_path(),
            oauth_login_path: config.hub_oauth.as_ref().map(|_| format!("{base_url}hub/oauth_login")),
            logout_path: format!("{base_url}hub/logout"),
            spawn_path: format!("{base_url}hub/spawn"),
            after_logout_url: after_logout_url.map(HeaderValue::from_str).transpose()?,
            base_url: base_url.clone(),
            public_origin: public.origin.clone(),
            public_secure: public.secure,
            cookie_names: CookieNames::new(&public.origin, base_url),
            public_authority: HeaderValue::from_str(&public.authority)?,
            without_token: config.login.without_token,
            redirect_to: redirect_to(&config.login),
            bodies: BodyLimits {
                stall: limits.body_stall_timeout,
                min_rate: limits.body_min_rate,
                held_timeout: limits.held_body_timeout,
                held_bytes: limits.held_bytes,
            },
            tunnel_idle: limits.tunnel_idle_timeout,
            tunnels_max: limits.tunnels,
            limits: limits.clone(),
            login_hub_timeout: limits.login_hub_timeout,
            hub_head_bytes: config.hub.head_bytes,
            access_log: config.log.access,
            logs_in: config.logs_in(),
        })
    }

    /// Whether the request with `headers` came to the name in `public.url`.
    pub(super) fn is_public_host(&self, headers: &HeaderMap) -> bool {
        headers
            .get(HOST)
            .is_some_and(|host| validate::is_host_of(&self.public_authority, self.public_secure, host))
    }
}

impl Shared {
    /// The proxy of `config`; an error if its public authority is no header value, which validation has ruled out.
    pub fn new(
        config: &Config,
        Parts { login, rules, session_ids, signer, pages }: Parts,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
        routes: Option<Arc<Routes>>,
    ) -> Result<Self, InvalidHeaderValue> {
        let user_header = config.login.user_header.clone();
        let forwarding = Forwarding::new(believed_proxies(config), &config.public.url);
        Ok(Self {
            token_rules: rules,
            ended_sessions: Arc::clone(login.session_ender.ended()),
            session_ids,
            login,
            identity: if config.logs_in() {
                IdentityHeaders::new(user_header, signer)
            } else {
                IdentityHeaders::of_nobody(user_header)
            },
            forwarding: forwarding.in_mode(forwarding_mode(config)),
            pages,
            embed: config.embed.as_ref().map(Embed::new),
            tunnels: Tunnels::new(metrics.tunnels.clone()),
            flights: SingleFlight::default(),
            admission: Admission::new(config.limits.logins_at_once, metrics.login_queue.clone()),
            parked: Parked::default(),
            recent_logins: RecentLogins::default(),
            failure_log: FailureLog::default(),
            click_tickets: ClickTickets::new(config),
            connection_limit: ConnectionLimit::default(),
            clients: Clients::default(),
            watchers: Arc::new(Semaphore::new(config.limits.hub_api_calls)),
            askers: Semaphore::new(config.limits.hub_api_calls.div_ceil(4)),
            metrics,
            shutdown,
            routing: config.routes.as_ref().map(Routing::of),
            routes,
            rules: ProxyRules::of(config)?,
        })
    }

    /// The proxy of another `config` in place of this one: it knows the same tunnels, and the same logins under way.
    pub fn carry_over(&self, config: &Config, parts: Parts) -> Result<Self, InvalidHeaderValue> {
        let new =
            Self::new(config, parts, Arc::clone(&self.metrics), self.shutdown.clone(), self.routes.clone())?;
        self.admission.set(config.limits.logins_at_once);
        Ok(Self {
            tunnels: self.tunnels.clone(),
            flights: self.flights.clone(),
            admission: self.admission.clone(),
            parked: self.parked.clone(),
            recent_logins: self.recent_logins.clone(),
            failure_log: self.failure_log.clone(),
            click_tickets: new.click_tickets.carry_over(&self.click_tickets),
            connection_limit: self.connection_limit.clone(),
            clients: self.clients.clone(),
            ..new
        })
    }

    /// A slot of `client` for a request to the hub: to be taken when nothing more of it has to be waited for.
    pub(super) async fn hub_share(&self, client: IpAddr, purpose: Purpose) -> Result<Share, ProxyError> {
        let limits = &self.rules.limits;
        let (max, queue) = (purpose.connections_per_client(limits), purpose.queue(limits));
        let share = self.clients.requests.acquire(client, max, queue, limits.upstream_connect_timeout).await;
        share.ok_or_else(|| self.over_share("upstream_connections_per_client"))
    }

    /// The same, if there is one at once.
    pub(super) fn hub_share_at_once(&self, client: IpAddr, purpose: Purpose) -> Option<Share> {
        self.clients.requests.try_acquire(client, purpose.connections_per_client(&self.rules.limits))
    }

    /// A slot of `client` for a tunnel.
    pub(super) fn tunnel_share(&self, client: IpAddr) -> Result<Share, ProxyError> {
        let share = self.clients.tunnels.try_acquire(client, self.rules.limits.tunnels_per_client);
        share.ok_or_else(|| self.over_share("tunnels_per_client"))
    }

    /// Counts what is held of a body of `client`; nothing yet.
    pub(super) fn held_share(&self, client: IpAddr) -> Share {
        self.clients.held.nothing(client)
    }

    /// A slot of `client` for a request that is sent before its body has begun; none: it has enough of these.
    pub(super) fn early_share(&self, client: IpAddr) -> Option<Share> {
        let max = self.rules.limits.upstream_connections_per_client.div_ceil(EARLY_OF);
        self.clients.early.try_acquire(client, max)
    }

    fn over_share(&self, limit: &'static str) -> ProxyError {
        self.metrics.clients_limited.get_or_create(&ReasonLabel { reason: Reason(limit) }).inc();
        ProxyError::OverShare(limit)
    }

    /// What becomes of the headers of every response of the hub.
    pub(super) fn finish(&self, headers: &mut HeaderMap) {
        headers::strip_response(headers);
        if self.rules.logs_in {
            cookies::strip_set_ours(headers);
        }
        if let Some(embed) = &self.embed {
            embed.amend(headers);
        }
    }
}

/// What becomes of the forwarding headers; only the stand-in for configurable-http-proxy does as its options say.
fn forwarding_mode(config: &Config) -> ForwardingMode {
    match config.routes.as_ref().and_then(|routes| routes.chp.as_ref()) {
        Some(chp) if chp.no_x_forward => ForwardingMode::Untouched,
        Some(chp) if chp.plain => ForwardingMode::Append,
        Some(_) | None => ForwardingMode::Own,
    }
}

fn redirect_to(login: &Login) -> Option<url::Url> {
    let app_url = login.app_url.as_deref().filter(|_| login.without_token == WithoutToken::Redirect)?;
    url::Url::parse(app_url).ok()
}

/// Proxies whose forwarding headers are believed. A proxy that speaks the PROXY protocol passes bytes on: the headers are
/// its client's, whoever that is.
fn believed_proxies(config: &Config) -> Vec<IpNet> {
    if config.public.proxy_protocol { Vec::new() } else { config.public.trusted_proxies.clone() }
}
