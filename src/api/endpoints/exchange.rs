//! `POST /login`: a token for a user name, as in `JupyterHub`'s forced-login example. The token itself is the secret.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::api::body::JsonBody;
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::ClientAddress;
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::{self, BodySchema};
use crate::api::shared_responses::{BAD_FIELD, NOT_JSON, STORE_UNAVAILABLE, TOO_LARGE, TOO_SLOW, refused};
use crate::api::state::ApiState;
use crate::audit::{AuditReason, Client};
use crate::config::Confirm;
use crate::login::{RedeemRequest, Refusal, RefusalReason};
use crate::token::OpaqueToken;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/login", CallKind::Open, exchange, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("exchange", "exchangeToken", "Consume a token for the user's name")
        .description(
            "What JupyterHub's own forced-login example calls: its authenticator works against this \
            unchanged. No key: the token is the secret. The rules are those of a redeeming browser; \
            a link that asks its user first is 403, not consumed.",
        )
        .security([])
        .takes_json(
            schema::token(),
            [("token", json!({"token": "hl_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"}))],
        )
        .answers(
            StatusCode::OK,
            ResponseDoc::new("Whose token it was. It is worth nothing from now on.")
                .json(BodySchema::inline::<NameJson<'_>>())
                .example("alice", json!({"name": "alice"})),
        )
        .answers(
            StatusCode::BAD_REQUEST,
            ResponseDoc::error(
                "The token has expired (`expired`), its `next` is bad today (`invalid_next`), or the \
                body is not JSON (`invalid_json`).",
            )
            .when("expired", ApiError::Refused(refused(RefusalReason::Expired))),
        )
        .answers(
            StatusCode::FORBIDDEN,
            ResponseDoc::error(
                "Today's rules of the app do not allow this login (`not_allowed`), its user must be \
                asked (`confirm_required`), the link belongs to one browser (`bound`) or would have to \
                (`needs_state`), or a browser sent the request (`browser_request`).",
            )
            .when("confirm", ApiError::ConfirmRequired),
        )
        .answers(
            StatusCode::NOT_FOUND,
            ResponseDoc::error(
                "The token is not known (`unknown`), was used (`used`) or revoked (`revoked`; also when \
                the key that issued its link was removed from the configuration).",
            )
            .when("used", ApiError::Refused(refused(RefusalReason::Used))),
        )
        .fails([&TOO_SLOW, &TOO_LARGE, &NOT_JSON, &BAD_FIELD, &STORE_UNAVAILABLE])
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
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
