//! What replicas that share a store tell each other of a login that is under way.

use std::time::Duration;

use super::StoreFuture;
use crate::token::TokenDigest;

/// Carries a word from one replica to another. Comfort, and no defence: it logs nobody in, and all of it may be lost.
pub trait Relay: Send + Sync {
    /// A login with the token of this digest is under way, for `life` at most.
    fn begun(&self, digest: TokenDigest, life: Duration) -> StoreFuture<'_, ()>;
    /// It has ended. `left` is its answer, if nobody took it.
    fn ended(&self, digest: TokenDigest, left: Option<Left>) -> StoreFuture<'_, ()>;
    /// What is known of the login; what was left under `name` is taken, by one caller at most.
    fn look(&self, digest: TokenDigest, name: [u8; 32]) -> StoreFuture<'_, Seen>;
}

/// Something that was left for whoever knows its name.
#[derive(Debug)]
pub struct Left {
    /// Its name.
    pub name: [u8; 32],
    /// What it is; nothing that a store can read.
    pub sealed: Vec<u8>,
    /// How long it is kept.
    pub life: Duration,
}

/// What another replica has told.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// The login has not ended.
    pub under_way: bool,
    /// What was left.
    pub sealed: Option<Vec<u8>>,
}
