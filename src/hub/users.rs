//! Users at the hub: read with their servers, create.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::{Call, HubClient, HubError};

/// A user as the hub tells of them: as much as the role of our token lets it.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// The name at the hub.
    pub name: String,
    /// Whether they are an administrator of the hub.
    #[serde(default)]
    pub admin: bool,
    /// Their hub groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Their servers that run, start or stop, by name; the default one has an empty name.
    #[serde(default)]
    pub servers: BTreeMap<String, NotebookServer>,
}

/// A server of a user.
#[derive(Debug, Clone, Deserialize)]
pub struct NotebookServer {
    /// Its name; empty for the default one.
    #[serde(default)]
    pub name: String,
    /// Whether it answers.
    #[serde(default)]
    pub ready: bool,
    /// `spawn`, `stop` or `check` while that is under way.
    #[serde(default)]
    pub pending: Option<String>,
    /// Whether it is stopped.
    #[serde(default)]
    pub stopped: bool,
    /// Its path, such as `/user/alice/`.
    #[serde(default)]
    pub url: Option<String>,
    /// What it was started with.
    #[serde(default)]
    pub user_options: Value,
}

/// What became of the creation of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The user was created.
    New,
    /// The user existed before.
    Existed,
}

impl HubClient {
    /// The user of this name, if the hub has one. Scope: one of `read:users…`; `read:servers` for their servers.
    pub async fn user(&self, name: &str) -> Result<Option<User>, HubError> {
        self.timed(Call::ReadUser, self.in_turn(self.ask_for_user(name))).await
    }

    /// The same for whoever has a turn already.
    pub(super) async fn user_in_turn(&self, name: &str) -> Result<Option<User>, HubError> {
        self.timed(Call::ReadUser, self.ask_for_user(name)).await
    }

    async fn ask_for_user(&self, name: &str) -> Result<Option<User>, HubError> {
        let call = Call::ReadUser;
        let request = self.authorized(call, Method::GET, &["users", name])?;
        match self.whole(call, request).await {
            Ok(response) => response.json().map(Some),
            Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates the user. Scope: `admin:users`.
    pub async fn create_user(&self, name: &str) -> Result<Created, HubError> {
        let call = Call::CreateUser;
        let request = self.authorized(call, Method::POST, &["users", name])?;
        match self.call(call, request).await {
            Ok(response) if response.status == StatusCode::CREATED => {
                response.json::<User>().map(|_| Created::New)
            }
            Ok(response) => Err(response.unreadable()),
            Err(error) if error.refused_with() == Some(StatusCode::CONFLICT) => Ok(Created::Existed),
            Err(error) => Err(error),
        }
    }

    /// Removes the user, with all servers that run; whether there was one. Scopes: `admin:users` and, for the servers,
    /// `servers`.
    pub async fn delete_user(&self, name: &str) -> Result<bool, HubError> {
        let call = Call::DeleteUser;
        let request = self.authorized(call, Method::DELETE, &["users", name])?;
        match self.call(call, request).await {
            Ok(_) => Ok(true),
            Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Who has a server that runs or starts (`GET /users?state=active`). Scope: `list:users`, which `admin:users` holds.
    pub async fn active_users(&self) -> Result<Vec<User>, HubError> {
        let call = Call::ListUsers;
        let request =
            self.authorized(call, Method::GET, &["users"])?.query(&[("state", "active"), ("limit", "50")]);
        self.call(call, request).await?.json()
    }
}
