//! Tokens of neither our making nor a JWT's shape: an app turns one into a name, at its `exchange_url`.
//!
//! The token's digest is burnt before an app is asked, so that of all requests everywhere one asks. The answer becomes
//! a link like any other, kept under a digest of the token: from then on the token is redeemed by the common rules.

use std::sync::Arc;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use super::live_link_quota::second_of;
use super::login_token::{LoginToken, TokenKind};
use super::{LoginService, Refusal, RefusalReason};
use crate::audit::{Client, Event};
use crate::config::{App, Scope};
use crate::store::{Inserted, Link, LinkStatus, StoreError};
use crate::token::{LinkId, LoginGrant, NamePattern, TokenDigest, Username, UsernameCase, UsernameRule};

/// How long a burnt token is remembered: the longest life that any of our own can have.
const BURNT_FOR: std::time::Duration = std::time::Duration::from_hours(1);
/// For whom burnt tokens are kept: no app has this name, and it is not known yet which one will own up to the token.
const ANY_APP: &str = "*";

#[derive(Serialize)]
struct Question<'a> {
    token: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    name: String,
}

impl LoginService {
    /// The apps that exchange tokens, in the order in which they are asked.
    pub fn exchanging_apps(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.all().filter(|app| app.exchange_url.is_some() && app.may(Scope::Issue))
    }

    /// Whether an app must be asked for `token` before it can be judged.
    pub async fn must_exchange(&self, token: &LoginToken) -> Result<bool, StoreError> {
        Ok(token.kind() == TokenKind::External && self.exchanged(token).await?.is_none())
    }

    /// The link that `token` was exchanged for.
    pub(super) async fn exchanged(&self, token: &LoginToken) -> Result<Option<Link>, StoreError> {
        self.find(TokenDigest::of_parts(&["exchanged", token.expose()])).await
    }

    /// Burns `token` and exchanges it for a link.
    pub async fn exchange(&self, token: &LoginToken, client: Client<'_>) -> Result<(), Refusal> {
        let burnt = self.draw(
            TokenDigest::of_parts(&["exchange", token.expose()]),
            nobody().ok_or_else(|| Refusal::link(RefusalReason::Unknown, None))?,
            ANY_APP.into(),
            BURNT_FOR,
        )?;
        // Lost: it was asked for before, and refused, or its link has been forgotten since.
        self.burn_record(&burnt).await.map_err(|refusal| match refusal {
            Refusal::Link { .. } => Refusal::link(RefusalReason::Unknown, None),
            Refusal::Next { .. } | Refusal::Store(_) => refusal,
        })?;
        let Some((app, name)) = self.ask_apps(token).await? else {
            // Nobody's: the record need not take up room. A store forgets what is revoked when it is short of it.
            self.forget_burnt(&burnt).await?;
            return Err(Refusal::link(RefusalReason::Unknown, None));
        };
        let username = self.rules.usernames.parse(&name).ok().filter(|name| app.allows_user(name));
        let username = username.ok_or_else(|| Refusal::link(RefusalReason::NotAllowed, None))?;
        let digest = TokenDigest::of_parts(&["exchanged", token.expose()]);
        let lifetime = self.rules.lifetime.min(app.max_lifetime);
        let link = self.draw(digest, username, app.name.clone(), lifetime)?;
        let second = second_of(&link);
        self.apps.count(&app, &[second], self.clock.now()).map_err(|_| super::signed::full())?;
        let inserted = self.store.insert(vec![link.clone()], None, self.clock.now()).await;
        if !matches!(inserted, Ok(Inserted::New | Inserted::Again(_))) {
            self.apps.discount(&app.name, second);
        }
        match inserted? {
            Inserted::New | Inserted::Again(_) | Inserted::Ended | Inserted::OtherBody => {}
            Inserted::Full => return Err(super::signed::full().into()),
        }
        self.metrics.links_issued.inc();
        self.record(Event::Issued, Some(&link), client, Some("exchanged"));
        Ok(())
    }

    /// The first app that knows the token, and the name that it gives; `None` if all say that they do not.
    async fn ask_apps(&self, token: &LoginToken) -> Result<Option<(Arc<App>, String)>, StoreError> {
        for app in self.exchanging_apps() {
            let Some(url) = &app.exchange_url else { continue };
            let unavailable = |why: &dyn std::fmt::Display| {
                StoreError::Unavailable(format!("exchange_url of app {}: {why}", app.name))
            };
            let question = Question { token: token.expose() };
            let asked = self.services.post_json(url, &question).await;
            let (status, body) = asked.map_err(|error| unavailable(&error))?;
            match status {
                StatusCode::OK => {
                    let answer: Answer =
                        serde_json::from_slice(&body).map_err(|error| unavailable(&error))?;
                    return Ok(Some((Arc::clone(app), answer.name)));
                }
                StatusCode::BAD_REQUEST
                | StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::GONE => {}
                status => return Err(unavailable(&status)),
            }
        }
        Ok(None)
    }

    fn draw(
        &self,
        digest: TokenDigest,
        username: Username,
        app: Arc<str>,
        lifetime: std::time::Duration,
    ) -> Result<Link, StoreError> {
        let now = self.clock.now();
        let id =
            LinkId::generate(&*self.random).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let grant = LoginGrant::new(username, app);
        let expires = now.plus(lifetime);
        Ok(Link {
            id,
            digest,
            grant,
            status: LinkStatus::Pending,
            issued: now,
            expires,
            used_at: None,
            note: None,
        })
    }
}

/// Whose a burnt token is before its app has told: a name is required of every link, and this record admits nobody.
fn nobody() -> Option<Username> {
    let any = NamePattern::new(".*").ok()?;
    UsernameRule::new(any, UsernameCase::Refuse).parse("nobody").ok()
}
