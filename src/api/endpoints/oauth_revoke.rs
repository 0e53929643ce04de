//! `POST /oauth2/revoke`: the end of a hub API token that the app got (RFC 7009).

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;

use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::extract::ClientAddress;
use crate::api::oauth::{AppForm, OAuthError};
use crate::api::state::ApiState;
use crate::login::hub_token_exchange::RevokedToken;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/oauth2/revoke", CallKind::OAuth, revoke)
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
        RevokedToken::NotOfApp => {
            Err(OAuthError::new("invalid_grant", "this is no token that this app got".to_owned()))
        }
        RevokedToken::NotTold => {
            let wrong =
                "this hub does not tell tokens apart (JupyterHub before 5.0); the token's user can revoke it";
            Err(OAuthError::new("unsupported_token_type", wrong.to_owned()))
        }
    }
}
