//! Why a token leads to no login.

use super::next::NextError;
use crate::audit::AuditReason;
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
    /// It was revoked.
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

impl From<RefusalReason> for AuditReason {
    fn from(reason: RefusalReason) -> Self {
        match reason {
            RefusalReason::Unknown => Self::Unknown,
            RefusalReason::Expired => Self::Expired,
            RefusalReason::Used => Self::Used,
            RefusalReason::Revoked => Self::Revoked,
            RefusalReason::KeyRevoked => Self::KeyRevoked,
            RefusalReason::NotAllowed => Self::NotAllowed,
            RefusalReason::Bound => Self::Bound,
            RefusalReason::NeedsState => Self::NeedsState,
        }
    }
}

/// A token that leads to no login.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The link is not honoured.
    #[error("the link is refused: {}", AuditReason::from(*reason).as_str())]
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
    /// A token of an app's own was consumed, and whose it is could not be had, or not kept: the app may have used it up as
    /// well, so it is never asked for again.
    #[error(transparent)]
    Exchange(StoreError),
}

impl Refusal {
    pub(super) fn of_link(reason: RefusalReason, link: Option<Box<Link>>) -> Self {
        Self::Link { reason, link }
    }

    /// There is no such token.
    pub fn unknown() -> Self {
        Self::Link { reason: RefusalReason::Unknown, link: None }
    }

    /// The link, where there is one.
    pub fn link(&self) -> Option<&Link> {
        match self {
            Self::Link { link, .. } => link.as_deref(),
            Self::Next { link, .. } => Some(link),
            Self::Store(_) | Self::Exchange(_) => None,
        }
    }

    /// The reason for logs and metrics.
    pub fn reason(&self) -> AuditReason {
        match self {
            Self::Link { reason, .. } => (*reason).into(),
            Self::Next { .. } => AuditReason::BadNext,
            Self::Store(_) | Self::Exchange(_) => AuditReason::StoreUnavailable,
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
