//! What is kept for the next request of a browser in line: the leave that it has waited for, or a question to the hub that
//! took longer than its last request could wait.
//!
//! A request of a browser in line ends with a page each time, and what it has come to must be there when the browser comes
//! back. What nobody comes for within a few seconds is dropped, and the leave with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::admission::LoginPermit;
use super::single_flight::RequestFingerprint;
use crate::proxy::hub_session::Identified;

/// How long something is kept once it can be had.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// A question to the hub under way: who a browser is.
#[derive(Debug)]
pub struct Probe {
    /// What the hub says, and the leave by which it was asked.
    pub outcome: oneshot::Receiver<(LoginPermit, Identified)>,
    /// It has been answered.
    pub is_done: Arc<AtomicBool>,
}

/// What is kept.
#[derive(Debug)]
pub enum ParkedItem {
    /// Leave to log in.
    Permit(LoginPermit),
    /// A question.
    Probe(Probe),
}

/// Whether what is kept can be had at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedState {
    /// It can.
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
    /// When it was first seen to be there for the taking.
    ready_since: Option<Instant>,
}

impl Parked {
    /// Keeps something for the browser of this `fingerprint`.
    pub fn put(&self, fingerprint: RequestFingerprint, kept: ParkedItem) {
        let before = self.lock().insert(fingerprint, ParkedEntry { kept, ready_since: None });
        // A permit that is dropped wakes others: not under the lock.
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
    fn prune(&self) {
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
