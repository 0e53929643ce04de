//! `POST /login`: a token for a user name, as in `JupyterHub`'s forced-login example. The token itself is the secret.

use hyper::StatusCode;
use serde::Serialize;

use super::body::JsonBody;
use super::error::{ApiError, FaultPlace};
use super::member_error::{MemberError, MemberFault};
use super::{ApiResponse, json_response};
use crate::audit::{AuditReason, Client};
use crate::config::Confirm;
use crate::login::{LoginServices, RedeemRequest, Refusal};
use crate::token::OpaqueToken;

#[derive(Serialize)]
struct NameJson<'a> {
    name: &'a str,
}

/// Consumes the token and answers whose it was, by the same rules as a redeeming browser.
pub(super) async fn exchange(
    login: &LoginServices,
    mut body: JsonBody,
    client: Client<'_>,
) -> Result<ApiResponse, ApiError> {
    let at_body = |error| ApiError::member(FaultPlace::Body, error);
    let text = body.members.text("token").map_err(at_body)?;
    let text = text.ok_or_else(|| at_body(MemberError::new("token", MemberFault::Missing)))?;
    body.members.end().map_err(at_body)?;
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
