//! Why a token leads to no login.

use super::next::NextError;
use crate::store::{Link, LinkStatus, StoreError};

/// Why a link is not honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// There is no such token.
    Unknown,
    /// It was not redeemed in time.
    Expired,
    /// It was redeemed before.
    Used,
    /// It was taken back.
    Revoked,
    /// The app's key that issued it was taken out of the configuration.
    KeyRevoked,
    /// The app is gone, or its rules no longer allow this login.
    NotAllowed,
    /// It is bound to another browser.
    Bound,
    /// It is bound to no browser, and only such links work.
    NeedsState,
}

impl RefusalReason {
    /// The word for logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Revoked => "revoked",
            Self::KeyRevoked => "key_revoked",
            Self::NotAllowed => "not_allowed",
            Self::Bound => "bound",
            Self::NeedsState => "needs_state",
        }
    }
}

/// A token that leads to no login.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The link is not honoured.
    #[error("the link is refused: {}", reason.word())]
    Link {
        /// Why.
        reason: RefusalReason,
        /// The link, where there is one.
        link: Option<Box<Link>>,
    },
    /// `next` is bad. The token is not consumed.
    #[error("{error}")]
    Next {
        /// Why.
        #[source]
        error: NextError,
        /// The link.
        link: Box<Link>,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    pub(super) fn link(reason: RefusalReason, link: Option<Box<Link>>) -> Self {
        Self::Link { reason, link }
    }

    /// The word for logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Link { reason, .. } => reason.word(),
            Self::Next { .. } => "bad_next",
            Self::Store(_) => "store_unavailable",
        }
    }
}

/// Why a link in this state is refused; `None`: it still waits.
pub(super) fn ended(status: LinkStatus) -> Option<RefusalReason> {
    match status {
        LinkStatus::Pending => None,
        LinkStatus::Used => Some(RefusalReason::Used),
        LinkStatus::Expired => Some(RefusalReason::Expired),
        LinkStatus::Revoked => Some(RefusalReason::Revoked),
    }
}
