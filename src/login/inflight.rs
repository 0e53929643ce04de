//! One redeeming at a time for each token: a second request for it (a double click) waits for the first.
//!
//! This is comfort and no defence: that a token admits once is the store's promise alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::token::TokenDigest;

/// The tokens that are being redeemed by this process.
#[derive(Debug, Clone, Default)]
pub struct InFlight {
    tokens: Arc<Mutex<HashMap<TokenDigest, watch::Receiver<()>>>>,
}

/// What a request for a token finds.
#[derive(Debug)]
pub enum Turn {
    /// Nobody else is at it: it is taken until the guard is dropped.
    Mine(Redeeming),
    /// Somebody is: resolves when that one is done, whatever became of it.
    Wait(Done),
}

/// Holds a token's turn until it is dropped.
#[derive(Debug)]
pub struct Redeeming {
    tokens: InFlight,
    digest: TokenDigest,
    /// Dropped with the guard, which wakes all who wait.
    _ended: watch::Sender<()>,
}

/// Resolves when the other redeeming is done.
#[derive(Debug)]
pub struct Done(watch::Receiver<()>);

impl InFlight {
    /// Takes the turn of `digest`, or learns who to wait for.
    pub fn enter(&self, digest: TokenDigest) -> Turn {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = tokens.get(&digest) {
            return Turn::Wait(Done(other.clone()));
        }
        let (ended, other) = watch::channel(());
        tokens.insert(digest, other);
        Turn::Mine(Redeeming { tokens: self.clone(), digest, _ended: ended })
    }
}

impl Done {
    /// Waits until the guard of the other is dropped.
    pub async fn wait(mut self) {
        // Nothing is ever sent: the only event is the end of the sender, which is an error by this API.
        while self.0.changed().await.is_ok() {}
    }
}

impl Drop for Redeeming {
    fn drop(&mut self) {
        self.tokens.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}
