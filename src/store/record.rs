//! What was granted, as durable and shared stores write it: JSON with a version, and never a token.
//!
//! Only what does not change in the life of a link; where it stands, each store keeps in its own way.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Link;
use crate::token::{KeyId, LoginGrant, ServerName, State, Username};

/// The highest version that is read. One that is higher comes from a newer hublatch and is refused.
pub(super) const VERSION: u32 = 2;
/// The version of a record without a key's id, as they were before there were any. One with an id must not be taken for
/// such a one: an older hublatch would honour it when the key is gone.
const WITHOUT_KEY: u32 = 1;

/// A link's record cannot be believed: nobody is logged in by it.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    /// It is no record, or was altered.
    #[error("the record of a link is damaged")]
    Damaged,
    /// It comes from a newer hublatch.
    #[error(
        "the record of a link was written by a newer hublatch (record version {0}; this one reads up to {VERSION})"
    )]
    Version(u32),
}

/// The unchanging part of a link.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantRecord {
    v: u32,
    username: String,
    app: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
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
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    click_by: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// By the issuer's clock.
    pub(super) issued: Timestamp,
    /// By the issuer's clock.
    pub(super) expires: Timestamp,
}

/// What stays where it is in every version.
#[derive(Deserialize)]
pub(super) struct Versioned {
    v: u32,
}

impl GrantRecord {
    pub(super) fn of(link: &Link) -> Self {
        let grant = &link.grant;
        Self {
            v: if grant.key.is_some() { VERSION } else { WITHOUT_KEY },
            username: grant.username.as_str().to_owned(),
            app: grant.app.clone(),
            key: grant.key.map(|key| key.to_string()),
            next: grant.next.clone(),
            judged_by: grant.judged_by.clone(),
            groups: grant.groups.clone(),
            claims: grant.claims.clone(),
            confirm: grant.confirm,
            state: grant.state.map(|state| state.to_string()),
            launch: grant.launch.as_ref().map(|server| server.as_str().to_owned()),
            session: grant.session.map(|session| session.as_secs()),
            click_by: grant.click_by,
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
        let record: Self = serde_json::from_slice(json).map_err(|_| {
            serde_json::from_slice(json).map_or(RecordError::Damaged, |record: Versioned| record.unreadable())
        })?;
        record.refuse_newer()?;
        Ok(record)
    }

    pub(super) fn refuse_newer(&self) -> Result<(), RecordError> {
        match self.v {
            WITHOUT_KEY..=VERSION => Ok(()),
            v => Err(Versioned { v }.unreadable()),
        }
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
        // If the binding were lost, a link for one browser would work in any.
        let state = self.state.map(|state| State::parse(&state).ok_or(RecordError::Damaged)).transpose()?;
        let launch =
            self.launch.map(|name| ServerName::parse(&name).ok_or(RecordError::Damaged)).transpose()?;
        // And without the key's id, a link would outlive the key that issued it.
        if self.key.is_some() != (self.v == VERSION) {
            return Err(RecordError::Damaged);
        }
        let key = self.key.map(|key| KeyId::parse(&key).ok_or(RecordError::Damaged)).transpose()?;
        let session = self.session.map(std::time::Duration::from_secs);
        let Self { app, next, judged_by, groups, claims, confirm, note, click_by, .. } = self;
        let grant = LoginGrant {
            username,
            app,
            key,
            next,
            judged_by,
            groups,
            claims,
            confirm,
            state,
            launch,
            session,
            click_by,
        };
        Ok((grant, note))
    }
}

impl Versioned {
    /// Why a record of this version cannot be read.
    pub(super) fn unreadable(&self) -> RecordError {
        if self.v > VERSION { RecordError::Version(self.v) } else { RecordError::Damaged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(members: &str) -> Result<LoginGrant, RecordError> {
        let json = format!(
            r#"{{"username":"alice","app":"portal","issued":"2026-01-01T00:00:00Z","expires":"2026-01-01T00:00:30Z",{members}}}"#
        );
        GrantRecord::from_json(json.as_bytes())?.into_grant().map(|(grant, _)| grant)
    }

    #[test]
    fn a_record_from_before_there_were_key_ids_is_as_good_as_ever() {
        assert_eq!(grant(r#""v":1"#).unwrap().key, None);
    }

    #[test]
    fn a_key_id_that_cannot_be_read_is_not_taken_for_none() {
        assert_eq!(grant(r#""v":2,"key":"00000000000000ff""#).unwrap().key, KeyId::parse("00000000000000ff"));
        for damaged in [r#""v":2,"key":"""#, r#""v":2"#, r#""v":1,"key":"00000000000000ff""#] {
            assert!(matches!(grant(damaged), Err(RecordError::Damaged)), "{damaged}");
        }
    }

    #[test]
    fn a_record_of_a_newer_hublatch_is_refused_whatever_is_in_it() {
        for newer in [r#""v":3"#, r#""v":3,"more":true"#] {
            assert!(matches!(grant(newer), Err(RecordError::Version(3))), "{newer}");
        }
        for damaged in [r#""v":2,"more":true"#, r#""v":0"#, r#""v":"3""#] {
            assert!(matches!(grant(damaged), Err(RecordError::Damaged)), "{damaged}");
        }
        let told = grant(r#""v":3"#).unwrap_err().to_string();
        assert!(
            told.ends_with("was written by a newer hublatch (record version 3; this one reads up to 2)"),
            "{told}"
        );
    }
}
