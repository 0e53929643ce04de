//! The marker of the redb store: it tells a file that was put back from a copy.
//!
//! Beside `tokens.redb` lies `tokens.redb.marker` with the number of the last commit. A file that has seen fewer
//! commits than its marker was put back from a copy, and a token that was taken since would live again: it is refused.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::FileError;
use super::file_state::FileState;
use super::filesystem::{beside, refuse_exposed, sync_directory};

/// How every marker begins.
const HEAD: &str = "hublatch-store-marker-1";

/// The number of the last commit, outside the file.
#[derive(Debug)]
pub(super) struct RollbackMarker {
    file: File,
    store: String,
}

impl RollbackMarker {
    /// Where the marker of the store at `path` is.
    pub(super) fn path(path: &Path) -> PathBuf {
        beside(path, ".marker")
    }

    pub(super) fn create(path: &Path, state: &FileState) -> Result<Self, FileError> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let marker = Self { file, store: state.store.clone() };
        marker.write(state.commits)?;
        marker.sync()?;
        sync_directory(path)?;
        Ok(marker)
    }

    pub(super) fn open(path: &Path, state: &FileState) -> Result<Self, FileError> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        refuse_exposed(&file)?;
        let mut text = String::new();
        // No marker is longer than a line.
        (&file).take(256).read_to_string(&mut text).map_err(|_| FileError::NoMarker)?;
        let mut words = text.split_ascii_whitespace();
        let (Some(HEAD), Some(store), Some(commits), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(FileError::NoMarker);
        };
        let commits: u64 = commits.parse().map_err(|_| FileError::NoMarker)?;
        if store != state.store {
            return Err(FileError::OtherStore);
        }
        if state.commits < commits {
            return Err(FileError::Older { file: state.commits, marker: commits });
        }
        Ok(Self { file, store: store.to_owned() })
    }

    /// Says that the file has seen `commits`. After the commit, so that the marker is never ahead; not synced, so
    /// that a commit costs one wait for the disk: after a power cut it may lag, after a mere crash it does not.
    pub(super) fn write(&self, commits: u64) -> io::Result<()> {
        let line = format!("{HEAD} {} {commits:020}\n", self.store);
        self.file.write_all_at(line.as_bytes(), 0)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
