//! From an app's own token to a hub API token of its user, once (RFC 8693), and back to nothing (RFC 7009).
//!
//! The hub token is made first and shown last: in between, the app's token is consumed, and if that fails the hub token is
//! deleted unseen. So a hub that refuses or fails costs the app nothing, and of all requests with one token one is
//! answered. Whose a hub token is stands in its note at the hub, so that every replica knows, and its user reads it.

use std::time::Duration;

use reqwest::StatusCode;
use zeroize::Zeroizing;

use super::presented::Kind;
use super::{Asked, LoginService, Offer, Refusal, RefusalReason, VerifiedUser};
use crate::audit::{Client, Event, Record};
use crate::config::{App, AppHubTokens};
use crate::hub::{CreatedToken, HubError, Kind as OwnerKind, NewToken, is_hub_token};

/// How the note of each token begins.
const NOTE: &str = "hublatch app=";

/// What an app wants.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Of these scopes; none: all that the app may have.
    pub scopes: Option<Vec<String>>,
    /// For so long; none: as long as it may be.
    pub expires_in: Option<Duration>,
}

/// What the app gives for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A token that the app has signed.
    Jwt,
    /// The token of a link that the app has had issued.
    LoginToken,
}

/// A hub API token.
#[derive(Debug)]
pub struct HubToken {
    /// The secret.
    pub token: Zeroizing<String>,
    /// How long it lives.
    pub expires_in: Duration,
    /// What it may do.
    pub scopes: Vec<String>,
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
}

/// What became of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedToken {
    /// The token is worth nothing: by this call, or since before.
    Dead,
    /// It is not a token that this app got.
    NotOfApp,
    /// The hub does not tell which of its owner's tokens it is (`JupyterHub` before 5).
    NotTold,
}

impl LoginService {
    /// A hub token for the user of the app's own token `subject`, which is consumed with it.
    pub async fn hub_token(
        &self,
        app: &App,
        subject: (Subject, &str),
        wanted: Wanted,
        client: Client<'_>,
    ) -> Result<HubToken, NoHubToken> {
        let bounds = app.hub_tokens.as_ref().ok_or(NoHubToken::NotForApp)?;
        let expires_in = lifetime(bounds, wanted.expires_in)?;
        self.apps.charge(app, 1).map_err(|retry_after| NoHubToken::RateLimited { retry_after })?;
        let offer = self.subject(app, subject, client).await?;
        let user = offer.username().as_str().to_owned();
        let scopes = scopes(bounds, &user, wanted.scopes)?;
        let note = format!("{NOTE}{} link={}", app.name, offer.link().id);
        let new = NewToken { scopes: &scopes, expires_in: expires_in.as_secs(), note: &note };
        let created = self.created(&user, &new).await?;
        if created.expires_at.is_none() {
            self.undo(&user, &created).await;
            return Err(NoHubToken::Endless);
        }
        match self.redeem(offer, client).await {
            Ok(proof) => Ok(self.shown(app, proof, created, expires_in, scopes, client)),
            Err(refusal) => {
                self.undo(&user, &created).await;
                self.refused(&refusal, client);
                Err(refusal.into())
            }
        }
    }

    /// Looks at the app's own token; consumes nothing.
    async fn subject(
        &self,
        app: &App,
        (kind, text): (Subject, &str),
        client: Client<'_>,
    ) -> Result<Offer, NoHubToken> {
        let token = self.present(text).filter(|token| match kind {
            Subject::Jwt => token.kind() == Kind::Signed,
            Subject::LoginToken => token.kind() == Kind::Ours,
        });
        let refused = |refusal: Refusal| {
            self.refused(&refusal, client);
            NoHubToken::Subject(refusal)
        };
        let token = token.ok_or_else(|| refused(Refusal::link(RefusalReason::Unknown, None)))?;
        // No browser is here, so a token that is bound to one is refused, and the app has proved itself by its key.
        let asked = Asked { by_app: true, ..Asked::default() };
        let offer = self.offer_presented(&token, asked).await.map_err(refused)?;
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

    /// Shows a token, now that the app's own is consumed.
    fn shown(
        &self,
        app: &App,
        proof: VerifiedUser,
        created: CreatedToken,
        expires_in: Duration,
        scopes: Vec<String>,
        client: Client<'_>,
    ) -> HubToken {
        self.metrics.hub.tokens_issued.inc();
        self.audit.write(&Record {
            time: self.clock.now().wall,
            event: Event::TokenIssued,
            id: Some(proof.link().as_str()),
            app: Some(&app.name),
            username: Some(proof.username().as_str()),
            client,
            reason: None,
        });
        // Spent: it is good for one token.
        drop(proof);
        HubToken { token: created.token, expires_in, scopes }
    }

    /// Deletes a token that nobody has seen. If the hub does not do it, the token ends by itself.
    async fn undo(&self, user: &str, created: &CreatedToken) {
        if let Err(error) = self.hub.delete_token(user, &created.id).await {
            tracing::warn!(%error, "login: a hub token that nobody has seen stays until it expires");
        }
    }

    /// Makes a hub token worthless that `app` got.
    pub async fn revoke_hub_token(
        &self,
        app: &App,
        token: &str,
        client: Client<'_>,
    ) -> Result<RevokedToken, HubError> {
        if !is_hub_token(token) {
            return Ok(RevokedToken::Dead);
        }
        // Not from memory: the id of a token is told anew for another one once it is deleted.
        let Some(owner) = self.hub.whoami(token).await? else { return Ok(RevokedToken::Dead) };
        if owner.kind != OwnerKind::User {
            return Ok(RevokedToken::NotOfApp);
        }
        let Some(id) = &owner.token_id else { return Ok(RevokedToken::NotTold) };
        let Some(found) = self.hub.token(&owner.name, id).await? else { return Ok(RevokedToken::Dead) };
        let Some(link) = found.note.as_deref().and_then(|note| link_of(note, app)) else {
            return Ok(RevokedToken::NotOfApp);
        };
        self.hub.delete_token(&owner.name, id).await?;
        if let Some(checks) = &self.checks {
            checks.forget(token);
        }
        self.metrics.hub.tokens_revoked.inc();
        self.audit.write(&Record {
            time: self.clock.now().wall,
            event: Event::TokenRevoked,
            id: Some(link),
            app: Some(&app.name),
            username: Some(&owner.name),
            client,
            reason: None,
        });
        Ok(RevokedToken::Dead)
    }
}

/// The link for which `app` got the token with this note, if it is one of the app's.
fn link_of<'a>(note: &'a str, app: &App) -> Option<&'a str> {
    let (name, link) = note.strip_prefix(NOTE)?.split_once(" link=")?;
    (name == &*app.name).then_some(link)
}

fn lifetime(bounds: &AppHubTokens, wanted: Option<Duration>) -> Result<Duration, NoHubToken> {
    let longest = Duration::from_secs(bounds.max_lifetime.as_secs());
    let wanted = wanted.unwrap_or(longest);
    if wanted.is_zero() || wanted > longest {
        return Err(NoHubToken::Lifetime { max_seconds: longest.as_secs() });
    }
    Ok(wanted)
}

/// The scopes of the token, each within one that the app may have.
fn scopes(bounds: &AppHubTokens, user: &str, wanted: Option<Vec<String>>) -> Result<Vec<String>, NoHubToken> {
    let allowed: Vec<String> = bounds.scopes.iter().map(|scope| of_user(scope, user)).collect();
    let Some(wanted) = wanted else { return Ok(allowed) };
    let mut scopes = Vec::with_capacity(wanted.len());
    for scope in wanted {
        let full = of_user(&scope, user);
        if !allowed.iter().any(|allowed| covers(allowed, &full, user)) {
            return Err(NoHubToken::Scope(scope));
        }
        if !scopes.contains(&full) {
            scopes.push(full);
        }
    }
    Ok(scopes)
}

/// `access:servers!user` as `access:servers!user=alice`: the hub reads the first as the owner's too.
fn of_user(scope: &str, user: &str) -> String {
    if scope.ends_with("!user") { format!("{scope}={user}") } else { scope.to_owned() }
}

/// Whether `scope` is `allowed` or the same for less: a scope without a filter is for all, and a user's servers are hers.
fn covers(allowed: &str, scope: &str, user: &str) -> bool {
    fn parts(scope: &str) -> (&str, Option<&str>) {
        scope.split_once('!').map_or((scope, None), |(base, filter)| (base, Some(filter)))
    }
    let ((base, bound), (wanted, filter)) = (parts(allowed), parts(scope));
    base == wanted
        && match (bound, filter) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(bound), Some(filter)) => {
                let one_of_hers = filter.strip_prefix("server=").and_then(|server| server.strip_prefix(user));
                bound == filter
                    || (bound == format!("user={user}")
                        && one_of_hers.is_some_and(|rest| rest.starts_with('/')))
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(allowed: &[&str], wanted: Option<&[&str]>) -> Result<Vec<String>, NoHubToken> {
        let owned = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
        let bounds = AppHubTokens { scopes: owned(allowed), max_lifetime: Duration::from_hours(1) };
        scopes(&bounds, "alice", wanted.map(owned))
    }

    #[test]
    fn without_a_wish_the_token_has_all_that_the_app_may_have() {
        let scopes = granted(&["access:servers!user", "read:users:name!user", "list:groups"], None).unwrap();
        assert_eq!(scopes, ["access:servers!user=alice", "read:users:name!user=alice", "list:groups"]);
    }

    #[test]
    fn a_wish_is_granted_within_what_the_app_may_have() {
        for (allowed, wanted) in [
            ("access:servers!user", "access:servers!user"),
            ("access:servers!user", "access:servers!user=alice"),
            ("access:servers!user", "access:servers!server=alice/"),
            ("access:servers!user", "access:servers!server=alice/lab"),
            ("access:servers", "access:servers!user=bob"),
            ("access:servers", "access:servers"),
            ("access:servers!group=x", "access:servers!group=x"),
        ] {
            assert!(granted(&[allowed], Some(&[wanted])).is_ok(), "{allowed} {wanted}");
        }
        let twice =
            granted(&["access:servers!user"], Some(&["access:servers!user", "access:servers!user=alice"]));
        assert_eq!(twice.unwrap(), ["access:servers!user=alice"]);
    }

    #[test]
    fn a_wish_for_more_is_not() {
        for (allowed, wanted) in [
            ("access:servers!user", "access:servers"),
            ("access:servers!user", "access:servers!user=bob"),
            ("access:servers!user", "access:servers!user=alice2"),
            ("access:servers!user", "access:servers!server=bob/"),
            ("access:servers!user", "access:servers!server=alice2/"),
            ("access:servers!user", "access:servers!server=alice"),
            ("access:servers!user", "access:servers!group=x"),
            ("access:servers!server=alice/", "access:servers!user=alice"),
            ("access:servers!user", "servers!user"),
            ("access:servers!user", "inherit"),
            ("access:servers!user", ""),
        ] {
            assert!(granted(&[allowed], Some(&[wanted])).is_err(), "{allowed} {wanted}");
        }
    }

    #[test]
    fn a_life_is_within_the_apps() {
        let bounds = AppHubTokens { scopes: Vec::new(), max_lifetime: Duration::from_millis(60_500) };
        let seconds = |wanted: Option<u64>| {
            lifetime(&bounds, wanted.map(Duration::from_secs)).map(|life| life.as_secs())
        };
        assert_eq!(
            (seconds(None).unwrap(), seconds(Some(60)).unwrap(), seconds(Some(1)).unwrap()),
            (60, 60, 1)
        );
        assert!(seconds(Some(61)).is_err() && seconds(Some(0)).is_err());
    }
}
