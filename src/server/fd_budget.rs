//! Descriptors: browsers may take most of those that the process may open, connections to the hub a few more, and what
//! is left is for the management listener, the token store and files.
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
/// How long accepting rests before it looks whether there is room again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a pause is logged; at the limit there is one with every connection.
const TOLD_EVERY: Duration = Duration::from_mins(1);

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

/// Why accepting rests.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    /// Browsers have taken their part.
    #[error("few descriptors are left")]
    FewDescriptors,
    /// The system gave no connection, for want of descriptors, of memory or of a network (`accept(2)`).
    #[error("accept: {0}")]
    Accept(#[from] io::Error),
}

/// AcceptPauses of accepting, over all threads.
#[derive(Debug, Clone)]
pub(super) struct AcceptPauses {
    metrics: Arc<Metrics>,
    resting: Arc<AtomicUsize>,
    told: Arc<Mutex<Option<Instant>>>,
}

impl AcceptPauses {
    /// None yet.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, resting: Arc::default(), told: Arc::default() }
    }

    /// Rests until there is room again, and not less than a moment.
    pub(super) async fn rest(&self, room: FdBudget, listener: &impl AsFd, cause: &Cause) {
        let _resting = AcceptBackoff(&self.resting);
        if self.resting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.metrics.accept_pauses.inc();
            self.tell(cause);
        }
        loop {
            tokio::time::sleep(PAUSE).await;
            if room.is_left(listener) {
                return;
            }
        }
    }

    fn tell(&self, cause: &Cause) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            *told = Some(Instant::now());
            let limit = getrlimit(Resource::Nofile).current;
            tracing::warn!(%cause, limit, "accepting pauses until there is room again");
        }
    }
}

/// A listener that rests, until it is dropped.
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
    async fn a_rest_is_never_shorter_than_a_moment_and_lasts_while_there_is_no_room() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let pauses = AcceptPauses::new(Arc::new(Metrics::new()));
        let begun = tokio::time::Instant::now();
        pauses.rest(FdBudget::whole(), &listener, &Cause::FewDescriptors).await;
        assert!(begun.elapsed() >= PAUSE);
        let minute = Duration::from_mins(1);
        let none = FdBudget { end: 0 };
        assert!(
            tokio::time::timeout(minute, pauses.rest(none, &listener, &Cause::FewDescriptors)).await.is_err()
        );
        assert_eq!(pauses.metrics.accept_pauses.get(), 2);
    }

    #[test]
    fn a_pause_is_told_with_what_was_met() {
        let network = io::Error::from_raw_os_error(Errno::NETDOWN.raw_os_error());
        assert_eq!(Cause::from(network).to_string(), "accept: Network is down (os error 100)");
        assert_eq!(Cause::FewDescriptors.to_string(), "few descriptors are left");
    }

    #[test]
    fn what_is_no_want_of_descriptors_is_not_taken_for_one() {
        assert!(is_shortage(&io::Error::from_raw_os_error(Errno::MFILE.raw_os_error())));
        assert!(!is_shortage(&io::ErrorKind::ConnectionRefused.into()));
    }
}
