//! What can be wrong with one member of a JSON object that an application sent.

/// The most characters of a field's name that an error repeats.
const NAME_CHARS_MAX: usize = 80;

/// A member that cannot be taken, without the place of its object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MemberError {
    /// Its name.
    pub(super) name: String,
    /// What is wrong with it.
    pub(super) fault: MemberFault,
}

/// What is wrong with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum MemberFault {
    /// Nobody asked for it.
    #[error("there is no such field")]
    Unknown,
    /// It is not there.
    #[error("is required")]
    Missing,
    /// It has another type, or lies outside the range.
    #[error("must be {0}")]
    Invalid(&'static str),
    /// It cannot stand beside another one.
    #[error("cannot be sent together with {0}")]
    Conflict(&'static str),
    /// This hublatch is not configured for it.
    #[error("is not supported here: hublatch's configuration has no {0}")]
    Unavailable(&'static str),
}

impl MemberError {
    pub(super) fn new(name: &str, fault: MemberFault) -> Self {
        Self { name: name.chars().take(NAME_CHARS_MAX).collect(), fault }
    }
}
