//! What was granted, as durable and shared stores write it: JSON with a version, and never a token.
//!
//! Only what does not change in the life of a link; where it stands, each store keeps in its own way.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Link;
use crate::token::{LoginGrant, ServerName, State, Username};

/// The version that is written. One that is higher comes from a newer hublatch and is refused.
const VERSION: u32 = 1;

/// A link's record cannot be believed: nobody is logged in by it.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    /// It is no record, or was altered.
    #[error("the record of a link is damaged")]
    Damaged,
    /// It comes from a newer hublatch.
    #[error("the record of a link has version {0}; this hublatch reads up to version {VERSION}")]
    Version(u32),
}

/// The unchanging part of a link.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    v: u32,
    username: String,
    app: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judged_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claims: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    confirm: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    launch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// By the issuer's clock.
    pub(super) issued: Timestamp,
    /// By the issuer's clock.
    pub(super) expires: Timestamp,
}

/// Looked at before all else: what follows it may change with the version.
#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

impl Record {
    pub(super) fn of(link: &Link) -> Self {
        let grant = &link.grant;
        Self {
            v: VERSION,
            username: grant.username.as_str().to_owned(),
            app: grant.app.clone(),
            next: grant.next.clone(),
            judged_by: grant.judged_by.clone(),
            groups: grant.groups.clone(),
            claims: grant.claims.clone(),
            confirm: grant.confirm,
            state: grant.state.map(|state| state.to_string()),
            launch: grant.launch.as_ref().map(|server| server.as_str().to_owned()),
            note: link.note.clone(),
            issued: link.issued.wall,
            expires: link.expires.wall,
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // Texts, flags, lists and maps with text keys: writing them cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn from_json(json: &[u8]) -> Result<Self, RecordError> {
        let Versioned { v } = serde_json::from_slice(json).map_err(|_| RecordError::Damaged)?;
        if v != VERSION {
            return Err(RecordError::Version(v));
        }
        serde_json::from_slice(json).map_err(|_| RecordError::Damaged)
    }

    pub(super) fn refuse_other_version(&self) -> Result<(), RecordError> {
        if self.v == VERSION { Ok(()) } else { Err(RecordError::Version(self.v)) }
    }

    pub(super) fn username(&self) -> &str {
        &self.username
    }

    pub(super) fn app(&self) -> &str {
        &self.app
    }

    /// The grant and the app's remark.
    pub(super) fn into_grant(self) -> Result<(LoginGrant, Option<String>), RecordError> {
        let username = Username::from_store(&self.username).ok_or(RecordError::Damaged)?;
        // A link that is bound to a browser must not come back as one that works in any.
        let state = self.state.map(|state| State::parse(&state).ok_or(RecordError::Damaged)).transpose()?;
        let launch =
            self.launch.map(|name| ServerName::parse(&name).ok_or(RecordError::Damaged)).transpose()?;
        let Self { app, next, judged_by, groups, claims, confirm, note, .. } = self;
        Ok((LoginGrant { username, app, next, judged_by, groups, claims, confirm, state, launch }, note))
    }
}
