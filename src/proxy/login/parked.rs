//! What is kept for the next request of a browser in line: the permit that it has waited for, or a question to the hub
//! that took longer than its last request could wait.
//!
//! Each request of a browser in line ends with a page, and what it has obtained must be there when the browser comes
//! back. What nobody comes for within a few seconds is dropped; a permit is given back by that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::admission::LoginPermit;
use super::single_flight::RequestFingerprint;
use crate::proxy::hub_session::Identified;
use crate::token::TokenDigest;

/// How long something is kept once it is ready.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// A question to the hub under way: who a browser is.
#[derive(Debug)]
pub struct Probe {
    /// What the hub says, and the permit by which it was asked.
    pub outcome: oneshot::Receiver<(LoginPermit, Identified)>,
    /// It has been answered.
    pub is_done: Arc<AtomicBool>,
}

/// What is kept.
#[derive(Debug)]
pub enum ParkedItem {
    /// A permit to log in.
    Permit(LoginPermit),
    /// A question.
    Probe(Probe),
}

/// Whether what is kept is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedState {
    /// It is.
    Ready,
    /// The hub has not answered yet.
    Pending,
}

/// All that is kept, by browser and token.
#[derive(Debug, Clone, Default)]
pub struct Parked(Arc<Mutex<HashMap<RequestFingerprint, ParkedEntry>>>);

#[derive(Debug)]
struct ParkedEntry {
    kept: ParkedItem,
    /// For which token, if it is a permit to log in.
    token: Option<TokenDigest>,
    /// When it was first seen to be ready.
    ready_since: Option<Instant>,
}

impl Parked {
    /// Keeps a question for the browser of this `fingerprint`.
    pub fn put(&self, fingerprint: RequestFingerprint, probe: Probe) {
        let kept = ParkedItem::Probe(probe);
        let before = self.lock().insert(fingerprint, ParkedEntry { kept, token: None, ready_since: None });
        // A permit that is dropped wakes others: not under the lock.
        drop(before);
        self.prune();
    }

    /// Keeps a permit to log in by `token`: one for each token, however many browsers come with it.
    pub fn put_permit(
        &self,
        fingerprint: RequestFingerprint,
        token: Option<TokenDigest>,
        permit: LoginPermit,
    ) {
        let kept = ParkedItem::Permit(permit);
        let mut entries = self.lock();
        let mut before: Vec<ParkedEntry> = entries
            .extract_if(|_, entry| token.is_some() && entry.token == token)
            .map(|(_, entry)| entry)
            .collect();
        before.extend(entries.insert(fingerprint, ParkedEntry { kept, token, ready_since: None }));
        drop(entries);
        drop(before);
        self.prune();
    }

    /// Takes what is kept.
    pub fn take(&self, fingerprint: &RequestFingerprint) -> Option<ParkedItem> {
        self.prune();
        self.lock().remove(fingerprint).map(|entry| entry.kept)
    }

    /// The state of what is kept, if anything is.
    pub fn state(&self, fingerprint: &RequestFingerprint) -> Option<ParkedState> {
        self.prune();
        let is_ready = self.lock().get(fingerprint)?.kept.is_ready();
        Some(if is_ready { ParkedState::Ready } else { ParkedState::Pending })
    }

    /// Drops what nobody came for.
    pub fn prune(&self) {
        let now = Instant::now();
        let mut entries = self.lock();
        let mut late = Vec::new();
        for (fingerprint, entry) in entries.iter_mut() {
            if entry.kept.is_ready() {
                let since = *entry.ready_since.get_or_insert(now);
                if now.duration_since(since) > KEPT_FOR {
                    late.push(fingerprint.clone());
                }
            }
        }
        let late: Vec<ParkedEntry> =
            late.iter().filter_map(|fingerprint| entries.remove(fingerprint)).collect();
        drop(entries);
        drop(late);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestFingerprint, ParkedEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ParkedItem {
    fn is_ready(&self) -> bool {
        match self {
            Self::Permit(_) => true,
            Self::Probe(probe) => probe.is_done.load(Ordering::Acquire),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LoginsAtOnce;
    use crate::metrics::Metrics;
    use crate::proxy::login::admission::Admission;
    use crate::turns::line::Group;

    async fn permit(admission: &Admission) -> Option<LoginPermit> {
        let group = Group::new(std::net::IpAddr::from([192, 0, 2, 1]), "portal");
        let mut waiter = admission.join(group, 0);
        tokio::time::timeout(Duration::from_millis(1), waiter.admitted()).await.ok()
    }

    fn browser(name: &str) -> RequestFingerprint {
        RequestFingerprint::of(&name)
    }

    #[tokio::test(start_paused = true)]
    async fn of_one_token_one_leave_is_kept_whatever_the_browsers_are() {
        let admission = Admission::new(LoginsAtOnce::Fixed(2), Metrics::new().login_queue.clone());
        let (parked, token) = (Parked::default(), Some(TokenDigest::of_parts(&["one"])));
        for name in ["a", "b", "c"] {
            let leave = permit(&admission).await.expect("the one before is given back");
            parked.put_permit(browser(name), token, leave);
        }
        assert!(parked.take(&browser("a")).is_none() && parked.take(&browser("b")).is_none());
        let other = permit(&admission).await.expect("the second");
        parked.put_permit(browser("d"), Some(TokenDigest::of_parts(&["two"])), other);
        assert!(permit(&admission).await.is_none());
        assert!(parked.take(&browser("c")).is_some() && parked.take(&browser("d")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_comes_for_is_given_back() {
        let admission = Admission::new(LoginsAtOnce::Fixed(1), Metrics::new().login_queue.clone());
        let parked = Parked::default();
        let leave = permit(&admission).await.expect("nobody is before");
        parked.put_permit(browser("gone"), None, leave);
        tokio::time::advance(KEPT_FOR + Duration::from_millis(1)).await;
        assert!(permit(&admission).await.is_none());
        parked.prune();
        assert!(permit(&admission).await.is_some());
    }
}
