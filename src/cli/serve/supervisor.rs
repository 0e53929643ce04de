//! What a supervisor is told (systemd, `sd_notify(3)`): ready, reloading, stopping, still alive. Without one, nothing is
//! sent.

use std::time::Duration;

use sd_notify::NotifyState;

/// How often the supervisor must hear from us, if it has asked for it.
#[derive(Debug, Clone, Copy)]
pub struct Watchdog(Option<Duration>);

impl Watchdog {
    /// The watchdog that systemd asks for in the environment, if it does.
    pub fn of_environment() -> Self {
        Self(sd_notify::watchdog_enabled())
    }

    /// Sends keep-alives to systemd for as long as every serving thread reacts; never returns.
    pub async fn run(self, alive: impl AsyncFn()) {
        let Some(limit) = self.0 else { return std::future::pending().await };
        loop {
            // If a thread hangs, no keep-alive is sent, and systemd restarts the process.
            alive().await;
            tell(&[NotifyState::Watchdog]);
            tokio::time::sleep(limit / 2).await;
        }
    }
}

/// Everything is bound and served.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The drain has begun. It may take `drain_timeout`, and the supervisor must not run out of patience before.
pub fn stopping(drain_timeout: Duration) {
    let patience = drain_timeout + Duration::from_secs(5);
    let micros = u32::try_from(patience.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
}

/// Tells that a reload is under way while `work` is done.
pub fn reloading<T>(work: impl FnOnce() -> T) -> T {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "read the clock for the supervisor"),
    }
    let done = work();
    ready();
    done
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "tell the supervisor");
    }
}
