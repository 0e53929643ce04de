//! One login at a time for each token: a second request for it (a double click) waits for the first.
//!
//! A browser that is clicked twice gives its first request up. If that one brings the login about all the same, its
//! response is left here for the second request of the same browser: the one response of the one login, delivered once.
//!
//! This is comfort and no defence: that a token admits once is the store's promise alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use foldhash::quality::RandomState;
use hyper::Response;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::proxy::upstream::ResponseBody;
use crate::token::TokenDigest;

/// The tokens that are being redeemed by this process.
#[derive(Debug, Clone, Default)]
pub struct SingleFlight {
    flights: Arc<Mutex<Flights>>,
}

type Flights = HashMap<TokenDigest, Arc<Flight>, RandomState>;

#[derive(Debug, Default)]
struct Flight {
    ended: CancellationToken,
    stashed: Mutex<Option<StashedResponse>>,
    /// A response was stashed, or taken.
    changed: Notify,
}

/// A response whose browser went away before it came.
struct StashedResponse {
    by: RequestFingerprint,
    response: Response<ResponseBody>,
}

impl std::fmt::Debug for StashedResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StashedResponse(redacted)")
    }
}

/// The SHA-256 of what two requests of one browser for one link have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestFingerprint([u8; 32]);

impl RequestFingerprint {
    /// Of `parts`, written as JSON so that no two read the same.
    pub fn of(parts: &impl Serialize) -> Self {
        let text = serde_json::to_vec(parts).expect("text, bytes and numbers are JSON");
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, &text).as_ref());
        Self(bytes)
    }
}

impl std::fmt::Display for RequestFingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a request for a token finds.
#[derive(Debug)]
enum FlightEntry {
    /// Nobody else redeems it: it is taken until the guard is dropped.
    Free(FlightGuard),
    /// Somebody does.
    Taken(FlightWaiter),
}

/// What came of entering.
#[allow(clippy::large_enum_variant)] // it is looked at once, where it is made
pub enum Entered {
    /// This request has the token to itself.
    First(FlightGuard),
    /// The same browser's earlier request has brought the login about, and could not take the response.
    Joined(Response<ResponseBody>),
    /// The other login did not end in time.
    TooLate,
}

/// Holds a token until it is dropped.
#[derive(Debug)]
pub struct FlightGuard {
    flights: Arc<Mutex<Flights>>,
    digest: TokenDigest,
    flight: Arc<Flight>,
}

/// Waits for the login of another request.
#[derive(Debug)]
struct FlightWaiter(Arc<Flight>);

impl SingleFlight {
    /// Takes the token of `digest`, after another login with it has ended; waits for that until `deadline`.
    pub async fn enter(
        &self,
        digest: TokenDigest,
        fingerprint: impl Fn() -> RequestFingerprint,
        deadline: Instant,
    ) -> Entered {
        loop {
            match self.try_enter(digest) {
                FlightEntry::Free(guard) => return Entered::First(guard),
                FlightEntry::Taken(waiter) => {
                    match tokio::time::timeout_at(deadline, waiter.wait(&fingerprint())).await {
                        Ok(Some(response)) => return Entered::Joined(response),
                        Ok(None) => {}
                        Err(_) => return Entered::TooLate,
                    }
                }
            }
        }
    }

    fn try_enter(&self, digest: TokenDigest) -> FlightEntry {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&digest) {
            return FlightEntry::Taken(FlightWaiter(Arc::clone(flight)));
        }
        let flight = Arc::<Flight>::default();
        flights.insert(digest, Arc::clone(&flight));
        FlightEntry::Free(FlightGuard { flights: Arc::clone(&self.flights), digest, flight })
    }
}

impl Flight {
    fn lock(&self) -> MutexGuard<'_, Option<StashedResponse>> {
        self.stashed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, fingerprint: &RequestFingerprint) -> Option<Response<ResponseBody>> {
        let taken = self.lock().take_if(|stashed| stashed.by == *fingerprint)?;
        self.changed.notify_waiters();
        Some(taken.response)
    }
}

impl FlightWaiter {
    /// Waits until the other login has ended, whatever became of it, or has left a response for a request of this
    /// `fingerprint`: it is taken.
    async fn wait(self, fingerprint: &RequestFingerprint) -> Option<Response<ResponseBody>> {
        loop {
            // Made before the look, so that what is stashed after it wakes this.
            let changed = self.0.changed.notified();
            if let Some(response) = self.0.take(fingerprint) {
                return Some(response);
            }
            tokio::select! {
                () = self.0.ended.cancelled() => return None,
                () = changed => {}
            }
        }
    }
}

impl FlightGuard {
    /// Leaves a `response` that its own request did not take for another one of the same browser.
    pub fn stash(&self, by: RequestFingerprint, response: Response<ResponseBody>) {
        *self.flight.lock() = Some(StashedResponse { by, response });
        self.flight.changed.notify_waiters();
    }

    /// Waits until it has been taken.
    pub async fn stash_taken(&self) {
        loop {
            let changed = self.flight.changed.notified();
            if self.flight.lock().is_none() {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
        self.flight.ended.cancel();
    }
}
