//! From an app's own token to a hub API token of its user, once (RFC 8693), and back to nothing (RFC 7009).
//!
//! The hub token is made first and shown last: in between, the app's token is consumed, and if that fails the hub token is
//! deleted unseen. So a hub that refuses or fails costs the app nothing, and of all requests with one token one is
//! answered. Whose a hub token is stands in its note at the hub, so that every replica knows, and its user reads it.
//!
//! All that is a task of its own, which goes on when the app hangs up: a token that nobody sees is deleted. What is known
//! is whether the answer was made for somebody who still waited; whether its bytes arrived, nobody can know, and the token
//! ends by itself.

mod bounds;
mod revoke;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::login_token::TokenKind;
use super::{Asked, LoginService, Refusal, RefusalReason, ValidatedToken, VerifiedUser};
use crate::audit::{Client, Event, Record};
use crate::config::App;
use crate::hub::{CreatedToken, HubError, NewToken};
use crate::shutdown::Shutdown;

pub use revoke::RevokedToken;

/// How the note of each token begins.
const NOTE: &str = "hublatch app=";

/// A request for a hub token.
pub struct Exchange {
    /// Who asks.
    pub app: Arc<App>,
    /// The app's own token.
    pub subject: Zeroizing<String>,
    /// What it is.
    pub kind: Subject,
    /// Of these scopes; none: all that the app may have.
    pub scopes: Option<Vec<String>>,
    /// For so long; none: as long as it may be.
    pub expires_in: Option<Duration>,
    /// From where.
    pub client: Option<IpAddr>,
}

/// What the app gives for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A token that the app has signed.
    Jwt,
    /// The token of a link that the app has had issued.
    OpaqueToken,
}

/// A hub API token. If it is dropped and not [`HubToken::seen`], it is deleted at the hub.
#[must_use = "who drops it deletes it at the hub"]
pub struct HubToken {
    /// The secret.
    pub token: Zeroizing<String>,
    /// How long it lives.
    pub expires_in: Duration,
    /// What it may do.
    pub scopes: Vec<String>,
    seen: oneshot::Sender<()>,
}

impl HubToken {
    /// It stands in an answer that somebody waits for.
    pub fn seen(self) {
        // Nobody listens any more only if the process ends.
        let _told = self.seen.send(());
    }
}

/// Why there is no hub token.
#[derive(Debug, thiserror::Error)]
pub enum NoHubToken {
    /// The app may have none at all.
    #[error("this app may have no hub tokens: it has no [apps.hub_tokens]")]
    NotForApp,
    /// Not such a one.
    #[error("the scope {0:?} is not among those of [apps.hub_tokens]")]
    Scope(String),
    /// Not for so long.
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

type Answer = Result<HubToken, NoHubToken>;

/// A hub token that nobody has seen yet, and what it is given for.
struct Made {
    offer: ValidatedToken,
    user: String,
    created: CreatedToken,
    expires_in: Duration,
    scopes: Vec<String>,
}

impl LoginService {
    /// A hub token for the user of the app's own token, which is consumed with it.
    pub async fn hub_token(self: &Arc<Self>, exchange: Exchange, shutdown: &Shutdown) -> Answer {
        let (asker, answer) = oneshot::channel();
        let login = Arc::clone(self);
        shutdown.spawn(async move { login.exchange_for(asker, exchange).await });
        answer.await.unwrap_or(Err(NoHubToken::BrokenOff))
    }

    /// Answers `asker`, who may hang up at any time.
    async fn exchange_for(&self, asker: oneshot::Sender<Answer>, exchange: Exchange) {
        let client = Client::at(exchange.client);
        let made = match self.made(&exchange).await {
            Ok(made) => made,
            Err(none) => return drop(asker.send(Err(none))),
        };
        let Made { offer, user, created, expires_in, scopes } = made;
        if asker.is_closed() {
            // The app's own token need not be spent either: it may ask again.
            self.undo(&user, &created.id).await;
            return;
        }
        let proof = match self.redeem(offer, client).await {
            Ok(proof) => proof,
            Err(refusal) => {
                self.undo(&user, &created.id).await;
                self.refused(&refusal, client);
                return drop(asker.send(Err(refusal.into())));
            }
        };
        self.metrics.hub.tokens_issued.inc();
        self.note(Event::TokenIssued, &proof, client, None);
        let (seen, was_seen) = oneshot::channel();
        // An answer that nobody takes is dropped with its sender.
        drop(asker.send(Ok(HubToken { token: created.token, expires_in, scopes, seen })));
        if was_seen.await.is_err() && self.undo(&user, &created.id).await {
            self.metrics.hub.tokens_revoked.inc();
            self.note(Event::TokenRevoked, &proof, client, Some("not_delivered"));
        }
    }

    /// A hub token as it is asked for; the app's own token is looked at.
    async fn made(&self, exchange: &Exchange) -> Result<Made, NoHubToken> {
        let app = &*exchange.app;
        let allowed = app.hub_tokens.as_ref().ok_or(NoHubToken::NotForApp)?;
        let expires_in = bounds::lifetime(allowed, exchange.expires_in)?;
        self.apps.charge(app, 1).map_err(|retry_after| NoHubToken::RateLimited { retry_after })?;
        let offer =
            self.subject(app, (exchange.kind, &exchange.subject), Client::at(exchange.client)).await?;
        let user = offer.username().as_str().to_owned();
        let scopes = bounds::scopes(allowed, &user, exchange.scopes.clone())?;
        let note = format!("{NOTE}{} link={}", app.name, offer.link().id);
        let new = NewToken { scopes: &scopes, expires_in: expires_in.as_secs(), note: &note };
        let created = self.created(&user, &new).await?;
        if created.expires_at.is_none() {
            self.undo(&user, &created.id).await;
            return Err(NoHubToken::Endless);
        }
        Ok(Made { offer, user, created, expires_in, scopes })
    }

    /// Looks at the app's own token; consumes nothing.
    async fn subject(
        &self,
        app: &App,
        (kind, text): (Subject, &str),
        client: Client<'_>,
    ) -> Result<ValidatedToken, NoHubToken> {
        let token = self.present(text).filter(|token| match kind {
            Subject::Jwt => token.kind() == TokenKind::Jwt,
            Subject::OpaqueToken => token.kind() == TokenKind::Opaque,
        });
        let refused = |refusal: Refusal| {
            self.refused(&refusal, client);
            NoHubToken::Subject(refusal)
        };
        let token = token.ok_or_else(|| refused(Refusal::link(RefusalReason::Unknown, None)))?;
        // No browser is here, so a token that is bound to one is refused, and the app has proved itself by its key.
        let asked = Asked { by_app: true, ..Asked::default() };
        let offer = self.validate(&token, asked).await.map_err(refused)?;
        if offer.app() != &*app.name {
            self.refused_for("other_app", Some(&offer.link), client);
            return Err(NoHubToken::NotOfApp);
        }
        // The link's own wish. `login.confirm = "always"` is about browsers: no session comes of this.
        if offer.asks() {
            self.refused_for("confirm_required", Some(&offer.link), client);
            return Err(NoHubToken::ConfirmRequired);
        }
        Ok(offer)
    }

    async fn created(&self, user: &str, new: &NewToken<'_>) -> Result<CreatedToken, NoHubToken> {
        let error = match self.hub.create_token(user, new).await {
            Ok(created) => return Ok(created),
            Err(error) => error,
        };
        match error.refused_with() {
            // The hub has one answer for a user whom it does not know and for a role that lacks `tokens`.
            Some(StatusCode::FORBIDDEN) if self.hub.tokens(user).await?.is_none() => {
                Err(NoHubToken::NoSuchUser(user.to_owned()))
            }
            Some(StatusCode::BAD_REQUEST) => {
                Err(NoHubToken::Refused { message: error.message().unwrap_or_default().to_owned() })
            }
            Some(_) | None => Err(error.into()),
        }
    }

    fn note(&self, event: Event, proof: &VerifiedUser, client: Client<'_>, reason: Option<&'static str>) {
        self.audit.write(&Record {
            timestamp: self.clock.now().wall,
            event,
            id: Some(proof.link().as_str()),
            app: Some(proof.app()),
            username: Some(proof.username().as_str()),
            client,
            reason,
        });
    }

    /// Deletes a token that nobody has seen. If the hub does not do it, the token ends by itself.
    async fn undo(&self, user: &str, id: &str) -> bool {
        let deleted = self.hub.delete_token(user, id).await;
        if let Err(error) = &deleted {
            tracing::warn!(%error, "login: a hub token that nobody has seen stays until it expires");
        }
        deleted.is_ok()
    }
}
