//! When something was last used: one number that many threads set and few read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// When something was last used, in milliseconds since 1970. Clones share it.
#[derive(Debug, Clone)]
pub struct LastActivity(Arc<AtomicU64>);

impl LastActivity {
    /// At `millis`.
    pub fn at(millis: u64) -> Self {
        Self(Arc::new(AtomicU64::new(millis)))
    }

    /// Just now.
    pub fn now() -> Self {
        Self::at(now_millis())
    }

    /// It is used now. The number is written once a millisecond at most, so that threads seldom fight over its line.
    pub fn touch(&self) {
        self.advance(now_millis());
    }

    /// It was used at `millis`, if nothing later is known.
    pub fn advance(&self, millis: u64) {
        if self.0.load(Ordering::Relaxed) < millis {
            self.0.fetch_max(millis, Ordering::Relaxed);
        }
    }

    /// Milliseconds since 1970.
    pub fn millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The time by the system's clock, in milliseconds since 1970.
#[allow(clippy::disallowed_methods)] // nothing about a token is decided by it, and tests compare only what it has told
pub fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
