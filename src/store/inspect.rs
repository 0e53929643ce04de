//! What is to be said of a store: for `hublatch doctor`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use super::redis;
use crate::clock::Clock;
use crate::config::{self, StoreUrl};

/// Permissions of group and others.
const OTHERS: u32 = 0o077;
/// A disk with less room is soon full: the file of a million links and its copy while it is compacted.
const ROOM_BYTES: u64 = 1024 * 1024 * 1024;

/// How sound it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreGrade {
    /// As it should be.
    Good,
    /// It works, but something is missing.
    Unwise,
    /// It does not work, or is not safe.
    Unsafe,
}

/// One thing that was found out: a line for the operator, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFinding {
    /// How good it is.
    pub grade: StoreGrade,
    /// What was found, as a sentence for the operator.
    pub text: String,
}

impl StoreFinding {
    pub(super) fn good(text: impl Into<String>) -> Self {
        Self { grade: StoreGrade::Good, text: text.into() }
    }

    pub(super) fn unwise(text: impl Into<String>) -> Self {
        Self { grade: StoreGrade::Unwise, text: text.into() }
    }

    pub(super) fn not_safe(text: impl Into<String>) -> Self {
        Self { grade: StoreGrade::Unsafe, text: text.into() }
    }
}

/// Looks at the store that `store` names, beside a hublatch that may be using it. Waits: for Redis a few of its
/// timeouts.
pub fn inspect(store: &config::Store, clock: &Arc<dyn Clock>) -> Vec<StoreFinding> {
    match &store.url {
        StoreUrl::Memory => {
            vec![StoreFinding::unwise(
                "the store is in memory: unused links do not survive a restart, and no other hublatch knows them",
            )]
        }
        StoreUrl::Redb(path) => file(path),
        StoreUrl::Redis(redis) => redis::inspect(redis, clock),
    }
}

/// A running hublatch holds the file, so it is only looked at from outside.
fn file(path: &Path) -> Vec<StoreFinding> {
    let shown = path.display();
    let mut findings = Vec::new();
    match fs::metadata(path) {
        Ok(file) if !file.is_file() => {
            findings.push(StoreFinding::not_safe(format!("{shown} is not a file")));
        }
        Ok(file) if file.mode() & OTHERS != 0 => findings.push(StoreFinding::not_safe(format!(
            "{shown} can be used by others than its owner; run chmod 600 on it"
        ))),
        Ok(file) => {
            let megabytes = file.len().div_ceil(1_000_000);
            findings
                .push(StoreFinding::good(format!("{shown} is there ({megabytes} MB), for its owner alone")));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            findings.push(StoreFinding::unwise(format!(
                "{shown} is not there yet: hublatch makes it at its start"
            )));
        }
        Err(error) => findings.push(StoreFinding::not_safe(format!("{shown}: {error}"))),
    }
    let directory = path.parent().unwrap_or(path);
    match rustix::fs::statvfs(directory) {
        Ok(disk) => {
            let room = disk.f_bavail.saturating_mul(disk.f_frsize);
            let text = format!("the disk of {shown} has {} MB left", room / 1_000_000);
            findings.push(if room < ROOM_BYTES {
                StoreFinding::unwise(text)
            } else {
                StoreFinding::good(text)
            });
        }
        Err(error) => findings.push(StoreFinding::not_safe(format!("{}: {error}", directory.display()))),
    }
    findings
}
