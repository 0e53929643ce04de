//! What replicas that share a store tell each other of a login that is under way.

use std::time::Duration;

use super::StoreFuture;
use crate::token::TokenDigest;

/// Carries a word from one replica to another. Comfort, and no defence: it logs nobody in, and all of it may be lost.
pub trait Relay: Send + Sync {
    /// A login with the token of this digest is under way, for `life` at most.
    fn begin(&self, digest: TokenDigest, life: Duration) -> StoreFuture<'_, ()>;
    /// What is known of that login; what was left under `name` is taken, by one caller at most. While the login is under
    /// way, and for `life` at most, `name` is asked for.
    fn ask(&self, digest: TokenDigest, name: [u8; 32], life: Duration) -> StoreFuture<'_, Seen>;
    /// Whether somebody asks for `name`.
    fn is_asked_for(&self, name: [u8; 32]) -> StoreFuture<'_, bool>;
    /// The login has ended. `left` is its answer, for whoever asks for it.
    fn end(&self, digest: TokenDigest, left: Option<SealedAnswer>) -> StoreFuture<'_, ()>;
}

/// Something that was left for whoever knows its name.
#[derive(Debug)]
pub struct SealedAnswer {
    /// Its name.
    pub name: [u8; 32],
    /// What it is; nothing that a store can read.
    pub sealed: Vec<u8>,
    /// How long it is kept.
    pub life: Duration,
}

/// What another replica has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The login has not ended.
    pub under_way: bool,
    /// What was left.
    pub sealed: Option<Vec<u8>>,
}
