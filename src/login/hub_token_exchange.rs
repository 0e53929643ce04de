//! From an app's own token to a hub API token of its user, once (RFC 8693), and back to nothing (RFC 7009).
//!
//! The hub token is made first and shown last: in between, the app's token is consumed, and if that fails the hub token is
//! deleted unseen. So a hub that refuses or fails costs the app nothing, and of all requests with one token one is
//! answered. Whose a hub token is stands in its note at the hub, so that every replica knows, and its user reads it.
//!
//! All that is a task of its own, which goes on when the app hangs up: a token that nobody sees is deleted. What is known
//! is whether the response was made for somebody who still waited; whether its bytes arrived, nobody can know, and the token
//! ends by itself.

mod bounds;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::caller::Caller;
use super::judge::RedeemRequest;
use super::login_token::TokenKind;
use super::policy::PolicyInForce;
use super::recorder::{Recorder, Subject};
use super::redeem::{Redeemer, ValidatedToken};
use super::refusal::Refusal;
use crate::audit::{AuditReason, Client};
use crate::config::App;
use crate::hub::{CreatedToken, HubClient, HubError, NewToken, OwnerKind, is_hub_token};
use crate::shutdown::Shutdown;

/// How the note of each token begins.
const NOTE: &str = "hublatch app=";

/// A request for a hub token.
pub struct ExchangeRequest {
    /// Who asks.
    pub caller: Caller,
    /// The app's own token.
    pub subject: Zeroizing<String>,
    /// What it is.
    pub kind: SubjectTokenType,
    /// The scopes that are asked for; none: all that the app may have.
    pub scopes: Option<Vec<String>>,
    /// The lifetime that is asked for; none: the longest.
    pub expires_in: Option<Duration>,
    /// The client's address.
    pub client: Option<IpAddr>,
}

/// What the app gives for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectTokenType {
    /// A token that the app has signed.
    Jwt,
    /// The token of a link that the app has had issued.
    OpaqueToken,
}

/// A hub API token. If it is dropped and not [`HubToken::mark_delivered`], it is deleted at the hub.
#[must_use = "who drops it deletes it at the hub"]
pub struct HubToken {
    /// The secret.
    pub token: Zeroizing<String>,
    /// How long it lives.
    pub expires_in: Duration,
    /// What it may do.
    pub scopes: Vec<String>,
    delivered: oneshot::Sender<()>,
}

impl HubToken {
    /// Says that the token stands in a response, and must not be deleted.
    pub fn mark_delivered(self) {
        // Nobody listens any more only if the process ends.
        let _told = self.delivered.send(());
    }
}

/// Why there is no hub token.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The app may have none at all.
    #[error("this app may have no hub tokens: it has no [apps.hub_tokens]")]
    NotForApp,
    /// The configuration was replaced while the request was under way, and knows the app's key no more.
    #[error("the app's key is not known any more: the configuration has changed")]
    NoLongerAuthorized,
    /// A scope was asked for that the app may not have.
    #[error("the scope {0:?} is not among those of [apps.hub_tokens]")]
    Scope(String),
    /// A longer life was asked for than the app's tokens may have.
    #[error("expires_in must be from 1 to {max_seconds} seconds")]
    Lifetime {
        /// The app's maximum.
        max_seconds: u64,
    },
    /// The app asks faster than its rate.
    #[error("the app asks for tokens faster than its rate")]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// The app's own token is not good.
    #[error("subject_token: {0}")]
    Subject(#[from] Refusal),
    /// It is another app's, or of another kind.
    #[error("subject_token is no such token of this app")]
    NotOfApp,
    /// Its user must be asked, which only a browser can.
    #[error("this link asks its user first, which only a browser can show")]
    ConfirmRequired,
    /// The hub does not know its user.
    #[error("the hub does not know the user {0}: who has never logged in has no hub tokens")]
    NoSuchUser(String),
    /// The hub will not make such a token for this user.
    #[error("the hub refuses: {message}")]
    Refused {
        /// In its own words.
        message: String,
    },
    /// The hub has made a token that lives for ever. It is deleted.
    #[error("the hub has made a token without an end")]
    Endless,
    /// The hub does not do it.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The work was broken off, because hublatch ends.
    #[error("hublatch ends")]
    BrokenOff,
}

type ExchangeResult = Result<HubToken, ExchangeError>;

/// A hub token that nobody has seen yet, and what it is given for.
struct UnseenToken {
    validated: ValidatedToken,
    user: String,
    created: CreatedToken,
    expires_in: Duration,
    scopes: Vec<String>,
}

/// What became of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedToken {
    /// The token is revoked: by this call, or before it.
    Dead,
    /// It is not a token that this app got.
    NotOfApp,
    /// The hub does not tell which of its owner's tokens it is (`JupyterHub` before 5).
    NotTold,
}

/// Exchanges the tokens of apps for hub tokens.
#[derive(Debug)]
pub struct HubTokenExchange {
    policy: PolicyInForce,
    redeemer: Arc<Redeemer>,
    recorder: Arc<Recorder>,
}

impl HubTokenExchange {
    /// Exchanges by the `policy` in force; `redeemer` consumes.
    pub(super) fn new(policy: PolicyInForce, redeemer: Arc<Redeemer>, recorder: Arc<Recorder>) -> Self {
        Self { policy, redeemer, recorder }
    }

    /// A hub token for the user of the app's own token, which is consumed with it.
    pub async fn exchange(self: &Arc<Self>, request: ExchangeRequest, shutdown: &Shutdown) -> ExchangeResult {
        let (asker, result) = oneshot::channel();
        let this = Arc::clone(self);
        shutdown.spawn(async move { this.exchange_for(asker, request).await });
        result.await.unwrap_or(Err(ExchangeError::BrokenOff))
    }

    /// Answers `asker`, who may hang up at any time.
    async fn exchange_for(&self, asker: oneshot::Sender<ExchangeResult>, request: ExchangeRequest) {
        let client = Client::at(request.client);
        let unseen = match self.create(&request).await {
            Ok(unseen) => unseen,
            Err(none) => return drop(asker.send(Err(none))),
        };
        let UnseenToken { validated, user, created, expires_in, scopes } = unseen;
        if asker.is_closed() {
            // The app's own token need not be spent either: it may ask again.
            self.undo(&user, &created.id).await;
            return;
        }
        if let Err(error) = self.authorize(&request) {
            self.undo(&user, &created.id).await;
            return drop(asker.send(Err(error)));
        }
        let verified = match self.redeemer.consume(validated, client).await {
            Ok(verified) => verified,
            Err(refusal) => {
                self.undo(&user, &created.id).await;
                self.recorder.refused(&refusal, client);
                return drop(asker.send(Err(refusal.into())));
            }
        };
        // The store may have been slow as well, so the policy is asked again.
        if let Err(error) = self.authorize(&request) {
            self.undo(&user, &created.id).await;
            return drop(asker.send(Err(error)));
        }
        self.recorder.hub_token_issued(&verified, client);
        let (delivered, was_delivered) = oneshot::channel();
        // A response that nobody takes is dropped with its sender.
        drop(asker.send(Ok(HubToken { token: created.token, expires_in, scopes, delivered })));
        if was_delivered.await.is_err() && self.undo(&user, &created.id).await {
            self.recorder.hub_token_revoked(&verified, client, Some(AuditReason::NotDelivered));
        }
    }

    /// A hub token as it is asked for; the app's own token is looked at.
    async fn create(&self, request: &ExchangeRequest) -> Result<UnseenToken, ExchangeError> {
        let app = &*self.authorize(request)?;
        let allowed = app.hub_tokens.as_ref().ok_or(ExchangeError::NotForApp)?;
        let expires_in = bounds::lifetime(allowed, request.expires_in)?;
        let rate = self.policy.load().applications.check_rate(app, 1);
        rate.map_err(|retry_after| ExchangeError::RateLimited { retry_after })?;
        let validated = self.validate(request).await?;
        let user = validated.username().as_str().to_owned();
        let scopes = bounds::scopes(allowed, &user, request.scopes.clone())?;
        let note = format!("{NOTE}{} link={}", app.name, validated.link().id);
        let new = NewToken { scopes: &scopes, expires_in: expires_in.as_secs(), note: &note };
        let created = self.create_at_hub(&user, &new).await?;
        if created.expires_at.is_none() {
            self.undo(&user, &created.id).await;
            return Err(ExchangeError::Endless);
        }
        Ok(UnseenToken { validated, user, created, expires_in, scopes })
    }

    /// The app of the request as it is by the policy in force, which may have hub tokens. Asked again whenever something
    /// was waited for.
    fn authorize(&self, request: &ExchangeRequest) -> Result<Arc<App>, ExchangeError> {
        let policy = self.policy.load();
        let Caller { app, key } = &request.caller;
        let now = policy.applications.by_name(&app.name).filter(|now| key.is_none_or(|key| now.has_key(key)));
        let now = now.ok_or(ExchangeError::NoLongerAuthorized)?;
        // Narrower bounds may not have allowed what is asked for.
        match &now.hub_tokens {
            None => Err(ExchangeError::NotForApp),
            changed if *changed != app.hub_tokens => Err(ExchangeError::NoLongerAuthorized),
            Some(_) => Ok(now),
        }
    }

    /// Looks at the app's own token; consumes nothing.
    async fn validate(&self, request: &ExchangeRequest) -> Result<ValidatedToken, ExchangeError> {
        let client = Client::at(request.client);
        let token = self.redeemer.parse(&request.subject).filter(|token| match request.kind {
            SubjectTokenType::Jwt => token.kind() == TokenKind::Jwt,
            SubjectTokenType::OpaqueToken => token.kind() == TokenKind::Opaque,
        });
        let refused = |refusal: Refusal| {
            self.recorder.refused(&refusal, client);
            ExchangeError::Subject(refusal)
        };
        let token = token.ok_or_else(|| refused(Refusal::unknown()))?;
        // No browser is here, so a token that is bound to one is refused, and the app has proved itself by its key.
        let asked = RedeemRequest { by_app: true, ..RedeemRequest::default() };
        let validated = self.redeemer.validate(&token, asked).await.map_err(refused)?;
        if validated.app() != &*request.caller.app.name {
            self.recorder.refused_for(AuditReason::OtherApp, Some(validated.link()), client);
            return Err(ExchangeError::NotOfApp);
        }
        // The link's own wish. `login.confirm = "always"` is about browsers: no session comes of this.
        if validated.needs_confirmation() {
            self.recorder.refused_for(AuditReason::ConfirmRequired, Some(validated.link()), client);
            return Err(ExchangeError::ConfirmRequired);
        }
        Ok(validated)
    }

    async fn create_at_hub(&self, user: &str, new: &NewToken<'_>) -> Result<CreatedToken, ExchangeError> {
        let hub = self.hub();
        let error = match hub.create_token(user, new).await {
            Ok(created) => return Ok(created),
            Err(error) => error,
        };
        match error.refused_with() {
            // The hub has one response for a user whom it does not know and for a role that lacks `tokens`.
            Some(StatusCode::FORBIDDEN) if hub.tokens(user).await?.is_none() => {
                Err(ExchangeError::NoSuchUser(user.to_owned()))
            }
            Some(StatusCode::BAD_REQUEST) => {
                Err(ExchangeError::Refused { message: error.message().unwrap_or_default().to_owned() })
            }
            Some(_) | None => Err(error.into()),
        }
    }

    /// Deletes a token that nobody has seen. If the hub does not do it, the token ends by itself.
    async fn undo(&self, user: &str, id: &str) -> bool {
        let deleted = self.hub().delete_token(user, id).await;
        if let Err(error) = &deleted {
            tracing::warn!(%error, "login: a hub token that nobody has seen stays until it expires");
        }
        deleted.is_ok()
    }

    /// Makes a hub token worthless that `app` got.
    pub async fn revoke(
        &self,
        app: &App,
        token: &str,
        client: Option<IpAddr>,
    ) -> Result<RevokedToken, HubError> {
        if !is_hub_token(token) {
            return Ok(RevokedToken::Dead);
        }
        let policy = self.policy.load_full();
        let hub = &policy.hub;
        // The hub is asked, and not what is remembered: it gives the id of a deleted token to another one.
        let Some(owner) = hub.whoami(token).await? else { return Ok(RevokedToken::Dead) };
        if owner.kind != OwnerKind::User {
            return Ok(RevokedToken::NotOfApp);
        }
        let Some(id) = &owner.token_id else { return Ok(RevokedToken::NotTold) };
        let Some(found) = hub.token(&owner.name, id).await? else { return Ok(RevokedToken::Dead) };
        let Some(link) = found.note.as_deref().and_then(|note| link_of(note, app)) else {
            return Ok(RevokedToken::NotOfApp);
        };
        hub.delete_token(&owner.name, id).await?;
        if let Some(checks) = policy.applications.token_checks() {
            checks.forget(token);
        }
        let subject = Subject { id: Some(link), app: Some(&app.name), username: Some(&owner.name) };
        self.recorder.hub_token_revoked(subject, Client::at(client), None);
        Ok(RevokedToken::Dead)
    }

    fn hub(&self) -> Arc<HubClient> {
        Arc::clone(&self.policy.load().hub)
    }
}

/// The link for which `app` got the token with this note, if it is one of the app's.
fn link_of<'a>(note: &'a str, app: &App) -> Option<&'a str> {
    let (name, link) = note.strip_prefix(NOTE)?.split_once(" link=")?;
    (name == &*app.name).then_some(link)
}
