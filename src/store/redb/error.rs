//! Why the file of a store cannot be used: for the operator, with what to do.

use std::io;

use super::super::record::{RecordError, VERSION as RECORD};

/// Why the file of a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is a directory or a device.
    #[error("it is not a file")]
    NotAFile,
    /// Group or others may do something with it.
    #[error("others than its owner can use it; run chmod 600 on it")]
    Exposed,
    /// Another process, or another hublatch in this one, holds it.
    #[error("another process uses it; several replicas need a Redis")]
    InUse,
    /// It is no store, or was damaged.
    #[error(
        "it is damaged ({0}); to begin with an empty store, remove it and its marker: links not used yet are lost"
    )]
    Corrupt(String),
    /// It was put back from a copy.
    #[error(
        "it is older than its marker (commit {file} of {marker}): it was put back from a copy, and used links would \
         work again; to begin with an empty store, remove it and its marker"
    )]
    Older {
        /// The last commit in the file.
        file: u64,
        /// The last commit that was told to the marker.
        marker: u64,
    },
    /// The marker belongs to another file.
    #[error("its marker belongs to another store; to begin with an empty store, remove it and its marker")]
    OtherStore,
    /// The marker is gone, or unreadable.
    #[error(
        "its marker is missing or damaged, so it may be an old copy; to begin with an empty store, remove both"
    )]
    NoMarker,
    /// The file is gone, the marker is there.
    #[error("it is gone but its marker is there; to begin with an empty store, remove the marker")]
    Vanished,
    /// A hublatch that was never released wrote it.
    #[error(
        "a hublatch before the first release wrote it (schema {0}); to begin with an empty store, remove it and its \
         marker: links not used yet are lost"
    )]
    Unreleased(u32),
    /// A newer hublatch wrote its tables.
    #[error(
        "it was written by a newer hublatch (schema {found}; this one reads up to {known}); run that one, or to begin with \
         an empty store, remove it and its marker: links not used yet are lost"
    )]
    Newer {
        /// The version of its tables.
        found: u32,
        /// The newest version that this hublatch reads.
        known: u32,
    },
    /// A newer hublatch wrote a link.
    #[error(
        "it was written by a newer hublatch (record version {0}; this one reads up to {RECORD}); run that one, or to \
         begin with an empty store, remove it and its marker: links not used yet are lost"
    )]
    NewerRecord(u32),
}

impl From<RecordError> for FileError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Damaged => Self::Corrupt(error.to_string()),
            RecordError::Version(version) => Self::NewerRecord(version),
        }
    }
}

impl From<redb::Error> for FileError {
    // The library may add errors; what is not told apart here is damage.
    #[allow(clippy::wildcard_enum_match_arm)]
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::InUse,
            redb::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => Self::Io(error),
            other => Self::Corrupt(other.to_string()),
        }
    }
}
