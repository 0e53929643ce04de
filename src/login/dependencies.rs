//! What the services of this folder are given at the start and keep when the configuration changes.

use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom;

use super::application_client::ApplicationClient;
use super::recorder::Recorder;
use crate::audit::Audit;
use crate::clock::{Clock, Moment};
use crate::metrics::Metrics;
use crate::store::TokenStore;

/// What the services of this folder are made of.
#[derive(Clone)]
pub struct LoginDependencies {
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn SecureRandom + Send + Sync>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) application_client: Arc<ApplicationClient>,
    /// When this process began to remember.
    pub(super) started: Moment,
}

impl LoginDependencies {
    /// Links are kept in `store`, the time comes from `clock`, and what happens is written to `audit` and `metrics`.
    pub fn new(
        store: Arc<dyn TokenStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom + Send + Sync>,
        audit: Arc<Audit>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let started = clock.now();
        let recorder = Arc::new(Recorder::new(audit, metrics, Arc::clone(&clock)));
        Self { store, clock, random, recorder, application_client: Arc::default(), started }
    }
}

impl std::fmt::Debug for LoginDependencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginDependencies").field("started", &self.started).finish_non_exhaustive()
    }
}
