//! `DELETE /api/v1/users/{name}/links`: makes all of the app's pending links for a user dead.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use serde::Serialize;

use crate::api::auth::{Authorized, ToRevoke};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::{ClientAddress, NameInPath};
use crate::api::response::{ApiResponse, json_response};
use crate::api::state::ApiState;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::delete("/api/v1/users/{name}/links", CallKind::Keyed, revoke)
}

#[derive(Serialize)]
struct RevokedJson {
    revoked: usize,
}

async fn revoke(
    State(api): State<Arc<ApiState>>,
    Authorized { caller, .. }: Authorized<ToRevoke>,
    name: NameInPath,
    ClientAddress(client): ClientAddress,
) -> Result<ApiResponse, ApiError> {
    let username = name.of(&caller.app, &api)?;
    let revoked = api.login.issuer.revoke_user(&username, &caller.app, client).await?;
    Ok(json_response(StatusCode::OK, &RevokedJson { revoked }))
}
