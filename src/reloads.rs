//! What has come of reading the configuration again: for `/api/v1/info`.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::{PartialSchema as _, ToSchema};

/// The configuration in force, and the last attempt to replace it.
#[derive(Debug)]
pub struct Reloads(Mutex<ReloadState>);

/// What `/api/v1/info` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(description = "The configuration in force, and the last attempt to replace it.")]
pub struct ReloadState {
    /// When the configuration in force was read.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Keys that were changed and keep their old value until a restart.
    pub needs_restart: Vec<&'static str>,
    /// The last attempt to read it again, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = ReloadAttempt::schema)]
    pub last_reload: Option<ReloadAttempt>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(description = "Absent if there was none since the start.")]
pub struct ReloadAttempt {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `refused`: the old configuration stays in force.
    #[schema(schema_with = result_schema)]
    pub result: ReloadResult,
    /// How many faults were found; the log tells them.
    pub faults: usize,
}

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadResult {
    /// The new configuration is in force.
    Reloaded,
    /// The old one stays in force.
    Refused,
}

/// The words of [`ReloadResult`], and what one of them means.
fn result_schema() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some([ReloadResult::Reloaded, ReloadResult::Refused].map(ReloadResult::word)))
        .description(Some("`refused`: the old configuration stays in force."))
}

impl ReloadResult {
    /// The word for logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reloaded => "reloaded",
            Self::Refused => "refused",
        }
    }
}

impl Reloads {
    /// The configuration has been in force since `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(Mutex::new(ReloadState { since: start, needs_restart: Vec::new(), last_reload: None }))
    }

    /// Another configuration is in force, but for these keys.
    pub fn reloaded(&self, at: Timestamp, needs_restart: Vec<&'static str>) {
        let last_reload = Some(ReloadAttempt { at, result: ReloadResult::Reloaded, faults: 0 });
        *self.lock() = ReloadState { since: at, needs_restart, last_reload };
    }

    /// The old one stays in force because of so many faults.
    pub fn refused(&self, at: Timestamp, faults: usize) {
        self.lock().last_reload = Some(ReloadAttempt { at, result: ReloadResult::Refused, faults });
    }

    /// How things stand.
    pub fn state(&self) -> ReloadState {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ReloadState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
