//! What the file of the redb store knows of itself: its schema, its name, and how many commits it has seen.

use std::cmp::Ordering;
use std::io;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use jiff::Timestamp;
use redb::{Database, ReadableDatabase as _, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::error::FileError;

/// The version of the tables. A change that an older hublatch cannot read raises it, and what released versions wrote is
/// then brought up to it; version 1 was never released.
pub(super) const SCHEMA: u32 = 2;
/// One record, `state`: a [`FileState`] as JSON.
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
/// What the file knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileState {
    schema: u32,
    /// Which store it is, in hex digits; its marker says the same.
    pub(super) store: String,
    /// How many commits it has seen.
    pub(super) commits: u64,
    /// How many times it was opened.
    #[serde(rename = "sessions")] // as it stands in files that exist
    pub(super) openings: u64,
    /// When it was created.
    pub(super) created: Timestamp,
    /// The time of day of the last commit.
    pub(super) written: Timestamp,
}

/// What stays where it is in every schema.
#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

impl FileState {
    pub(super) fn new(now: Timestamp) -> io::Result<Self> {
        let mut bytes = [0_u8; 16];
        let random = SystemRandom::new();
        random.fill(&mut bytes).map_err(|_| io::Error::other("the operating system gave no random bytes"))?;
        let store = format!("{:032x}", u128::from_be_bytes(bytes));
        Ok(Self { schema: SCHEMA, store, commits: 0, openings: 0, created: now, written: now })
    }

    /// The state after one more commit.
    pub(super) fn next(&self, now: Timestamp) -> Self {
        Self { commits: self.commits + 1, written: now, ..self.clone() }
    }

    /// Goes into the transaction whose commit it counts.
    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        let json = serde_json::to_vec(self).unwrap_or_default();
        transaction.open_table(STATE)?.insert("state", json.as_slice())?;
        Ok(())
    }

    pub(super) fn read(database: &Database) -> Result<Self, FileError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let transaction = database.begin_read()?;
            let table = transaction.open_table(STATE)?;
            Ok(table.get("state")?.map(|json| json.value().to_vec()))
        };
        let json = read()?.ok_or_else(|| FileError::Corrupt("it has no state".to_owned()))?;
        let unreadable = |error: serde_json::Error| FileError::Corrupt(error.to_string());
        // Before all else: what goes with it may change with the schema.
        let Schema { schema } = serde_json::from_slice(&json).map_err(unreadable)?;
        match schema.cmp(&SCHEMA) {
            Ordering::Greater => Err(FileError::Newer { found: schema, known: SCHEMA }),
            Ordering::Less => Err(FileError::Unreleased(schema)),
            Ordering::Equal => serde_json::from_slice(&json).map_err(unreadable),
        }
    }
}
