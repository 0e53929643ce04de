//! Issuing: from an app's order to a login link.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::LoginService;
use super::live::second_of;
use super::next::{Next, NextError, form_encode};
use crate::audit::{Client, Event, Record};
use crate::config::App;
use crate::store::{IdempotencyKey, Inserted, Link, LinkStatus, StoreError};
use crate::token::{
    LinkId, LoginGrant, LoginToken, NoRandomness, ServerName, State, Username, UsernameError,
};

/// The most bytes that groups and claims of one grant may take as JSON: the assertion travels in a header, and
/// configurable-http-proxy takes 16 KiB of headers in all.
const CLAIMS_BYTES_MAX: usize = 4096;

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To the link's own query, or else where the hub decides.
    HubDecides,
    /// To a path on the public origin.
    Next(String),
    /// To a path inside the user's server, which is started if need be.
    Path {
        /// Path inside the server, with its query: `lab/tree/x.ipynb`.
        path: String,
        /// Name of the server; none: the default one.
        server: Option<String>,
    },
}

/// What an app asks for.
#[derive(Debug, Clone)]
pub struct Order {
    /// Who is to be logged in.
    pub username: String,
    /// Where the browser goes.
    pub destination: Destination,
    /// Life of the token; none: the default.
    pub expires_in: Option<Duration>,
    /// Whether the link always asks first.
    pub confirm: bool,
    /// Hub groups of the user.
    pub groups: Option<Vec<String>>,
    /// Further claims for the hub's `auth_state`.
    pub claims: Option<Map<String, Value>>,
    /// The app's own remark.
    pub note: Option<String>,
    /// The browser in which alone the link will work.
    pub state: Option<State>,
    /// Whether the server is started for this link, so that the browser waits for it.
    pub launch: bool,
}

/// An order that was judged, with the token of its link; nothing is stored yet.
#[derive(Debug)]
pub struct Draft {
    link: Link,
    login_token: LoginToken,
    lifetime: Duration,
}

impl Draft {
    /// Who will be logged in.
    pub fn username(&self) -> &Username {
        &self.link.grant.username
    }

    /// The server to start, if the order wants one.
    pub fn launch(&self) -> Option<&ServerName> {
        self.link.grant.launch.as_ref()
    }
}

/// A link, just issued.
#[derive(Debug)]
pub struct IssuedLink {
    /// Its public name.
    pub id: LinkId,
    /// The link itself.
    pub url: String,
    /// The secret in it.
    pub login_token: LoginToken,
    /// Who will be logged in.
    pub username: Username,
    /// Where the link leads.
    pub next: Option<String>,
    /// Life of the token.
    pub expires_in: Duration,
    /// End of its life.
    pub expires_at: Timestamp,
}

/// Why no link was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The name is none.
    #[error(transparent)]
    Username(#[from] UsernameError),
    /// The app may not log this user in.
    #[error("the rules of app {app:?} do not allow the user {username}")]
    UserNotAllowed {
        /// The app.
        app: String,
        /// The user.
        username: Username,
    },
    /// `next`, `path` or `server` is bad or not allowed.
    #[error(transparent)]
    Next(#[from] NextError),
    /// The life asked for is zero or above the app's maximum.
    #[error("expires_in must be from 1 to {max_seconds} seconds")]
    Lifetime {
        /// The app's maximum.
        max_seconds: u64,
    },
    /// Only links with a `state` work here.
    #[error("state is required: links without one do not work here (login.require_state)")]
    StateRequired,
    /// Groups or claims come from somebody who must not say them.
    #[error("groups and claims are for apps and services to say, not for a user")]
    MayNotVouch,
    /// Groups and claims are too large for a header.
    #[error("groups and claims take more than {CLAIMS_BYTES_MAX} bytes")]
    ClaimsTooLarge,
    /// The app issues faster than it may.
    #[error("the app issues links faster than its rate")]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many links of the app wait to be used.
    #[error("too many of the app's links wait to be used (max_live_links)")]
    TooManyLive {
        /// When one of them expires.
        retry_after: Duration,
    },
    /// The idempotency key's link was redeemed or revoked.
    #[error("the link of this Idempotency-Key was redeemed or revoked")]
    RepeatOfEnded,
    /// The idempotency key came with another body before.
    #[error("this Idempotency-Key was used with another request")]
    RepeatDiffers,
    /// The store is full.
    #[error("there are too many live links (store.max_tokens)")]
    Full,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// An order that was refused, and which one of a batch it was.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct OrderError {
    /// Its place in the batch, from 0; none: the batch as a whole.
    pub index: Option<usize>,
    /// Why.
    #[source]
    pub cause: IssueError,
}

impl OrderError {
    fn whole(cause: IssueError) -> Self {
        Self { index: None, cause }
    }
}

/// Where an order leads.
#[derive(Default)]
struct Aim {
    next: Option<Next>,
    /// The path inside a server by which the app's rule judges `next`; none: `next` itself.
    judged: Option<Next>,
    /// The server to wait for.
    server: Option<ServerName>,
}

impl LoginService {
    /// Judges each of `orders` and draws its link up; one that is bad spoils all. Stores nothing.
    pub fn draw_up(&self, app: &App, orders: Vec<Order>) -> Result<Vec<Draft>, OrderError> {
        let count = u32::try_from(orders.len()).unwrap_or(u32::MAX);
        let limited = |retry_after| OrderError::whole(IssueError::RateLimited { retry_after });
        self.apps.charge(app, count).map_err(limited)?;
        let one = |(index, order)| {
            self.judge_order(app, order).map_err(|cause| OrderError { index: Some(index), cause })
        };
        orders.into_iter().enumerate().map(one).collect()
    }

    /// Issues the links of `drafts`, all or none. Their lives begin now.
    ///
    /// An idempotency key goes with exactly one draft.
    pub async fn issue(
        &self,
        app: &App,
        drafts: Vec<Draft>,
        key: Option<IdempotencyKey>,
        client: Client<'_>,
    ) -> Result<Vec<IssuedLink>, OrderError> {
        let whole = OrderError::whole;
        let now = self.clock.now();
        let mut links = Vec::with_capacity(drafts.len());
        let mut issued = Vec::with_capacity(drafts.len());
        for Draft { mut link, login_token, lifetime } in drafts {
            (link.issued, link.expires) = (now, now.plus(lifetime));
            issued.push(IssuedLink {
                id: link.id.clone(),
                url: self.url(&login_token, link.grant.next.as_deref()),
                login_token,
                username: link.grant.username.clone(),
                next: link.grant.next.clone(),
                expires_in: lifetime,
                expires_at: link.expires.wall,
            });
            links.push(link);
        }
        let seconds: Vec<u64> = links.iter().map(second_of).collect();
        let waits = self.apps.count(app, &seconds, self.clock.now());
        waits.map_err(|retry_after| whole(IssueError::TooManyLive { retry_after }))?;
        let inserted = self.store.insert(links, key, self.clock.now()).await;
        if !matches!(inserted, Ok(Inserted::New | Inserted::Again(_))) {
            for second in seconds {
                self.apps.discount(&app.name, second);
            }
        }
        let mut reason = None;
        match inserted.map_err(|error| whole(error.into()))? {
            Inserted::New => {}
            Inserted::Again(id) => {
                reason = Some("repeat");
                for link in &mut issued {
                    link.id = id.clone();
                }
            }
            Inserted::Ended => return Err(whole(IssueError::RepeatOfEnded)),
            Inserted::OtherBody => return Err(whole(IssueError::RepeatDiffers)),
            Inserted::Full => return Err(whole(IssueError::Full)),
        }
        for link in &issued {
            self.metrics.links_issued.inc();
            self.audit.write(&Record {
                time: self.clock.now().wall,
                event: Event::Issued,
                id: Some(link.id.as_str()),
                app: Some(&app.name),
                username: Some(link.username.as_str()),
                client,
                reason,
            });
        }
        Ok(issued)
    }

    /// Judges one order and makes its link and token.
    fn judge_order(&self, app: &App, order: Order) -> Result<Draft, IssueError> {
        let username = self.rules.usernames.parse(&order.username)?;
        if !app.allows_user(&username) {
            return Err(IssueError::UserNotAllowed { app: app.name.to_string(), username });
        }
        let Aim { next, judged, server } = self.aim(&username, &order.destination, order.launch)?;
        if judged.as_ref().or(next.as_ref()).is_some_and(|next| !app.allows_next(next)) {
            return Err(NextError::NotAllowed.into());
        }
        let lifetime = order.expires_in.unwrap_or(self.rules.lifetime.min(app.max_lifetime));
        if lifetime.is_zero() || lifetime > app.max_lifetime {
            return Err(IssueError::Lifetime { max_seconds: app.max_lifetime.as_secs() });
        }
        if !app.vouches && (order.groups.is_some() || order.claims.is_some()) {
            return Err(IssueError::MayNotVouch);
        }
        if !fits_a_header(order.groups.as_deref(), order.claims.as_ref()) {
            return Err(IssueError::ClaimsTooLarge);
        }
        if self.rules.require_state && order.state.is_none() {
            return Err(IssueError::StateRequired);
        }
        let login_token = LoginToken::generate(&*self.random)?;
        let now = self.clock.now();
        let link = Link {
            id: LinkId::generate(&*self.random)?,
            digest: login_token.digest(),
            grant: LoginGrant {
                username,
                app: app.name.clone(),
                next: next.map(|next| next.as_str().to_owned()),
                judged_by: judged.map(|next| next.as_str().to_owned()),
                groups: order.groups,
                claims: order.claims,
                confirm: order.confirm,
                state: order.state,
                launch: server,
            },
            status: LinkStatus::Pending,
            issued: now,
            expires: now.plus(lifetime),
            used_at: None,
            note: order.note,
        };
        Ok(Draft { link, login_token, lifetime })
    }

    /// Where an order leads. Into a server that is launched, and in API-only mode into any, the way is straight: there the
    /// hub's spawn page is not needed, here it does not exist.
    fn aim(&self, username: &Username, destination: &Destination, launch: bool) -> Result<Aim, NextError> {
        let rule = &self.rules.next;
        match destination {
            Destination::HubDecides if launch => {
                let server = ServerName::default();
                Ok(Aim {
                    next: Some(rule.inside(username, &server, "")?),
                    judged: None,
                    server: Some(server),
                })
            }
            Destination::HubDecides => Ok(Aim::default()),
            Destination::Next(next) => Ok(Aim { next: Some(rule.check(next)?), ..Aim::default() }),
            Destination::Path { path, server } => {
                let server = ServerName::parse(server.as_deref().unwrap_or_default());
                let server = server.ok_or(NextError::ServerName)?;
                if launch || self.rules.api_only {
                    let next = rule.inside(username, &server, path)?;
                    Ok(Aim { next: Some(next), judged: None, server: launch.then_some(server) })
                } else {
                    let (outer, inner) = rule.spawn(username, &server, path)?;
                    Ok(Aim { next: Some(outer), judged: Some(inner), server: None })
                }
            }
        }
    }

    /// `https://hub.example.org/hub/login?login_token=…&next=…`
    fn url(&self, token: &LoginToken, next: Option<&str>) -> String {
        let mut url = format!(
            "{}{}?{}={}",
            self.rules.origin,
            self.rules.login_path,
            self.rules.parameter.name(),
            token.expose()
        );
        if let Some(next) = next {
            url.push_str("&next=");
            url.push_str(&form_encode(next));
        }
        url
    }
}

/// Whether groups and claims are small enough for the assertion.
pub(super) fn fits_a_header(groups: Option<&[String]>, claims: Option<&Map<String, Value>>) -> bool {
    json_bytes(&groups) + json_bytes(&claims) <= CLAIMS_BYTES_MAX
}

/// The size of a value as JSON, in bytes.
fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(CLAIMS_BYTES_MAX + 1, |json| json.len())
}
