//! `POST /oauth2/revoke`: the end of a hub API token that the app got (RFC 7009).

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;

use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::extract::ClientAddress;
use crate::api::oauth::{AppForm, OAuthError};
use crate::api::schema::{open, text, text_of};
use crate::api::shared_responses::{NOT_ALLOWED, OAUTH_BODY, OAUTH_HUB, OAUTH_NO_CLIENT};
use crate::api::state::ApiState;
use crate::login::hub_token_exchange::RevokedToken;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/oauth2/revoke", CallKind::OAuth, revoke, documentation)
}

fn documentation() -> Documentation {
    Documentation::new(
        "hub tokens",
        "revokeHubToken",
        "The end of a hub API token that this app got (RFC 7009)",
    )
    .security(["basic", "key", "hubStyleKey"])
    .takes_form(
        open(["token"])
            .property("token", text())
            .property("token_type_hint", text_of("Not looked at."))
            .property("client_id", text())
            .property("client_secret", text()),
    )
    .answers(StatusCode::OK, ResponseDoc::new("The token is worth nothing, from now on or since before."))
    .answers(
        StatusCode::BAD_REQUEST,
        ResponseDoc::oauth_error(
            "It is not a token that this app got (`invalid_grant`), the hub cannot tell \
            (`unsupported_token_type`), hublatch has no hub token of its own \
            (`unauthorized_client`), or the request is malformed (`invalid_request`).",
        )
        .when_oauth("other", &not_of_app()),
    )
    .fails([&OAUTH_NO_CLIENT, &NOT_ALLOWED])
    .fails(&OAUTH_BODY)
    .fails(&OAUTH_HUB)
}

async fn revoke(
    State(api): State<Arc<ApiState>>,
    ClientAddress(client): ClientAddress,
    AppForm { caller, form }: AppForm,
) -> Result<StatusCode, OAuthError> {
    let token = form.get("token").ok_or_else(|| OAuthError::missing("token"))?;
    if !api.login.hub().has_token() {
        let wrong = "there are no hub tokens here: hub.api_token_file is not configured".to_owned();
        return Err(OAuthError::new("unauthorized_client", wrong));
    }
    let revoked = api.login.hub_tokens.revoke(&caller.app, token, client).await;
    match revoked.map_err(|error| OAuthError::hub(&error))? {
        // RFC 7009 § 2.2: a token that is worth nothing is no error.
        RevokedToken::Dead => Ok(StatusCode::OK),
        RevokedToken::NotOfApp => Err(not_of_app()),
        RevokedToken::NotTold => {
            let wrong =
                "this hub does not tell tokens apart (JupyterHub before 5.0); the token's user can revoke it";
            Err(OAuthError::new("unsupported_token_type", wrong.to_owned()))
        }
    }
}

fn not_of_app() -> OAuthError {
    OAuthError::new("invalid_grant", "this is no token that this app got".to_owned())
}
