//! What is kept for the next request of a browser in line: a question to the hub that took longer than its last request could
//! wait.
//!
//! A request of a browser in line ends with a page each time, and what the hub says must be there when the browser comes
//! back. What nobody comes for within a few seconds is dropped. Of one token one question is kept, whatever browsers say that
//! they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::single_flight::RequestFingerprint;
use crate::proxy::hub_session::Identified;
use crate::token::TokenDigest;

/// How long an answer is kept: it holds a connection to the hub, and what it says was true then.
pub const KEPT_FOR: Duration = Duration::from_secs(5);

/// A question to the hub: who a browser is.
#[derive(Debug)]
pub struct Probe {
    /// What the hub says.
    pub outcome: oneshot::Receiver<Identified>,
    /// When it was answered.
    pub answered: Arc<OnceLock<Instant>>,
}

impl Probe {
    /// One that was `answered` then.
    pub fn answered(identified: Identified, answered: Arc<OnceLock<Instant>>) -> Self {
        let (done, outcome) = oneshot::channel();
        let _received = done.send(identified);
        Self { outcome, answered }
    }
}

/// Whether the answer is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedState {
    /// It is.
    Ready,
    /// The hub has not answered yet.
    Pending,
}

/// All that is kept, by token.
#[derive(Debug, Clone, Default)]
pub struct Parked(Arc<Mutex<HashMap<TokenDigest, ParkedEntry>>>);

#[derive(Debug)]
struct ParkedEntry {
    /// For which browser.
    fingerprint: RequestFingerprint,
    probe: Probe,
}

impl Parked {
    /// Keeps a question for the browser of this `fingerprint` with `token`.
    pub fn put(&self, token: TokenDigest, fingerprint: RequestFingerprint, probe: Probe) {
        let before = self.lock().insert(token, ParkedEntry { fingerprint, probe });
        // It may hold a connection: not under the lock.
        drop(before);
        self.prune();
    }

    /// Takes what is kept.
    pub fn take(&self, token: TokenDigest, fingerprint: &RequestFingerprint) -> Option<Probe> {
        self.prune();
        let mut entries = self.lock();
        entries.get(&token).filter(|entry| entry.fingerprint == *fingerprint)?;
        entries.remove(&token).map(|entry| entry.probe)
    }

    /// The state of what is kept, if anything is.
    pub fn state(&self, token: TokenDigest, fingerprint: &RequestFingerprint) -> Option<ParkedState> {
        self.prune();
        let entries = self.lock();
        let entry = entries.get(&token).filter(|entry| entry.fingerprint == *fingerprint)?;
        Some(if entry.probe.answered.get().is_some() { ParkedState::Ready } else { ParkedState::Pending })
    }

    /// Drops what nobody came for.
    pub fn prune(&self) {
        let now = Instant::now();
        let late: Vec<ParkedEntry> = self
            .lock()
            .extract_if(|_, entry| {
                entry.probe.answered.get().is_some_and(|at| now.duration_since(*at) > KEPT_FOR)
            })
            .map(|(_, entry)| entry)
            .collect();
        drop(late);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenDigest, ParkedEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::hub_session::HubTrouble;

    fn answered() -> Probe {
        Probe::answered(Err(HubTrouble::Down), Arc::new(Instant::now().into()))
    }

    #[tokio::test(start_paused = true)]
    async fn of_one_token_one_question_is_kept_whatever_the_browsers_are() {
        let (parked, token) = (Parked::default(), TokenDigest::of_parts(&["one"]));
        let browser = |name: &str| RequestFingerprint::of(&name);
        for name in ["a", "b", "c"] {
            parked.put(token, browser(name), answered());
        }
        assert!(parked.take(token, &browser("a")).is_none() && parked.take(token, &browser("b")).is_none());
        assert_eq!(parked.state(token, &browser("c")), Some(ParkedState::Ready));
        assert!(parked.take(token, &browser("c")).is_some() && parked.take(token, &browser("c")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_comes_for_is_dropped() {
        let (parked, token) = (Parked::default(), TokenDigest::of_parts(&["one"]));
        let browser = RequestFingerprint::of(&"gone");
        parked.put(token, browser.clone(), answered());
        tokio::time::advance(KEPT_FOR).await;
        assert_eq!(parked.state(token, &browser), Some(ParkedState::Ready));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(parked.take(token, &browser).is_none());
    }
}
