//! `DELETE /api/v1/users/{name}/sessions`: all browser sessions of a user end now.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::api::auth::{Authorized, ToEnd};
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::{ClientAddress, NameInPath};
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::BodySchema;
use crate::api::shared_responses::{HUB_FAULT, HUB_TIMEOUT, NO_KEY, NOT_ALLOWED, STORE_UNAVAILABLE};
use crate::api::state::ApiState;
use crate::audit::AuditReason;
use crate::login::EndError;
use crate::token::UsernameError;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::delete("/api/v1/users/{name}/sessions", CallKind::Keyed, end, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("sessions", "endSessionsOfUser", "End all browser sessions of a user now (scope end)")
        .description(
            "At the hub, at the user's servers (tunnels and event streams close), in every replica; \
            and the app's links for the user that wait are dead. API tokens, kernels and servers of \
            the user live on. Needs `[assertion]` and our authenticator at the hub; when the hub or \
            the store does not do it, an error says so, and the call can be repeated. Whoever repeats \
            it is told the sessions of the first call as well: `ended` counts the last ten minutes.",
        )
        .path_parameter("name", "The user's name, percent-encoded.")
        .answers(
            StatusCode::OK,
            ResponseDoc::new("How many there were.")
                .json(BodySchema::inline::<EndedJson>())
                .example("two", json!({"ended": 2})),
        )
        .answers(
            StatusCode::BAD_REQUEST,
            ResponseDoc::error("The name is no user name (`invalid_username`).")
                .when("upper", ApiError::Username(UsernameError::UpperCase)),
        )
        .answers(
            StatusCode::NOT_IMPLEMENTED,
            ResponseDoc::error("There is no `[assertion]`, so the hub cannot be told (`no_assertion`).")
                .when("bare", ApiError::End(EndError::NoAssertion)),
        )
        .fails([&NO_KEY, &NOT_ALLOWED, &HUB_FAULT, &STORE_UNAVAILABLE, &HUB_TIMEOUT])
}

/// How many sessions have ended.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
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
    let sessions = &api.login.session_ender;
    let ended = sessions.end(&username, &caller.app, client, AuditReason::Api, &api.shutdown).await;
    let ended = ended.map_err(ApiError::End)?;
    Ok(json_response(StatusCode::OK, &EndedJson { ended }))
}
