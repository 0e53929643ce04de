//! Redeems: looks a token up, judges it together with what the request asks, and consumes it. The only place that can make
//! a [`VerifiedUser`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::assertion::Statement;
use super::dependencies::LoginDependencies;
use super::end_marks::{EndMarks, LoginWatch};
use super::external_token::{ExternalTokens, FailedExchange};
use super::judge::RedeemRequest;
use super::jwt_login::JwtLogin;
use super::live_link_quota::second_of;
use super::login_token::{LoginToken, TokenKind};
use super::next::Next;
use super::policy::{Policy, PolicyInForce};
use super::recorder::{Recorder, Subject};
use super::refusal::{Refusal, RefusalReason, ended};
use super::replay_cache::ReplayCache;
use super::rules::WAIT_MAX;
use crate::audit::{AuditReason, Client};
use crate::clock::Clock;
use crate::store::{Consumed, Link, LinkStatus, StoreError, TokenStore};
use crate::token::{LinkId, LoginGrant, OpaqueToken, Username};

/// A token that can be redeemed: looked up, judged, not consumed.
#[derive(Debug)]
pub struct ValidatedToken {
    kept: UseRecord,
    /// Boxed, because a login hands it on several times.
    link: Box<Link>,
    next: Option<Next>,
    /// Whether the app itself asks ([`RedeemRequest::by_app`]).
    by_app: bool,
    /// The policy by which all this was judged.
    policy: Arc<Policy>,
}

/// Where it is recorded that a token was used.
#[derive(Debug, Clone, Copy)]
enum UseRecord {
    /// In its link, which the store holds.
    AsLink,
    /// In the replay cache: an app has signed the token, at this second of Unix time, and the store learns of it when it
    /// is consumed. It was judged by the store's memory of this epoch.
    InReplayCache { epoch: i64, issued_at: f64 },
}

impl ValidatedToken {
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

    /// Whether the link itself asks for the confirm page.
    pub fn needs_confirmation(&self) -> bool {
        self.link.grant.confirm
    }

    /// Whether the link is bound to a browser.
    pub fn is_bound(&self) -> bool {
        self.link.grant.state.is_some()
    }

    /// What would be said of its user to the hub.
    pub fn statement(&self) -> Statement<'_> {
        let LoginGrant { username, groups, claims, .. } = &self.link.grant;
        Statement { username, id: &self.link.id, groups: groups.as_deref(), claims: claims.as_ref() }
    }

    /// The id that its session would get if it began now; none: the hub makes one.
    pub fn session_id(&self, clock: &dyn Clock) -> Option<String> {
        self.policy.session_id(&self.link, clock)
    }

    /// The app that issued the link.
    pub fn app(&self) -> &str {
        &self.link.grant.app
    }
}

/// Proof that one login token was consumed: for one identity header on one request.
///
/// It can be made only here, after the store's one success, and it is neither `Clone` nor rebuilt from a name:
/// `proxy::identity::set` takes it by value.
#[derive(Debug)]
#[must_use = "a token was consumed for this user"]
pub struct VerifiedUser {
    link: Box<Link>,
    /// The id that the session gets, if it is to end by itself.
    session_id: Option<String>,
}

impl VerifiedUser {
    /// For tests alone: otherwise only a successful consume makes one.
    #[cfg(test)]
    pub(super) fn for_test(link: Link) -> Self {
        Self { link: Box::new(link), session_id: None }
    }

    /// Who.
    pub fn username(&self) -> &Username {
        &self.link.grant.username
    }

    /// Through which link.
    pub fn link(&self) -> &LinkId {
        &self.link.id
    }

    /// The app that issued it.
    pub fn app(&self) -> &str {
        &self.link.grant.app
    }

    /// The hub groups of the grant.
    pub fn groups(&self) -> Option<&[String]> {
        self.link.grant.groups.as_deref()
    }

    /// The id that the session gets which begins now; none: the hub makes one.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// The claims of the grant.
    pub fn claims(&self) -> Option<&Map<String, Value>> {
        self.link.grant.claims.as_ref()
    }
}

impl<'a> From<&'a VerifiedUser> for Subject<'a> {
    fn from(user: &'a VerifiedUser) -> Self {
        let (app, username) = (user.app(), user.username().as_str());
        Self { id: Some(user.link().as_str()), app: Some(app), username: Some(username) }
    }
}

impl<'a> From<&'a VerifiedUser> for Statement<'a> {
    fn from(user: &'a VerifiedUser) -> Self {
        Self { username: user.username(), id: user.link(), groups: user.groups(), claims: user.claims() }
    }
}

/// Redeems tokens.
pub struct Redeemer {
    policy: PolicyInForce,
    jwt_login: JwtLogin,
    external_tokens: ExternalTokens,
    replay_cache: Arc<ReplayCache>,
    end_marks: EndMarks,
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    recorder: Arc<Recorder>,
}

impl std::fmt::Debug for Redeemer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redeemer")
    }
}

impl Redeemer {
    /// Redeems by the `policy` in force.
    pub(super) fn new(policy: PolicyInForce, dependencies: &LoginDependencies) -> Self {
        let replay_cache = Arc::new(ReplayCache::new(dependencies));
        let LoginDependencies { store, clock, recorder, .. } = dependencies.clone();
        Self {
            jwt_login: JwtLogin::new(Arc::clone(&replay_cache), dependencies),
            external_tokens: ExternalTokens::new(
                Arc::clone(&policy),
                Arc::clone(&replay_cache),
                dependencies,
            ),
            policy,
            replay_cache,
            end_marks: EndMarks::new(dependencies),
            store,
            clock,
            recorder,
        }
    }

    /// The token that `text` spells, if any token here has such a shape.
    pub fn parse(&self, text: &str) -> Option<LoginToken> {
        let policy = self.policy.load();
        LoginToken::parse(text).filter(|token| match token.kind() {
            TokenKind::Opaque => true,
            TokenKind::Jwt => !policy.jwt_issuers.is_empty(),
            TokenKind::External => policy.applications.exchanging_for(token.expose()).is_some(),
        })
    }

    /// Looks at the link of `token` and judges it, together with what the request asks; consumes nothing.
    pub async fn validate(
        &self,
        token: &LoginToken,
        request: RedeemRequest<'_>,
    ) -> Result<ValidatedToken, Refusal> {
        let policy = self.policy.load_full();
        let (link, kept) = match token.kind() {
            TokenKind::Opaque => {
                (self.store.find(token.digest(), self.clock.now()).await?, UseRecord::AsLink)
            }
            TokenKind::Jwt => {
                let epoch = self.replay_cache.memory().epoch;
                let link = self.jwt_login.link(&policy, token.expose(), request.clicked_at);
                let (link, issued_at) = Box::pin(link).await?;
                (Some(link), UseRecord::InReplayCache { epoch, issued_at })
            }
            TokenKind::External => (Box::pin(self.external_tokens.link(token)).await?, UseRecord::AsLink),
        };
        judge(policy, self.as_clicked(link, request), kept, request)
    }

    /// The same for a token that is known to be ours.
    pub async fn validate_opaque(
        &self,
        token: &OpaqueToken,
        request: RedeemRequest<'_>,
    ) -> Result<ValidatedToken, Refusal> {
        let policy = self.policy.load_full();
        let link = self.store.find(token.digest(), self.clock.now()).await?;
        judge(policy, self.as_clicked(link, request), UseRecord::AsLink, request)
    }

    /// A link that is kept for those who wait for their turn is over for whoever clicks only now.
    fn as_clicked(&self, link: Option<Link>, request: RedeemRequest<'_>) -> Option<Link> {
        let mut link = link?;
        let is_over = |by| request.clicked_at.unwrap_or_else(|| self.clock.wall()) >= by;
        if link.status == LinkStatus::Pending && link.grant.click_by.is_some_and(is_over) {
            link.status = LinkStatus::Expired;
        }
        Some(link)
    }

    /// Consumes the token: the one success of its life makes the user a verified one.
    ///
    /// The policy in force decides, not the one by which the token was validated: in between a browser may have sent its
    /// form slowly, or a hub or an app may have been waited for. It is asked again when the store has answered, which may
    /// have taken time as well; a token that is refused then is used up.
    pub async fn consume(
        &self,
        mut validated: ValidatedToken,
        client: Client<'_>,
    ) -> Result<VerifiedUser, Refusal> {
        if !self.recorder.admits_logins() {
            return Err(
                StoreError::unavailable("the audit log cannot be written (log.audit_required)").into()
            );
        }
        self.rejudge(&mut validated)?;
        let link = match validated.kept {
            UseRecord::AsLink => self.take(&validated.link).await?,
            UseRecord::InReplayCache { epoch, issued_at } => {
                self.jwt_login.consume(&validated.link, epoch, issued_at).await?;
                // Each redeem in the audit has one issue: that of this token is known only now.
                self.recorder.issued(&*validated.link, client, Some(AuditReason::SignedByApp));
                validated.link.clone()
            }
        };
        self.rejudge(&mut validated)?;
        self.recorder.redeemed(&link, client);
        let session_id = validated.policy.session_id(&link, &*self.clock);
        Ok(VerifiedUser { link, session_id })
    }

    /// What a login by `validated` will be judged by when the hub has answered it ([`super::SessionEnder::has_ended_since`]): to
    /// be asked before it is consumed. None: nobody may end sessions here.
    pub async fn watch(&self, validated: &ValidatedToken) -> Result<Option<LoginWatch>, StoreError> {
        self.end_marks.watch(validated.username(), &self.policy.load()).await
    }

    /// Judges again if another policy has come into force since.
    fn rejudge(&self, validated: &mut ValidatedToken) -> Result<(), Refusal> {
        let policy = self.policy.load_full();
        if Arc::ptr_eq(&policy, &validated.policy) {
            return Ok(());
        }
        let ValidatedToken { kept, link, next, by_app, policy: before } = validated;
        let signed = matches!(kept, UseRecord::InReplayCache { .. });
        if signed && !policy.jwt_issuers.has_same(&before.jwt_issuers, &link.grant.app) {
            return Err(Refusal::of_link(RefusalReason::KeyRevoked, Some(link.clone())));
        }
        policy.authorize(link)?;
        // What it was bound to does not depend on the rules; whether it had to be bound does.
        let bound = link.grant.state.is_some() || *by_app || !policy.rules.require_state;
        if !bound {
            return Err(Refusal::of_link(RefusalReason::NeedsState, Some(link.clone())));
        }
        let destination = policy.destination_of(link, next.as_ref().map(Next::as_str));
        *next = destination.map_err(|error| Refusal::Next { error, link: link.clone() })?;
        *before = policy;
        Ok(())
    }

    /// Consumes the link in the store, so that nobody else can.
    async fn take(&self, link: &Link) -> Result<Box<Link>, Refusal> {
        match self.store.consume(link.digest, self.clock.now()).await? {
            Consumed::Granted(link) => {
                self.policy.load().applications.release_live(&link.grant.app, second_of(&link));
                Ok(link)
            }
            Consumed::Unknown => Err(Refusal::unknown()),
            Consumed::Ended(link) => {
                let reason = ended(link.status).unwrap_or(RefusalReason::Used);
                Err(Refusal::of_link(reason, Some(link)))
            }
        }
    }

    /// Keeps the link of a token for a browser that waits for its turn at the hub: a click that came in time stays good
    /// for [`WAIT_MAX`]. A token that an app has signed has no link before it is consumed, and nothing to keep.
    pub async fn reserve(&self, validated: &ValidatedToken) -> Result<bool, StoreError> {
        match validated.kept {
            UseRecord::AsLink => {
                let now = self.clock.now();
                self.store.reserve(validated.link.digest, now.plus(WAIT_MAX), now).await
            }
            UseRecord::InReplayCache { .. } => Ok(true),
        }
    }

    /// Whether an app must be asked for `token` before it can be judged.
    pub async fn must_exchange(&self, token: &LoginToken) -> Result<bool, StoreError> {
        Ok(token.kind() == TokenKind::External && self.external_tokens.link(token).await?.is_none())
    }

    /// Asks the app for the user of `token`, once, and makes a link of the response.
    pub async fn exchange(&self, token: &LoginToken, client: Client<'_>) -> Result<(), FailedExchange> {
        self.external_tokens.exchange(token, client).await
    }

    /// If clients at this address have come with too many unknown tokens of ours: how long they must wait.
    pub fn must_wait(&self, address: IpAddr) -> Option<Duration> {
        self.policy.load().failures.wait(address, "", self.clock.monotonic())
    }

    /// If the app of `token` has refused too many tokens that came from this address: how long it is not asked.
    pub fn must_wait_to_exchange(&self, token: &LoginToken, address: IpAddr) -> Option<Duration> {
        let policy = self.policy.load();
        let app = policy.applications.exchanging_for(token.expose())?;
        policy.failures.wait(address, &app.name, self.clock.monotonic())
    }

    /// Counts an unknown token that came from this address.
    pub fn count_unknown(&self, address: IpAddr) {
        self.policy.load().failures.failed(address, "", self.clock.monotonic());
    }

    /// Whether a used `link` may still lead its user on: refresh, back, double click.
    pub fn is_within_grace(&self, link: &Link) -> bool {
        let grace = self.policy.load().rules.replay_grace;
        self.was_used_within(link, grace)
    }

    /// Whether `link` was used, and at most `span` ago.
    pub fn was_used_within(&self, link: &Link, span: Duration) -> bool {
        let age = link.used_at.map(|used| self.clock.wall().duration_since(used));
        let span = jiff::SignedDuration::try_from(span).unwrap_or_default();
        age.is_some_and(|age| !age.is_negative() && age <= span)
    }
}

fn judge(
    policy: Arc<Policy>,
    link: Option<Link>,
    kept: UseRecord,
    request: RedeemRequest<'_>,
) -> Result<ValidatedToken, Refusal> {
    let link = Box::new(link.ok_or_else(Refusal::unknown)?);
    let next = policy.judge(&link, request)?;
    Ok(ValidatedToken { kept, link, next, by_app: request.by_app, policy })
}
