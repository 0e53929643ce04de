//! Replacing the configuration of a running hublatch: all of it, or nothing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::snapshot::{ActiveConfig, Live, SharedState, Snapshot};
use super::{StartError, audit_sink};
use crate::config::{Config, Faults, Unchangeable};
use crate::metrics::{Reason, ResultLabel};
use crate::reloads::ReloadResult;
use crate::shutdown::Shutdown;

/// Replaces the configuration.
pub struct Reloader {
    live: Live,
    state: SharedState,
    active: Mutex<ActiveConfig>,
    /// Whether the configuration says where the audit goes.
    own_audit: bool,
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader").field("live", &self.live).finish_non_exhaustive()
    }
}

/// Why the old configuration stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The new one is no configuration.
    #[error("{0}")]
    Faults(Faults),
    /// It has other addresses.
    #[error("{} cannot change while hublatch runs: restart it, or write the old value", .0.join(", "))]
    Addresses(Vec<&'static str>),
    /// A part of it cannot be made.
    #[error(transparent)]
    Part(#[from] StartError),
}

impl Reloader {
    pub(super) fn new(
        snapshot: Snapshot,
        state: SharedState,
        management_shutdown: Shutdown,
        own_audit: bool,
    ) -> Self {
        let (live, active) = Live::new(snapshot, &state, management_shutdown);
        Self { live, state, active: Mutex::new(active), own_audit }
    }

    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// Waits until the audit has been written so far.
    pub fn flush_audit(&self) {
        self.state.audit.flush();
    }

    /// How long a drain may take by the configuration in force.
    pub fn drain_timeout(&self) -> Duration {
        self.live.drain_timeout()
    }

    /// Puts what was `read` in force, or logs why it cannot be.
    ///
    /// Requests under way, and connections with their limits and their encryption, end as they began; each request that
    /// comes after this is answered by the new configuration, whatever connection it comes over.
    pub fn reload(&self, read: Result<Config, Faults>) -> Result<(), ReloadError> {
        let outcome = read.map_err(ReloadError::Faults).and_then(|config| self.replace(config));
        let now = self.state.clock.wall();
        let result = match &outcome {
            Ok(needs_restart) => {
                self.state.reloads.reloaded(now, needs_restart.clone());
                ReloadResult::Reloaded
            }
            Err(error) => {
                let faults = tell(error);
                self.state.reloads.refused(now, faults);
                ReloadResult::Refused
            }
        };
        self.state.metrics.last_reload_success.set(i64::from(result == ReloadResult::Reloaded));
        self.state.metrics.reloads.get_or_create(&ResultLabel { result: Reason(result.word()) }).inc();
        outcome.map(|_| ())
    }

    /// Puts `config` in force, and answers what of it cannot be.
    fn replace(&self, mut config: Config) -> Result<Vec<&'static str>, ReloadError> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let old = &active.config;
        let Unchangeable { refused, kept } = old.unchangeable(&config);
        if !refused.is_empty() {
            return Err(ReloadError::Addresses(refused));
        }
        config.carry_over(old);
        let warnings: Vec<String> =
            config.warnings.iter().filter(|warning| !old.warnings.contains(warning)).cloned().collect();
        let audit = self.own_audit.then(|| audit_sink(&config.log.audit)).transpose()?;
        let required = config.log.audit_required;
        let snapshot = active.next(config, &self.state)?;
        // From here on nothing can fail. The audit file is opened anew even if its name is the same: somebody may have
        // moved it away (logrotate).
        if let Some(audit) = audit {
            self.state.audit.set(audit);
        }
        self.state.audit.set_required(required);
        *active = self.live.replace(snapshot);
        if let Some(routes) = &self.state.routes {
            routes.pin_to(&active.config.hub);
        }
        tracing::info!("reloaded");
        for key in &kept {
            tracing::warn!(key, "this key was changed and keeps its old value until a restart");
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(kept)
    }
}

/// One line for each fault; answers how many there are.
fn tell(error: &ReloadError) -> usize {
    match error {
        ReloadError::Faults(faults) => {
            for fault in faults {
                tracing::error!(%fault, "reload refused");
            }
            faults.iter().len()
        }
        ReloadError::Addresses(_) | ReloadError::Part(_) => {
            tracing::error!(fault = %error, "reload refused");
            1
        }
    }
}
