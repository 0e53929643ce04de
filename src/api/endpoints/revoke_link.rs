//! `DELETE /api/v1/links/{id}`: makes a link of the app dead.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;

use crate::api::auth::{Authorized, ToRevoke};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::{ClientAddress, LinkInPath};
use crate::api::state::ApiState;
use crate::store::Revoked;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::delete("/api/v1/links/{id}", CallKind::Keyed, revoke)
}

async fn revoke(
    State(api): State<Arc<ApiState>>,
    Authorized { caller, .. }: Authorized<ToRevoke>,
    LinkInPath(id): LinkInPath,
    ClientAddress(client): ClientAddress,
) -> Result<StatusCode, ApiError> {
    match api.login.issuer.revoke(&id, &caller.app, client).await? {
        Revoked::Dead => Ok(StatusCode::NO_CONTENT),
        Revoked::Used => Err(ApiError::LinkUsed),
        Revoked::NotFound => Err(ApiError::NoSuchLink),
    }
}
