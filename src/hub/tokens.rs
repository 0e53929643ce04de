//! API tokens at the hub: whose is this one, create, look up, delete.

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::{Call, HubClient, HubError, credentials};

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenOwner {
    /// The name of the user or service.
    pub name: String,
    /// Which of the two: the same name can be both.
    pub kind: OwnerKind,
    /// The user's hub groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What this token may do, spelled out.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Which of the owner's tokens it is; none before `JupyterHub` 5. The hub gives the id of a deleted token away again.
    #[serde(default)]
    pub token_id: Option<String>,
}

/// What owns a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerKind {
    /// A user of the hub.
    User,
    /// A service of the hub.
    Service,
}

impl OwnerKind {
    /// `user` or `service`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
        }
    }
}

/// A token to be created.
#[derive(Debug, Serialize)]
pub struct NewToken<'a> {
    /// What it may do; not empty, because such a token could do all that its user may.
    pub scopes: &'a [String],
    /// Seconds that it lives.
    pub expires_in: u64,
    /// What its user reads about it.
    pub note: &'a str,
}

/// A token that was created.
#[derive(Deserialize)]
pub struct CreatedToken {
    /// The secret.
    #[serde(deserialize_with = "secret")]
    pub token: Zeroizing<String>,
    /// Its name among the user's tokens.
    pub id: String,
    /// When it ends; none: never.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// What it may do.
    #[serde(default)]
    pub scopes: Vec<String>,
}

fn secret<'de, D: Deserializer<'de>>(text: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(text).map(Zeroizing::new)
}

impl std::fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A token as its user sees it: without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenInfo {
    /// Its name among the user's tokens.
    pub id: String,
    /// What was noted when it was created.
    #[serde(default)]
    pub note: Option<String>,
}

#[derive(Deserialize)]
struct TokenList {
    api_tokens: Vec<TokenInfo>,
}

impl HubClient {
    /// Whose `token` is; nobody's, if the hub does not know it. Needs no token of our own.
    pub async fn whoami(&self, token: &str) -> Result<Option<TokenOwner>, HubError> {
        let call = Call::WhoAmI;
        let Some(credentials) = credentials(token) else { return Ok(None) };
        match self.call(call, self.request(Method::GET, &["user"], credentials)).await {
            Ok(response) => {
                let owner: TokenOwner = response.json()?;
                if owner.name.is_empty() { Err(response.unreadable()) } else { Ok(Some(owner)) }
            }
            Err(error) => match error.refused_with() {
                Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Ok(None),
                Some(_) | None => Err(error),
            },
        }
    }

    /// Creates a token of the user's. Scope: `tokens`. Refused with 400 for scopes that the user does not have, and with
    /// 403 for a user whom the hub does not know.
    pub async fn create_token(&self, user: &str, new: &NewToken<'_>) -> Result<CreatedToken, HubError> {
        let call = Call::CreateToken;
        let request = self.authorized(call, Method::POST, &["users", user, "tokens"])?.json(new);
        let response = self.call(call, request).await?;
        let created: CreatedToken = response.json()?;
        let whole = response.status == StatusCode::CREATED && !created.token.is_empty();
        if whole { Ok(created) } else { Err(response.unreadable()) }
    }

    /// The user's tokens; none, if the hub has no such user. Scope: `read:tokens`, which `tokens` includes.
    pub async fn tokens(&self, user: &str) -> Result<Option<Vec<TokenInfo>>, HubError> {
        let call = Call::ListTokens;
        let request = self.authorized(call, Method::GET, &["users", user, "tokens"])?;
        match self.call(call, request).await {
            Ok(response) => response.json::<TokenList>().map(|list| Some(list.api_tokens)),
            Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The user's token of this id, if there is one. Scope: `read:tokens`, which `tokens` includes.
    pub async fn token(&self, user: &str, id: &str) -> Result<Option<TokenInfo>, HubError> {
        let call = Call::ReadToken;
        let request = self.authorized(call, Method::GET, &["users", user, "tokens", id])?;
        match self.call(call, request).await {
            Ok(response) => response.json().map(Some),
            Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the user's token of this id; whether there was one. Scope: `tokens`.
    pub async fn delete_token(&self, user: &str, id: &str) -> Result<bool, HubError> {
        let call = Call::DeleteToken;
        let request = self.authorized(call, Method::DELETE, &["users", user, "tokens", id])?;
        match self.call(call, request).await {
            Ok(response) if response.status == StatusCode::NO_CONTENT => Ok(true),
            Ok(response) => Err(response.unreadable()),
            Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
