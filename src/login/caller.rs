//! Who calls the management API: an app by its key, or the owner of a hub token whom the configuration lists.

use std::sync::Arc;

use crate::config::App;
use crate::hub::{HubError, OwnerKind};
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
pub enum AuthenticationError {
    /// It is no app's, and the hub does not know it.
    #[error("this key is not known")]
    Unknown,
    /// The hub knows whose it is, and that one may not issue links by it.
    #[error("the {} {name:?} is not listed in [hub_tokens], or this token may not do all that its user may", kind.as_str())]
    NotListed {
        /// Whether it is a user's or a service's.
        kind: OwnerKind,
        /// Whose it is.
        name: String,
    },
    /// The hub does not say.
    #[error(transparent)]
    Hub(#[from] HubError),
}
