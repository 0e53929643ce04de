//! `DELETE /api/v1/users/{name}/sessions`: all browser sessions of a user end now.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use serde::Serialize;

use crate::api::auth::{Authorized, ToEnd};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::{ClientAddress, NameInPath};
use crate::api::response::{ApiResponse, json_response};
use crate::api::state::ApiState;
use crate::audit::AuditReason;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::delete("/api/v1/users/{name}/sessions", CallKind::Keyed, end)
}

/// How many sessions have ended.
#[derive(Serialize)]
pub(super) struct EndedJson {
    pub(super) ended: usize,
}

/// Ends them: at the hub, at the user's servers, in every replica; and revokes the app's links that wait.
async fn end(
    State(api): State<Arc<ApiState>>,
    Authorized { caller, .. }: Authorized<ToEnd>,
    name: NameInPath,
    ClientAddress(client): ClientAddress,
) -> Result<ApiResponse, ApiError> {
    let username = name.of(&caller.app, &api)?;
    let ended = api.login.session_ender.end(&username, &caller.app, client, AuditReason::Api).await;
    let ended = ended.map_err(ApiError::End)?;
    Ok(json_response(StatusCode::OK, &EndedJson { ended }))
}
