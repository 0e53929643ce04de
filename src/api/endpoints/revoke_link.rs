//! `DELETE /api/v1/links/{id}`: makes a link of the app dead.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;

use crate::api::auth::{Authorized, ToRevoke};
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::{ClientAddress, LinkInPath};
use crate::api::shared_responses::{
    HUB_FAULT, HUB_TIMEOUT, NO_KEY, NO_SUCH_LINK, NOT_ALLOWED, STORE_UNAVAILABLE,
};
use crate::api::state::ApiState;
use crate::store::Revoked;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::delete("/api/v1/links/{id}", CallKind::Keyed, revoke, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("links", "revokeLink", "Make a link of this app dead (scope revoke)")
        .description("A link that is dead already, or has expired, is 204 again.")
        .path_parameter("id", "The `id` of an issued link.")
        .answers(StatusCode::NO_CONTENT, ResponseDoc::new("The link is dead."))
        .answers(
            StatusCode::CONFLICT,
            ResponseDoc::error("The link was used (`link_used`).").when("used", ApiError::LinkUsed),
        )
        .fails([&NO_KEY, &NOT_ALLOWED, &NO_SUCH_LINK, &HUB_FAULT, &STORE_UNAVAILABLE, &HUB_TIMEOUT])
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
