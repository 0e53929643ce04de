//! Who calls the management API: an app by its key, or the owner of a hub token whom the configuration lists.

use std::sync::Arc;

use super::LoginService;
use crate::config::App;
use crate::hub::{HubError, Kind};
use crate::token::KeyId;

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The app.
    pub app: Arc<App>,
    /// By which of its keys; none: by a hub token.
    pub key: Option<KeyId>,
}

/// Why a key is nobody's.
#[derive(Debug, thiserror::Error)]
pub enum NoIssuer {
    /// It is no app's, and the hub does not know it.
    #[error("this key is not known")]
    Unknown,
    /// The hub knows whose it is, and that one may not issue links by it.
    #[error("the {} {name:?} is not listed in [hub_tokens], or this token may not do all that its user may", kind.word())]
    NotListed {
        /// Whether it is a user's or a service's.
        kind: Kind,
        /// Whose it is.
        name: String,
    },
    /// The hub does not say.
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl LoginService {
    /// The app whose key, or the owner whose hub token, `key` is.
    pub async fn authenticate(&self, key: &str) -> Result<Caller, NoIssuer> {
        if let Some(caller) = self.apps.authenticate(key) {
            return Ok(caller);
        }
        let (Some(owners), Some(checks)) = (self.apps.owners(), &self.checks) else {
            return Err(NoIssuer::Unknown);
        };
        let owner = checks.owner(key).await?.ok_or(NoIssuer::Unknown)?;
        let app = owners.app_of(&owner);
        let app = app.ok_or_else(|| NoIssuer::NotListed { kind: owner.kind, name: owner.name.clone() })?;
        Ok(Caller { app, key: None })
    }
}
