//! Any store, with its calls timed and its errors counted.

use std::sync::Arc;

use super::{
    Consumed, IdempotencyKey, Inserted, Link, Memory, Revoked, SharedTable, StoreFuture, TokenStore,
};
use crate::clock::{Clock, Moment};
use crate::metrics::{Metrics, StoreCall};
use crate::token::{LinkId, TokenDigest, Username};

/// Passes each call on, and notes how it went.
#[derive(Debug)]
pub struct MeasuredStore {
    inner: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl MeasuredStore {
    /// `inner`, measured by `clock`.
    pub fn new(inner: Arc<dyn TokenStore>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { inner, clock, metrics }
    }

    fn measured<'a, T: 'a>(
        &'a self,
        of: impl Fn(&Metrics) -> &StoreCall + Send + 'a,
        call: StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move {
            let begun = self.clock.monotonic();
            let outcome = call.await;
            let spent = self.clock.monotonic().saturating_sub(begun);
            let metrics = of(&self.metrics);
            metrics.seconds.observe(spent.as_secs_f64());
            if outcome.is_err() {
                metrics.errors.inc();
            }
            outcome
        })
    }
}

impl TokenStore for MeasuredStore {
    fn insert(
        &self,
        links: Vec<Link>,
        key: Option<IdempotencyKey>,
        now: Moment,
    ) -> StoreFuture<'_, Inserted> {
        self.measured(|metrics| &metrics.store.insert, self.inner.insert(links, key, now))
    }

    fn find(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Option<Link>> {
        self.measured(|metrics| &metrics.store.find, self.inner.find(digest, now))
    }

    fn consume(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Consumed> {
        self.measured(|metrics| &metrics.store.consume, self.inner.consume(digest, now))
    }

    fn reserve(&self, digest: TokenDigest, until: Moment, now: Moment) -> StoreFuture<'_, bool> {
        self.measured(|metrics| &metrics.store.reserve, self.inner.reserve(digest, until, now))
    }

    fn get<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Option<Link>> {
        self.measured(|metrics| &metrics.store.get, self.inner.get(id, app, now))
    }

    fn revoke<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Revoked> {
        self.measured(|metrics| &metrics.store.revoke, self.inner.revoke(id, app, now))
    }

    fn revoke_user<'a>(
        &'a self,
        username: &'a Username,
        app: &'a str,
        now: Moment,
    ) -> StoreFuture<'a, usize> {
        self.measured(|metrics| &metrics.store.revoke_user, self.inner.revoke_user(username, app, now))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.measured(|metrics| &metrics.store.ping, self.inner.ping())
    }

    fn live(&self, now: Moment) -> usize {
        self.inner.live(now)
    }

    fn end_sessions(&self, sessions: Vec<String>, remembered: std::time::Duration) -> StoreFuture<'_, ()> {
        self.measured(|metrics| &metrics.store.end_sessions, self.inner.end_sessions(sessions, remembered))
    }

    fn ended_sessions(&self) -> Option<StoreFuture<'_, Vec<String>>> {
        let asked = self.inner.ended_sessions()?;
        Some(self.measured(|metrics| &metrics.store.ended_sessions, asked))
    }

    fn skew(&self, now: Moment) -> Option<jiff::SignedDuration> {
        self.inner.skew(now)
    }

    fn shared_table(&self, replica: &str) -> Option<SharedTable> {
        self.inner.shared_table(replica)
    }

    fn memory(&self, now: Moment) -> Option<Memory> {
        self.inner.memory(now)
    }
}
