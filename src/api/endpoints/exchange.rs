//! `POST /login`: a token for a user name, as in `JupyterHub`'s forced-login example. The token itself is the secret.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use serde::Serialize;

use crate::api::body::JsonBody;
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::ClientAddress;
use crate::api::response::{ApiResponse, json_response};
use crate::api::state::ApiState;
use crate::audit::{AuditReason, Client};
use crate::config::Confirm;
use crate::login::{RedeemRequest, Refusal};
use crate::token::OpaqueToken;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/login", CallKind::Open, exchange)
}

#[derive(Serialize)]
struct NameJson<'a> {
    name: &'a str,
}

/// Consumes the token and answers whose it was, by the same rules as a redeeming browser.
async fn exchange(
    State(api): State<Arc<ApiState>>,
    ClientAddress(client): ClientAddress,
    body: JsonBody,
) -> Result<ApiResponse, ApiError> {
    let (login, client) = (&api.login, Client::at(client));
    let text = body.token()?;
    let refused = |refusal: Refusal| {
        login.recorder.refused(&refusal, client);
        ApiError::Refused(refusal)
    };
    let token = OpaqueToken::parse(&text).ok_or_else(|| refused(Refusal::unknown()))?;
    let validated = login.redeemer.validate_opaque(&token, RedeemRequest::default()).await;
    let validated = validated.map_err(refused)?;
    // No browser is here, so a link that is bound to one has been refused above.
    // Nobody can be asked here, and what the app or the operator wants asked is not skipped.
    if validated.needs_confirmation() || login.rules().confirm == Confirm::Always {
        login.recorder.refused_for(AuditReason::ConfirmRequired, Some(validated.link()), client);
        return Err(ApiError::ConfirmRequired);
    }
    let user = login.redeemer.consume(validated, client).await.map_err(refused)?;
    Ok(json_response(StatusCode::OK, &NameJson { name: user.username().as_str() }))
}
