//! Which `JupyterHub` the hub is, for what differs between its versions.

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::ACCEPT;
use serde::Deserialize;

use super::{Call, HubClient, HubError};

/// How long the answer is believed: a hub is seldom replaced, and says no itself to what it does not take.
const MAX_AGE: Duration = Duration::from_mins(1);
/// The first version that takes only slugs as server names.
const SLUGS_SINCE: u32 = 6;

/// What the hub has said.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownVersion {
    major: u32,
    at: Instant,
}

#[derive(Deserialize)]
struct VersionJson {
    version: String,
}

impl HubClient {
    /// Whether the hub takes only slugs as names of servers, as `JupyterHub` does from 6 on. Needs no token.
    pub async fn takes_only_slugs(&self) -> Result<bool, HubError> {
        Ok(self.major_version().await? >= SLUGS_SINCE)
    }

    async fn major_version(&self) -> Result<u32, HubError> {
        let known = self.version.load_full().filter(|known| known.at.elapsed() < MAX_AGE);
        if let Some(known) = known {
            return Ok(known.major);
        }
        let call = Call::ReadVersion;
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // The hub has this page with a slash at its end, and only so.
            path.pop_if_empty().push("");
        }
        let request = self.client.request(Method::GET, url).header(ACCEPT, "application/json");
        let answer = self.call(call, request).await?;
        let VersionJson { version } = answer.json()?;
        let major = version.split('.').next().and_then(|major| major.parse().ok());
        let major = major.ok_or_else(|| answer.unreadable())?;
        self.version.store(Some(std::sync::Arc::new(KnownVersion { major, at: Instant::now() })));
        Ok(major)
    }
}
