//! `POST /api/v1/verify`: whose a hub token is, for other programs.
//!
//! No key of the caller's: who has a token may ask the hub itself, and is told the same.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use serde::Serialize;

use crate::api::body::JsonBody;
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::response::{ApiResponse, json_response};
use crate::api::state::ApiState;
use crate::hub::{OwnerKind, TokenOwner};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/api/v1/verify", CallKind::Open, verify)
}

/// Whose a token is.
#[derive(Serialize)]
pub(super) struct OwnerJson<'a> {
    name: &'a str,
    kind: OwnerKind,
    groups: &'a [String],
    scopes: &'a [String],
}

impl<'a> OwnerJson<'a> {
    pub(super) fn of(owner: &'a TokenOwner) -> Self {
        Self { name: &owner.name, kind: owner.kind, groups: &owner.groups, scopes: &owner.scopes }
    }
}

async fn verify(State(api): State<Arc<ApiState>>, body: JsonBody) -> Result<ApiResponse, ApiError> {
    let token = body.token()?;
    let policy = api.login.policy();
    let checks = policy.applications.token_checks().ok_or(ApiError::NoHubTokens)?;
    let owner = checks.owner(&token).await.map_err(ApiError::Hub)?.ok_or(ApiError::NoSuchToken)?;
    Ok(json_response(StatusCode::OK, &OwnerJson::of(&owner)))
}
