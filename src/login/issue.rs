//! Issues: from an app's request to a login link; and what an app may ask about its links, and how it takes them back.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SecureRandom;

use super::caller::Caller;
use super::dependencies::LoginDependencies;
use super::issue_request::{
    IssueError, IssueRequest, IssuedLink, LinkDestination, PreparedLink, RefusedRequest, fits_a_header,
};
use super::live_link_quota::second_of;
use super::next::{Next, NextError, form_encode};
use super::not_before::NotBefore;
use super::policy::{Policy, PolicyInForce};
use super::recorder::{Recorder, Subject};
use super::rules::Rules;
use crate::audit::{AuditReason, Client};
use crate::clock::Clock;
use crate::config::{App, SESSION_MIN, Scope};
use crate::hub::StillAllowed;
use crate::store::{IdempotencyKey, Inserted, Link, LinkStatus, Revoked, StoreError, TokenStore};
use crate::token::{LinkId, LoginGrant, OpaqueToken, ServerName, Username};

/// Where a link leads, resolved.
#[derive(Default)]
struct ResolvedDestination {
    next: Option<Next>,
    /// The path inside a server by which the app's rule judges `next`; none: `next` itself.
    judged: Option<Next>,
    /// The server to wait for.
    server: Option<ServerName>,
}

/// Issues links, tells where they stand, and revokes them.
pub struct Issuer {
    policy: PolicyInForce,
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    recorder: Arc<Recorder>,
    not_before: NotBefore,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer")
    }
}

impl Issuer {
    /// Issues by the `policy` in force.
    pub(super) fn new(policy: PolicyInForce, dependencies: &LoginDependencies) -> Self {
        let LoginDependencies { store, clock, random, recorder, .. } = dependencies.clone();
        Self { policy, store, clock, random, recorder, not_before: NotBefore::new(dependencies) }
    }

    /// Judges each of `requests` and prepares its link; one bad request refuses all. Stores nothing.
    pub fn prepare(
        &self,
        caller: &Caller,
        requests: Vec<IssueRequest>,
    ) -> Result<Vec<PreparedLink>, RefusedRequest> {
        let policy = self.policy.load_full();
        // The caller has proved itself before its body came, which may have taken time.
        let app = policy.applications.reauthorize(caller, Scope::Issue);
        let app = app.ok_or_else(|| RefusedRequest::whole(IssueError::NoLongerAuthorized))?;
        let caller = Caller { app, key: caller.key };
        let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let limited = |retry_after| RefusedRequest::whole(IssueError::RateLimited { retry_after });
        policy.applications.check_rate(&caller.app, count).map_err(limited)?;
        let one = |(index, request)| {
            let prepared = self.prepare_one(&policy, &caller, request);
            prepared.map_err(|cause| RefusedRequest { index: Some(index), cause })
        };
        requests.into_iter().enumerate().map(one).collect()
    }

    /// Issues the prepared links, all or none. Their lives begin now, and the policy in force decides: since they were
    /// prepared, their servers may have been waited for.
    ///
    /// An idempotency key goes with exactly one link.
    pub async fn issue(
        &self,
        caller: &Caller,
        prepared: Vec<PreparedLink>,
        key: Option<IdempotencyKey>,
        client: Option<IpAddr>,
    ) -> Result<Vec<IssuedLink>, RefusedRequest> {
        let whole = RefusedRequest::whole;
        let policy = self.policy.load_full();
        let app = policy.applications.reauthorize(caller, Scope::Issue);
        let app = &*app.ok_or_else(|| whole(IssueError::NoLongerAuthorized))?;
        for (index, PreparedLink { link, lifetime, .. }) in prepared.iter().enumerate() {
            let authorized = authorize(&policy, app, &link.grant, *lifetime);
            authorized.map_err(|cause| RefusedRequest { index: Some(index), cause })?;
        }
        let now = self.clock.now();
        let mut links = Vec::with_capacity(prepared.len());
        let mut issued = Vec::with_capacity(prepared.len());
        for PreparedLink { mut link, login_token, lifetime } in prepared {
            (link.issued, link.expires) = (now, now.plus(lifetime));
            issued.push(IssuedLink {
                id: link.id.clone(),
                url: url(&policy.rules, &login_token, link.grant.next.as_deref()),
                login_token,
                username: link.grant.username.clone(),
                next: link.grant.next.clone(),
                expires_in: lifetime,
                expires_at: link.expires.wall,
            });
            links.push(link);
        }
        let seconds: Vec<u64> = links.iter().map(second_of).collect();
        let acquired = policy.applications.acquire_live(app, &seconds, self.clock.now());
        acquired.map_err(|retry_after| whole(IssueError::TooManyLive { retry_after }))?;
        let inserted = self.store.insert(links, key, self.clock.now()).await;
        if !matches!(inserted, Ok(Inserted::New | Inserted::Again(_))) {
            for second in seconds {
                policy.applications.release_live(&app.name, second);
            }
        }
        let repeats = inserted.map_err(IssueError::from).and_then(id_repeated).map_err(whole)?;
        let reason = repeats.is_some().then_some(AuditReason::Repeat);
        if let Some(id) = repeats {
            for link in &mut issued {
                link.id = id.clone();
            }
        }
        for link in &issued {
            let (id, username) = (Some(link.id.as_str()), Some(link.username.as_str()));
            let subject = Subject { id, app: Some(&app.name), username };
            self.recorder.issued(subject, Client::at(client), reason);
        }
        Ok(issued)
    }

    /// Judges one request and makes its link and token.
    fn prepare_one(
        &self,
        policy: &Policy,
        caller: &Caller,
        request: IssueRequest,
    ) -> Result<PreparedLink, IssueError> {
        let app = &*caller.app;
        let rules = &policy.rules;
        let username = rules.usernames.parse(&app.full_username(&request.username))?;
        authorize_user(policy, app, &username)?;
        let ResolvedDestination { next, judged, server } =
            resolve(rules, &username, &request.destination, request.launch)?;
        let lifetime = request.expires_in.unwrap_or(rules.lifetime.min(app.max_lifetime));
        let grant = LoginGrant {
            username,
            app: app.name.clone(),
            key: caller.key,
            next: next.map(|next| next.as_str().to_owned()),
            judged_by: judged.map(|next| next.as_str().to_owned()),
            groups: request.groups,
            claims: request.claims,
            confirm: request.confirm,
            state: request.state,
            launch: server,
            session: request.session_expires_in,
            click_by: None,
        };
        authorize(policy, app, &grant, lifetime)?;
        let login_token = OpaqueToken::generate(&*self.random)?;
        let now = self.clock.now();
        let link = Link {
            id: LinkId::generate(&*self.random)?,
            digest: login_token.digest(),
            grant,
            status: LinkStatus::Pending,
            issued: now,
            expires: now.plus(lifetime),
            used_at: None,
            note: request.note,
        };
        Ok(PreparedLink { link, login_token, lifetime })
    }

    /// The link of this id, if it is `app`'s.
    pub async fn status(&self, id: &LinkId, app: &App) -> Result<Option<Link>, StoreError> {
        let found = self.store.get(id, &app.name, self.clock.now()).await?;
        let policy = self.policy.load();
        Ok(found.map(|link| match link.status {
            LinkStatus::Pending if policy.lost_its_key(&link) => Link { status: LinkStatus::Revoked, ..link },
            LinkStatus::Pending | LinkStatus::Used | LinkStatus::Expired | LinkStatus::Revoked => link,
        }))
    }

    /// Revokes `app`'s link of this id.
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
            self.policy.load().applications.release_live(&link.grant.app, second_of(&link));
            self.recorder.revoked(id, &app.name, Client::at(client));
        }
        Ok(revoked)
    }

    /// Whether `caller` may have a server started for `username`, by the policy in force whenever it is asked.
    pub fn start_rule(&self, caller: &Caller, username: &Username) -> StillAllowed {
        let (policy, caller, username) = (Arc::clone(&self.policy), caller.clone(), username.clone());
        Arc::new(move || {
            let policy = policy.load();
            policy.applications.reauthorize(&caller, Scope::Issue).is_some()
                && policy.allows(&caller.app.name, &username)
        })
    }

    /// Revokes all pending links of `app` for `username`, and answers how many there were; and what it has signed itself,
    /// of which nobody knows the number.
    pub async fn revoke_user(
        &self,
        username: &Username,
        app: &App,
        client: Option<IpAddr>,
    ) -> Result<usize, StoreError> {
        let revoked = self.store.revoke_user(username, &app.name, self.clock.now()).await?;
        // A user whom the app may not name has no token of it that logs in, and a record for every such name would fill
        // the store.
        if self.policy.load().allows(&app.name, username) {
            self.not_before.revoke(username, app).await?;
        }
        self.recorder.revoked_all(username, &app.name, Client::at(client));
        Ok(revoked)
    }
}

/// The id under which a repeated request issues again; none: its links are new.
fn id_repeated(inserted: Inserted) -> Result<Option<LinkId>, IssueError> {
    match inserted {
        Inserted::New => Ok(None),
        Inserted::Again(id) => Ok(Some(id)),
        Inserted::Ended => Err(IssueError::RepeatOfEnded),
        Inserted::OtherBody => Err(IssueError::RepeatDiffers),
        Inserted::Full => Err(IssueError::Full),
    }
}

/// Whether `app` may issue a link with this grant that lives for `lifetime`.
fn authorize(policy: &Policy, app: &App, grant: &LoginGrant, lifetime: Duration) -> Result<(), IssueError> {
    let rules = &policy.rules;
    authorize_user(policy, app, &grant.username)?;
    if let Some(next) = grant.judged_by.as_deref().or(grant.next.as_deref())
        && !app.allows_next(&rules.next.check(next)?)
    {
        return Err(NextError::NotAllowed.into());
    }
    if lifetime.is_zero() || lifetime > app.max_lifetime {
        return Err(IssueError::Lifetime { max_seconds: app.max_lifetime.as_secs() });
    }
    if grant.groups.as_ref().is_some_and(|groups| !app.may_assert_groups(groups)) {
        return Err(IssueError::GroupsNotAllowed);
    }
    if grant.claims.is_some() && !app.claims {
        return Err(IssueError::ClaimsNotAllowed);
    }
    if !fits_a_header(grant.groups.as_deref(), grant.claims.as_ref()) {
        return Err(IssueError::ClaimsTooLarge);
    }
    if rules.require_state && grant.state.is_none() {
        return Err(IssueError::StateRequired);
    }
    if let Some(session) = grant.session {
        if policy.signer.is_none() {
            return Err(IssueError::NoSessions);
        }
        if session < SESSION_MIN || app.max_session.is_some_and(|longest| session > longest) {
            let max_seconds = app.max_session.map(|longest| longest.as_secs());
            return Err(IssueError::Session { min_seconds: SESSION_MIN.as_secs(), max_seconds });
        }
    }
    Ok(())
}

fn authorize_user(policy: &Policy, app: &App, username: &Username) -> Result<(), IssueError> {
    if policy.allows(&app.name, username) {
        return Ok(());
    }
    Err(IssueError::UserNotAllowed { app: app.name.to_string(), username: username.clone() })
}

/// Where a link leads. Into a server that is launched, and in API-only mode into any, the way is straight: there the hub's
/// spawn page is not needed, here it does not exist.
fn resolve(
    rules: &Rules,
    username: &Username,
    destination: &LinkDestination,
    launch: bool,
) -> Result<ResolvedDestination, NextError> {
    let rule = &rules.next;
    match destination {
        LinkDestination::HubDecides if launch => {
            let server = rules.default_server.clone();
            let next = Some(rule.inside(username, &server, "")?);
            Ok(ResolvedDestination { next, judged: None, server: Some(server) })
        }
        LinkDestination::HubDecides => Ok(ResolvedDestination::default()),
        LinkDestination::Next(next) => {
            Ok(ResolvedDestination { next: Some(rule.check(next)?), ..ResolvedDestination::default() })
        }
        LinkDestination::Path { path, server } => {
            let server = match server {
                Some(name) => ServerName::parse(name).ok_or(NextError::ServerName)?,
                None => rules.default_server.clone(),
            };
            if launch || rules.api_only {
                let next = Some(rule.inside(username, &server, path)?);
                Ok(ResolvedDestination { next, judged: None, server: launch.then_some(server) })
            } else {
                let (outer, inner) = rule.spawn(username, &server, path)?;
                Ok(ResolvedDestination { next: Some(outer), judged: Some(inner), server: None })
            }
        }
    }
}

/// `https://hub.example.org/hub/login?login_token=…&next=…`
fn url(rules: &Rules, token: &OpaqueToken, next: Option<&str>) -> String {
    let Rules { origin, login_path, parameter, .. } = rules;
    let mut url = format!("{origin}{login_path}?{}={}", parameter.name(), token.expose());
    if let Some(next) = next {
        url.push_str("&next=");
        url.push_str(&form_encode(next));
    }
    url
}
