//! Issuing: from an app's order to a login link.

use std::net::IpAddr;

use super::LoginService;
use super::issue_request::{
    Destination, IssueError, IssuedLink, Order, OrderError, PreparedLink, fits_a_header,
};
use super::issuer::Caller;
use super::live_link_quota::second_of;
use super::next::{Next, NextError, form_encode};
use crate::audit::{Client, Event, Record};
use crate::config::App;
use crate::store::{IdempotencyKey, Inserted, Link, LinkStatus};
use crate::token::{LinkId, LoginGrant, OpaqueToken, ServerName, Username};

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
    pub fn prepare(&self, caller: &Caller, orders: Vec<Order>) -> Result<Vec<PreparedLink>, OrderError> {
        let count = u32::try_from(orders.len()).unwrap_or(u32::MAX);
        let limited = |retry_after| OrderError::whole(IssueError::RateLimited { retry_after });
        self.apps.charge(&caller.app, count).map_err(limited)?;
        let one = |(index, order)| {
            self.judge_order(caller, order).map_err(|cause| OrderError { index: Some(index), cause })
        };
        orders.into_iter().enumerate().map(one).collect()
    }

    /// Issues the links of `drafts`, all or none. Their lives begin now.
    ///
    /// An idempotency key goes with exactly one draft.
    pub async fn issue(
        &self,
        app: &App,
        drafts: Vec<PreparedLink>,
        key: Option<IdempotencyKey>,
        client: Option<IpAddr>,
    ) -> Result<Vec<IssuedLink>, OrderError> {
        let whole = OrderError::whole;
        let now = self.clock.now();
        let mut links = Vec::with_capacity(drafts.len());
        let mut issued = Vec::with_capacity(drafts.len());
        for PreparedLink { mut link, login_token, lifetime } in drafts {
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
                timestamp: self.clock.now().wall,
                event: Event::Issued,
                id: Some(link.id.as_str()),
                app: Some(&app.name),
                username: Some(link.username.as_str()),
                client: Client::at(client),
                reason,
            });
        }
        Ok(issued)
    }

    /// Judges one order and makes its link and token.
    fn judge_order(&self, caller: &Caller, order: Order) -> Result<PreparedLink, IssueError> {
        let app = &*caller.app;
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
        let login_token = OpaqueToken::generate(&*self.random)?;
        let now = self.clock.now();
        let link = Link {
            id: LinkId::generate(&*self.random)?,
            digest: login_token.digest(),
            grant: LoginGrant {
                username,
                app: app.name.clone(),
                key: caller.key,
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
        Ok(PreparedLink { link, login_token, lifetime })
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
    fn url(&self, token: &OpaqueToken, next: Option<&str>) -> String {
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
