//! Tokens of neither our making nor a JWT's shape: an app turns one into a name, at its `exchange_url`.
//!
//! The token's digest is put into the replay cache before an app is asked, so that of all requests everywhere one asks.
//! The response becomes a link like any other, kept under a digest of the token: from then on the token is redeemed by the
//! common rules. Whatever fails in between is told as the end of the token (`Refusal::Exchange`): nobody can know whether the
//! app would answer for it again.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SecureRandom;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use super::application_client::ApplicationClient;
use super::dependencies::LoginDependencies;
use super::live_link_quota::second_of;
use super::login_token::LoginToken;
use super::policy::PolicyInForce;
use super::recorder::Recorder;
use super::refusal::{Refusal, RefusalReason};
use super::replay_cache::{ReplayCache, full};
use crate::audit::{AuditReason, Client};
use crate::clock::Clock;
use crate::config::App;
use crate::store::{Inserted, Link, LinkStatus, StoreError, TokenStore};
use crate::token::{LinkId, LoginGrant, NamePattern, TokenDigest, Username, UsernameCase, UsernameRule};

/// How long a consumed token is remembered: the longest life that any of our own can have.
const REMEMBERED_FOR: Duration = Duration::from_hours(1);
/// The app under whose name consumed tokens are kept: none has this name, because it is not known yet whose the token is.
const ANY_APP: &str = "*";

/// The most that is logged of a name.
const NAME_BYTES_SHOWN: usize = 255;

#[derive(Serialize)]
struct ExternalTokenRequest<'a> {
    token: &'a str,
}

#[derive(Deserialize)]
struct ExchangeResponse {
    name: String,
}

/// What an app has said to one of its tokens.
enum Exchanged {
    Name(String),
    /// It does not know the token.
    Refused(StatusCode),
}

/// A token that was not exchanged for a link.
#[derive(Debug)]
pub struct FailedExchange {
    /// What the browser is told.
    pub refusal: Refusal,
    /// For the audit log.
    pub subject: ExchangeSubject,
}

/// Whose token it was, as far as it is known.
#[derive(Debug, Default)]
pub struct ExchangeSubject {
    /// The app that tokens like this are of.
    pub app: Option<Arc<str>>,
    /// The beginning of the name that it has given, whatever that is.
    pub name: Option<Box<str>>,
}

/// Exchanges the tokens of apps for links.
pub(super) struct ExternalTokens {
    policy: PolicyInForce,
    replay_cache: Arc<ReplayCache>,
    application_client: Arc<ApplicationClient>,
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    recorder: Arc<Recorder>,
}

impl ExternalTokens {
    /// By the `policy` in force; tokens that were asked about are kept in `replay_cache`.
    pub(super) fn new(
        policy: PolicyInForce,
        replay_cache: Arc<ReplayCache>,
        dependencies: &LoginDependencies,
    ) -> Self {
        let LoginDependencies { store, clock, random, recorder, application_client, .. } =
            dependencies.clone();
        Self { policy, replay_cache, application_client, store, clock, random, recorder }
    }

    /// The link that `token` was exchanged for.
    pub(super) async fn link(&self, token: &LoginToken) -> Result<Option<Link>, StoreError> {
        self.store.find(digest_of_link(token), self.clock.now()).await
    }

    /// Consumes `token` and exchanges it for a link.
    pub(super) async fn exchange(
        &self,
        token: &LoginToken,
        client: Client<'_>,
    ) -> Result<(), FailedExchange> {
        let mut subject = ExchangeSubject::default();
        let exchanged = self.try_exchange(token, client, &mut subject).await;
        exchanged.map_err(|refusal| FailedExchange { refusal, subject })
    }

    async fn try_exchange(
        &self,
        token: &LoginToken,
        client: Client<'_>,
        subject: &mut ExchangeSubject,
    ) -> Result<(), Refusal> {
        let policy = self.policy.load_full();
        let asked =
            policy.applications.exchanging_for(token.expose()).cloned().ok_or_else(Refusal::unknown)?;
        subject.app = Some(asked.name.clone());
        let consumed = self.pending_link(
            TokenDigest::of_parts(&["exchange", token.expose()]),
            nobody().ok_or_else(Refusal::unknown)?,
            ANY_APP.into(),
            REMEMBERED_FOR,
        )?;
        // Consumed before: the app refused the token then, or its link has been forgotten since.
        self.replay_cache.consume(&consumed).await.map_err(|refusal| match refusal {
            Refusal::Link { .. } => Refusal::unknown(),
            Refusal::Next { .. } | Refusal::Store(_) | Refusal::Exchange(_) => refusal,
        })?;
        let name = match self.ask(&asked, token).await.map_err(Refusal::Exchange)? {
            Exchanged::Name(name) => name,
            Exchanged::Refused(status) => {
                tracing::info!(app = &*asked.name, %status, "login: the app does not know a token that was to be exchanged");
                if let Some(address) = client.address {
                    policy.failures.failed(address, &asked.name, self.clock.monotonic());
                }
                // The token names nobody, so its record need not take up room: a full store drops revoked links first.
                self.replay_cache.forget(&consumed).await?;
                return Err(Refusal::unknown());
            }
        };
        // The app may have taken its time: the rules of now decide, and whether it may still exchange tokens.
        let policy = self.policy.load_full();
        let app = policy.applications.exchanging_for(token.expose());
        let app = app.filter(|now| now.name == asked.name && now.exchange_url == asked.exchange_url);
        let name = app.map_or_else(|| name.clone(), |app| app.full_username(&name));
        let logged = beginning(&name);
        subject.name = Some(logged.into());
        let not_allowed = |why: &dyn std::fmt::Display| {
            tracing::warn!(app = &*asked.name, name = logged, %why, "login: the name that an app gave for its token logs nobody in");
            Refusal::of_link(RefusalReason::NotAllowed, None)
        };
        let app = app.ok_or_else(|| not_allowed(&"it may exchange such tokens no more"))?;
        let username = policy.rules.usernames.parse(&name).map_err(|error| not_allowed(&error))?;
        if !app.allows_user(&username) {
            return Err(not_allowed(&"apps.usernames or apps.username_prefix does not allow it"));
        }
        let lifetime = policy.rules.lifetime.min(app.max_lifetime);
        let link = self.pending_link(digest_of_link(token), username, app.name.clone(), lifetime);
        let link = link.map_err(Refusal::Exchange)?;
        let second = second_of(&link);
        let acquired = policy.applications.acquire_live(app, &[second], self.clock.now());
        acquired.map_err(|_| Refusal::Exchange(full()))?;
        let inserted = self.store.insert(vec![link.clone()], None, self.clock.now()).await;
        if !matches!(inserted, Ok(Inserted::New | Inserted::Again(_))) {
            policy.applications.release_live(&app.name, second);
        }
        match inserted.map_err(Refusal::Exchange)? {
            Inserted::New | Inserted::Again(_) | Inserted::Ended | Inserted::OtherBody => {}
            Inserted::Full => return Err(Refusal::Exchange(full())),
        }
        self.recorder.issued(&link, client, Some(AuditReason::Exchanged));
        Ok(())
    }

    /// The name that `app` gives for its token.
    async fn ask(&self, app: &App, token: &LoginToken) -> Result<Exchanged, StoreError> {
        let unavailable = |why: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!("exchange_url of app {}: {why}", app.name).into())
        };
        let url = app.exchange_url.as_ref().ok_or_else(|| unavailable(&"there is none"))?;
        let request = ExternalTokenRequest { token: token.expose() };
        let response = self.application_client.post_json(url, &request).await;
        let (status, body) = response.map_err(|error| unavailable(&error))?;
        match status {
            StatusCode::OK => {
                let response: ExchangeResponse =
                    serde_json::from_slice(&body).map_err(|error| unavailable(&error))?;
                Ok(Exchanged::Name(response.name))
            }
            StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::GONE => Ok(Exchanged::Refused(status)),
            status => Err(unavailable(&status)),
        }
    }

    fn pending_link(
        &self,
        digest: TokenDigest,
        username: Username,
        app: Arc<str>,
        lifetime: Duration,
    ) -> Result<Link, StoreError> {
        let now = self.clock.now();
        let id = LinkId::generate(&*self.random).map_err(StoreError::unavailable)?;
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

/// So much of a name as is logged: no user name is longer.
fn beginning(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_SHOWN)]
}

/// Under which the link of `token` is kept.
fn digest_of_link(token: &LoginToken) -> TokenDigest {
    TokenDigest::of_parts(&["exchanged", token.expose()])
}

/// The user in the record of a consumed token, before its app has named one: every link needs a user, and this record
/// admits nobody.
fn nobody() -> Option<Username> {
    let any = NamePattern::new(".*").ok()?;
    UsernameRule::new(any, UsernameCase::Refuse).parse("nobody").ok()
}
