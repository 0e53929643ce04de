//! The life of a login token: issue, offer, redeem, revoke; who may do which.
//!
//! Decides, and asks the store; knows nothing of connections, cookies or pages. The only place that can make a
//! [`VerifiedUser`].

pub mod apps;
pub mod assertion;
mod exchange;
mod jwks;
mod jwt;
pub mod link;
mod live;
pub mod next;
pub mod parameter;
pub mod presented;
pub mod query;
mod service;
mod signed;
mod tries;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SecureRandom;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::audit::{Audit, Event, Record};
use crate::clock::{Clock, Moment};
use crate::config::{App, Config, Confirm};
use crate::metrics::{Metrics, Reason, ReasonLabel};
use crate::store::{Consumed, Link, LinkStatus, Revoked, StoreError, TokenStore};
use crate::token::{
    BrowserSecret, LinkId, LoginGrant, LoginToken, NoRandomness, State, TokenDigest, Username, UsernameRule,
};

use apps::Apps;
use jwt::Signatories;
use next::{Next, NextError, NextRule};
use parameter::Parameter;
use presented::{Kind, Presented};
use service::Services;
use tries::Tries;

/// What redeeming and issuing obey, from the configuration.
#[derive(Debug)]
pub struct Rules {
    /// `https://hub.example.org`.
    pub origin: String,
    /// `{base}hub/login`.
    pub login_path: String,
    /// The parameter of the token.
    pub parameter: Parameter,
    /// What a user name is.
    pub usernames: UsernameRule,
    /// Where a link may lead.
    pub next: NextRule,
    /// The default life of a token.
    pub lifetime: Duration,
    /// When to ask before a login.
    pub confirm: Confirm,
    /// How long a used link leads its user on.
    pub replay_grace: Duration,
    /// Whether only links that are bound to a browser work.
    pub require_state: bool,
}

/// Issues, redeems and revokes login links.
pub struct LoginService {
    rules: Rules,
    apps: Apps,
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    audit: Arc<Audit>,
    metrics: Arc<Metrics>,
    services: Arc<Services>,
    signatories: Signatories,
    tries: Tries,
    /// When this service began to remember.
    started: Moment,
}

impl std::fmt::Debug for LoginService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginService").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Proof that one login token was consumed: for one identity header on one request.
///
/// It can be made only here, after the store's one success, and it is neither `Clone` nor rebuilt from a name:
/// `proxy::identity::set` takes it by value.
#[derive(Debug)]
#[must_use = "a token was consumed for this user"]
pub struct VerifiedUser {
    link: LinkId,
    grant: LoginGrant,
}

impl VerifiedUser {
    /// Who.
    pub fn username(&self) -> &Username {
        &self.grant.username
    }

    /// Through which link.
    pub fn link(&self) -> &LinkId {
        &self.link
    }

    /// The hub groups of the grant.
    pub fn groups(&self) -> Option<&[String]> {
        self.grant.groups.as_deref()
    }

    /// The claims of the grant.
    pub fn claims(&self) -> Option<&Map<String, Value>> {
        self.grant.claims.as_ref()
    }
}

/// A token that can be redeemed: looked up, judged, not consumed.
#[derive(Debug)]
pub struct Offer {
    taken: Taken,
    link: Link,
    next: Option<Next>,
}

/// How a token is made to admit once.
#[derive(Debug, Clone, Copy)]
enum Taken {
    /// The store holds its link and hands it out.
    Consumed,
    /// An app has signed it, and the store only learns of it by its end. Judged by a memory that goes back to this time.
    Burnt { since: Timestamp },
}

impl Offer {
    /// Through which link.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Who would be logged in.
    pub fn username(&self) -> &Username {
        &self.link.grant.username
    }

    /// Where the browser goes then.
    pub fn next(&self) -> Option<&Next> {
        self.next.as_ref()
    }

    /// The `next` that the app gave the link: it goes before the browser's.
    pub fn granted_next(&self) -> Option<&str> {
        self.link.grant.next.as_deref()
    }

    /// Whether the link itself asks for the confirm page.
    pub fn asks(&self) -> bool {
        self.link.grant.confirm
    }

    /// Whether the link is bound to a browser.
    pub fn is_bound(&self) -> bool {
        self.link.grant.state.is_some()
    }

    /// The app that issued the link.
    pub fn app(&self) -> &str {
        &self.link.grant.app
    }
}

/// What a request says beside its token.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Its own `next`, decoded.
    pub next: Option<&'a str>,
    /// The states of the browser's secrets.
    pub states: &'a [State],
}

/// Why a link is not honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// There is no such token.
    Unknown,
    /// It was not redeemed in time.
    Expired,
    /// It was redeemed before.
    Used,
    /// It was taken back.
    Revoked,
    /// The app is gone, or its rules no longer allow this login.
    NotAllowed,
    /// It is bound to another browser.
    Bound,
    /// It is bound to no browser, and only such links work.
    NeedsState,
}

impl RefusalReason {
    /// The word for logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Revoked => "revoked",
            Self::NotAllowed => "not_allowed",
            Self::Bound => "bound",
            Self::NeedsState => "needs_state",
        }
    }
}

/// A token that leads to no login.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The link is not honoured.
    #[error("the link is refused: {}", reason.word())]
    Link {
        /// Why.
        reason: RefusalReason,
        /// The link, where there is one.
        link: Option<Box<Link>>,
    },
    /// `next` is bad. The token is not consumed.
    #[error("{error}")]
    Next {
        /// Why.
        #[source]
        error: NextError,
        /// The link.
        link: Box<Link>,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    fn link(reason: RefusalReason, link: Option<Box<Link>>) -> Self {
        Self::Link { reason, link }
    }

    /// The word for logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Link { reason, .. } => reason.word(),
            Self::Next { .. } => "bad_next",
            Self::Store(_) => "store_unavailable",
        }
    }
}

/// What [`LoginService`] is made of.
pub struct Parts {
    /// Where links are kept.
    pub store: Arc<dyn TokenStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub random: Arc<dyn SecureRandom + Send + Sync>,
    /// The audit log.
    pub audit: Arc<Audit>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

impl LoginService {
    /// The service of `config`; `None` if its public URL is no URL, which validation has ruled out.
    pub fn new(config: &Config, parts: Parts) -> Option<Self> {
        let parameter = Parameter::new(&config.login.parameter);
        let next = NextRule::new(&config.public.url.origin, &config.hub.base_url, parameter.clone())?;
        let rules = Rules {
            origin: config.public.url.origin.clone(),
            login_path: config.hub.login_path(),
            parameter,
            usernames: config.login.usernames.clone(),
            next,
            lifetime: config.login.lifetime,
            confirm: config.login.confirm,
            replay_grace: config.login.replay_grace,
            require_state: config.login.require_state,
        };
        let Parts { store, clock, random, audit, metrics } = parts;
        let apps = Apps::new(&config.apps);
        let services = Arc::new(Services::default());
        let signatories = Signatories::new(&config.apps, Arc::clone(&services));
        let tries = Tries::new(config.limits.unknown_tokens_per_minute);
        let started = clock.now();
        Some(Self {
            rules,
            apps,
            store,
            clock,
            random,
            audit,
            metrics,
            services,
            signatories,
            tries,
            started,
        })
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The apps in force.
    pub fn apps(&self) -> &Apps {
        &self.apps
    }

    /// The store.
    pub fn store(&self) -> &dyn TokenStore {
        &*self.store
    }

    /// The time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// A new secret for a browser.
    pub fn browser_secret(&self) -> Result<BrowserSecret, NoRandomness> {
        BrowserSecret::generate(&*self.random)
    }

    /// The token that `text` spells, if any token here has such a shape.
    pub fn present(&self, text: &str) -> Option<Presented> {
        Presented::parse(text).filter(|token| match token.kind() {
            Kind::Ours => true,
            Kind::Signed => !self.signatories.is_empty(),
            Kind::Foreign => self.exchanging_apps().next().is_some(),
        })
    }

    /// Looks at the link of `token` and judges it, together with what the request asks; consumes nothing.
    pub async fn offer_presented(&self, token: &Presented, asked: Asked<'_>) -> Result<Offer, Refusal> {
        let (link, ending) = match token.kind() {
            Kind::Ours => (self.find(token.digest()).await?, Taken::Consumed),
            Kind::Signed => {
                let since = self.remembers_since();
                (Some(self.signed(token.expose()).await?), Taken::Burnt { since })
            }
            Kind::Foreign => (self.exchanged(token).await?, Taken::Consumed),
        };
        let link = link.ok_or_else(|| Refusal::link(RefusalReason::Unknown, None))?;
        self.judge(link, ending, asked)
    }

    /// The same for a token that is known to be ours.
    pub async fn offer(&self, token: &LoginToken, asked: Asked<'_>) -> Result<Offer, Refusal> {
        let found = self.find(token.digest()).await?;
        let link = found.ok_or_else(|| Refusal::link(RefusalReason::Unknown, None))?;
        self.judge(link, Taken::Consumed, asked)
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Link>, StoreError> {
        self.store.find(digest, self.clock.now()).await
    }

    /// The grant's own `next` goes before the request's, and so do the app's rules of today before those at issue.
    fn judge(&self, link: Link, taken: Taken, asked: Asked<'_>) -> Result<Offer, Refusal> {
        if let Some(reason) = ended(link.status) {
            return Err(Refusal::link(reason, Some(Box::new(link))));
        }
        if !self.still_allows(&link) {
            return Err(Refusal::link(RefusalReason::NotAllowed, Some(Box::new(link))));
        }
        if let Some(reason) = self.unbound(&link, asked.states) {
            return Err(Refusal::link(reason, Some(Box::new(link))));
        }
        match self.destination_of(&link, asked.next) {
            Ok(next) => Ok(Offer { taken, link, next }),
            Err(error) => Err(Refusal::Next { error, link: Box::new(link) }),
        }
    }

    /// Where a login by `link` leads: the grant's own `next` goes before the browser's, and either is judged by the
    /// app's rule as it is now.
    pub fn destination_of(&self, link: &Link, asked: Option<&str>) -> Result<Option<Next>, NextError> {
        let check = |next: &str| self.rules.next.check(next);
        let next = link.grant.next.as_deref().or(asked).map(check).transpose()?;
        let inner = link.grant.judged_by.as_deref().map(check).transpose()?;
        let allowed = |next| self.apps.by_name(&link.grant.app).is_some_and(|app| app.allows_next(next));
        if inner.as_ref().or(next.as_ref()).is_none_or(allowed) {
            Ok(next)
        } else {
            Err(NextError::NotAllowed)
        }
    }

    /// Why the link does not work in a browser with these states, if it does not.
    fn unbound(&self, link: &Link, states: &[State]) -> Option<RefusalReason> {
        match link.grant.state {
            Some(state) => (!states.contains(&state)).then_some(RefusalReason::Bound),
            None => self.rules.require_state.then_some(RefusalReason::NeedsState),
        }
    }

    /// Whether the link could still be issued for its user today.
    fn still_allows(&self, link: &Link) -> bool {
        let username = &link.grant.username;
        self.rules.usernames.parse(username.as_str()).is_ok_and(|name| name == *username)
            && self.apps.by_name(&link.grant.app).is_some_and(|app| app.allows_user(username))
    }

    /// Consumes the token of `offer`: the one success of its life makes the user a verified one.
    pub async fn redeem(&self, offer: Offer, client: Option<IpAddr>) -> Result<VerifiedUser, Refusal> {
        let begun = self.clock.now().monotonic;
        let taken = self.take(offer, client).await;
        let spent = self.clock.now().monotonic.saturating_sub(begun);
        self.metrics.consume_seconds.observe(spent.as_secs_f64());
        let link = taken?;
        self.metrics.links_redeemed.inc();
        self.record(Event::Redeemed, Some(&link), client, None);
        Ok(VerifiedUser { link: link.id, grant: link.grant })
    }

    /// The link of `offer`, taken from everybody else.
    async fn take(&self, offer: Offer, client: Option<IpAddr>) -> Result<Box<Link>, Refusal> {
        let link = offer.link;
        match offer.taken {
            Taken::Burnt { since } => self.burn(&link, since, client).await.map(|()| Box::new(link)),
            Taken::Consumed => match self.store.consume(link.digest, self.clock.now()).await? {
                Consumed::Granted(link) => {
                    self.apps.discount(&link.grant.app, live::second_of(&link));
                    Ok(link)
                }
                Consumed::Unknown => Err(Refusal::link(RefusalReason::Unknown, None)),
                Consumed::Ended(link) => {
                    let reason = ended(link.status).unwrap_or(RefusalReason::Used);
                    Err(Refusal::link(reason, Some(link)))
                }
            },
        }
    }

    /// Whether a used `link` may still lead its user on: refresh, back, double click.
    pub fn is_within_grace(&self, link: &Link) -> bool {
        let age = link.used_at.map(|used| self.clock.now().wall.duration_since(used));
        let grace = jiff::SignedDuration::try_from(self.rules.replay_grace).unwrap_or_default();
        age.is_some_and(|age| !age.is_negative() && age <= grace)
    }

    /// If `client` has come with too many unknown tokens: how long it must wait.
    pub fn must_wait(&self, client: IpAddr) -> Option<Duration> {
        self.tries.wait(client, self.clock.now().monotonic)
    }

    /// Counts an unknown token of `client`'s.
    pub fn unknown_from(&self, client: IpAddr) {
        self.tries.failed(client, self.clock.now().monotonic);
    }

    /// Counts and records that a redeeming was refused.
    pub fn refused(&self, refusal: &Refusal, client: Option<IpAddr>) {
        let link = match refusal {
            Refusal::Link { link, .. } => link.as_deref(),
            Refusal::Next { link, .. } => Some(&**link),
            Refusal::Store(_) => None,
        };
        self.refused_for(refusal.word(), link, client);
    }

    /// Counts and records a refusal for a reason outside the life of a token.
    pub fn refused_for(&self, reason: &'static str, link: Option<&Link>, client: Option<IpAddr>) {
        self.metrics.links_refused.get_or_create(&ReasonLabel { reason: Reason(reason) }).inc();
        self.record(Event::Refused, link, client, Some(reason));
    }

    /// Counts and records that another user's session was ended for the login of `user`.
    pub fn switched(&self, user: &VerifiedUser, client: Option<IpAddr>) {
        self.metrics.switches.inc();
        self.audit.write(&Record {
            time: self.clock.now().wall,
            event: Event::Switched,
            id: Some(user.link.as_str()),
            app: Some(&user.grant.app),
            username: Some(user.grant.username.as_str()),
            client_ip: client,
            reason: None,
        });
    }

    /// The link of this id, if it is `app`'s.
    pub async fn status(&self, id: &LinkId, app: &App) -> Result<Option<Link>, StoreError> {
        self.store.get(id, &app.name, self.clock.now()).await
    }

    /// Takes `app`'s link of this id back.
    pub async fn revoke(
        &self,
        id: &LinkId,
        app: &App,
        client: Option<IpAddr>,
    ) -> Result<Revoked, StoreError> {
        let before = self.store.get(id, &app.name, self.clock.now()).await?;
        let revoked = self.store.revoke(id, &app.name, self.clock.now()).await?;
        // A link that was dead already is not revoked a second time.
        let pending = before.filter(|link| link.status == LinkStatus::Pending);
        if revoked == Revoked::Dead
            && let Some(link) = pending
        {
            self.apps.discount(&link.grant.app, live::second_of(&link));
            self.audit.write(&Record {
                time: self.clock.now().wall,
                event: Event::Revoked,
                id: Some(id.as_str()),
                app: Some(&app.name),
                username: None,
                client_ip: client,
                reason: None,
            });
        }
        Ok(revoked)
    }

    /// Takes all pending links of `app` for `username` back; answers how many there were.
    pub async fn revoke_user(
        &self,
        username: &Username,
        app: &App,
        client: Option<IpAddr>,
    ) -> Result<usize, StoreError> {
        let revoked = self.store.revoke_user(username, &app.name, self.clock.now()).await?;
        self.audit.write(&Record {
            time: self.clock.now().wall,
            event: Event::Revoked,
            id: None,
            app: Some(&app.name),
            username: Some(username.as_str()),
            client_ip: client,
            reason: Some("all_of_user"),
        });
        Ok(revoked)
    }

    fn record(&self, event: Event, link: Option<&Link>, client: Option<IpAddr>, reason: Option<&str>) {
        self.audit.write(&Record {
            time: self.clock.now().wall,
            event,
            id: link.map(|link| link.id.as_str()),
            app: link.map(|link| &*link.grant.app),
            username: link.map(|link| link.grant.username.as_str()),
            client_ip: client,
            reason,
        });
    }
}

fn ended(status: LinkStatus) -> Option<RefusalReason> {
    match status {
        LinkStatus::Pending => None,
        LinkStatus::Used => Some(RefusalReason::Used),
        LinkStatus::Expired => Some(RefusalReason::Expired),
        LinkStatus::Revoked => Some(RefusalReason::Revoked),
    }
}
