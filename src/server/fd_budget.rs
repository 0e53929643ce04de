//! File descriptors: connections of browsers may use most of those that the process may open, connections to the hub a
//! few more, and the rest is reserved for the management listener, the token store and files.
//!
//! A new descriptor gets the lowest number that is free (`open(2)`), so its number alone tells that all below it are
//! taken: nothing has to be counted.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, getrlimit};

use crate::metrics::Metrics;

/// Of a hundred descriptors, so many are for connections of browsers.
const BROWSERS_PERCENT: u64 = 90;
/// Of a hundred descriptors, so many are for these and for connections to the hub.
const HUB_PERCENT: u64 = 95;
/// How long accepting pauses before it checks again whether descriptors are free.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a pause is logged; at the limit there is one with every connection.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// The descriptors that some kind of connection may have: those with numbers below `end`.
#[derive(Debug, Clone, Copy)]
pub struct FdBudget {
    end: RawFd,
}

impl FdBudget {
    /// For connections of browsers.
    pub fn for_browsers() -> Self {
        Self::part(BROWSERS_PERCENT)
    }

    /// For connections to the hub.
    pub fn for_the_hub() -> Self {
        Self::part(HUB_PERCENT)
    }

    /// All that there are.
    pub fn whole() -> Self {
        Self { end: RawFd::MAX }
    }

    fn part(percent: u64) -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self {
            end: RawFd::try_from(limit / 100 * percent + limit % 100 * percent / 100).unwrap_or(RawFd::MAX),
        }
    }

    /// Whether `descriptor` is one of these.
    pub fn holds(self, descriptor: impl AsFd) -> bool {
        descriptor.as_fd().as_raw_fd() < self.end
    }

    /// Whether the next descriptor will be one of these; `any` is copied to see which that is.
    fn is_left(self, any: impl AsFd) -> bool {
        fcntl_dupfd_cloexec(any, 0).is_ok_and(|next| self.holds(next))
    }
}

/// Whether `error` says that there is no descriptor left.
pub fn is_shortage(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Why accepting pauses.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    /// Browsers have taken their part.
    #[error("few descriptors are left")]
    FewDescriptors,
    /// `accept(2)` failed: no descriptor, no memory or no network.
    #[error("accept: {0}")]
    Accept(#[from] io::Error),
}

/// Pauses of accepting, over all threads.
#[derive(Debug, Clone)]
pub(super) struct AcceptPauses {
    metrics: Arc<Metrics>,
    pausing: Arc<AtomicUsize>,
    last_logged: Arc<Mutex<Option<Instant>>>,
}

impl AcceptPauses {
    /// None yet.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, pausing: Arc::default(), last_logged: Arc::default() }
    }

    /// Pauses until descriptors are free again, and at least `PAUSE`.
    pub(super) async fn pause(&self, budget: FdBudget, listener: &impl AsFd, cause: &Cause) {
        let _pausing = AcceptBackoff(&self.pausing);
        if self.pausing.fetch_add(1, Ordering::Relaxed) == 0 {
            self.metrics.accept_pauses.inc();
            self.log(cause);
        }
        loop {
            tokio::time::sleep(PAUSE).await;
            if budget.is_left(listener) {
                return;
            }
        }
    }

    fn log(&self, cause: &Cause) {
        let mut last_logged = self.last_logged.lock().unwrap_or_else(PoisonError::into_inner);
        if last_logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *last_logged = Some(Instant::now());
            let limit = getrlimit(Resource::Nofile).current;
            tracing::warn!(%cause, limit, "accepting pauses until there is room again");
        }
    }
}

/// Counts one listener as pausing until it is dropped.
struct AcceptBackoff<'a>(&'a AtomicUsize);

impl Drop for AcceptBackoff<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_never_shorter_than_a_moment_and_lasts_while_no_descriptor_is_left() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let pauses = AcceptPauses::new(Arc::new(Metrics::new()));
        let begun = tokio::time::Instant::now();
        pauses.pause(FdBudget::whole(), &listener, &Cause::FewDescriptors).await;
        assert!(begun.elapsed() >= PAUSE);
        let minute = Duration::from_mins(1);
        let none = FdBudget { end: 0 };
        assert!(
            tokio::time::timeout(minute, pauses.pause(none, &listener, &Cause::FewDescriptors))
                .await
                .is_err()
        );
        assert_eq!(pauses.metrics.accept_pauses.get(), 2);
    }

    #[test]
    fn a_pause_is_logged_with_its_cause() {
        let network = io::Error::from_raw_os_error(Errno::NETDOWN.raw_os_error());
        assert_eq!(Cause::from(network).to_string(), "accept: Network is down (os error 100)");
        assert_eq!(Cause::FewDescriptors.to_string(), "few descriptors are left");
    }

    #[test]
    fn only_a_lack_of_descriptors_counts_as_a_shortage() {
        assert!(is_shortage(&io::Error::from_raw_os_error(Errno::MFILE.raw_os_error())));
        assert!(!is_shortage(&io::ErrorKind::ConnectionRefused.into()));
    }
}
