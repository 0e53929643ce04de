//! `DELETE /api/v1/users/{name}/links`: makes all of the app's pending links for a user dead.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::api::auth::{Authorized, ToRevoke};
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::{ClientAddress, NameInPath};
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::BodySchema;
use crate::api::shared_responses::{HUB_FAULT, HUB_TIMEOUT, NO_KEY, NOT_ALLOWED, STORE_UNAVAILABLE};
use crate::api::state::ApiState;
use crate::token::UsernameError;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::delete("/api/v1/users/{name}/links", CallKind::Keyed, revoke, documentation)
}

fn documentation() -> Documentation {
    Documentation::new(
        "links",
        "revokeLinksOfUser",
        "Make all pending links of this app for a user dead (scope revoke)",
    )
    .path_parameter("name", "The user's name, percent-encoded.")
    .answers(
        StatusCode::OK,
        ResponseDoc::new("How many there were.")
            .json(BodySchema::inline::<RevokedJson>())
            .example("two", json!({"revoked": 2})),
    )
    .answers(
        StatusCode::BAD_REQUEST,
        ResponseDoc::error("The name is no user name (`invalid_username`).")
            .when("upper", ApiError::Username(UsernameError::UpperCase)),
    )
    .fails([&NO_KEY, &NOT_ALLOWED, &HUB_FAULT, &STORE_UNAVAILABLE, &HUB_TIMEOUT])
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
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
