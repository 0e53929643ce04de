//! `POST /oauth2/token`: a hub API token for a token of the app's own (RFC 8693).

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use hyper::header::{HeaderValue, PRAGMA};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::extract::ClientAddress;
use crate::api::oauth::{AppForm, OAuthError, expires_in, scopes};
use crate::api::response::{ApiResponse, json_response};
use crate::api::state::ApiState;
use crate::login::hub_token_exchange::{ExchangeRequest, SubjectTokenType};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// RFC 8693 § 3 leaves other types to URIs of one's own.
const LOGIN_TOKEN: &str = "urn:hublatch:params:oauth:token-type:login_token";

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/oauth2/token", CallKind::OAuth, exchange)
}

#[derive(Serialize)]
struct TokenJson<'a> {
    access_token: &'a str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
    scope: String,
}

async fn exchange(
    State(api): State<Arc<ApiState>>,
    ClientAddress(client): ClientAddress,
    AppForm { caller, form }: AppForm,
) -> Result<ApiResponse, OAuthError> {
    match form.get("grant_type") {
        Some(TOKEN_EXCHANGE) => {}
        Some(_) => {
            let wrong = format!("grant_type must be {TOKEN_EXCHANGE}");
            return Err(OAuthError::new("unsupported_grant_type", wrong));
        }
        None => return Err(OAuthError::missing("grant_type")),
    }
    let subject = form.get("subject_token").ok_or_else(|| OAuthError::missing("subject_token"))?;
    let kind = match form.get("subject_token_type") {
        Some(JWT) => SubjectTokenType::Jwt,
        Some(LOGIN_TOKEN) => SubjectTokenType::OpaqueToken,
        Some(_) => {
            let wrong = format!("subject_token_type must be {JWT} or {LOGIN_TOKEN}");
            return Err(OAuthError::request(wrong));
        }
        None => return Err(OAuthError::missing("subject_token_type")),
    };
    if form.get("requested_token_type").is_some_and(|wanted| wanted != ACCESS_TOKEN) {
        return Err(OAuthError::request(format!("requested_token_type must be {ACCESS_TOKEN}")));
    }
    if form.get("actor_token").or(form.get("actor_token_type")).is_some() {
        return Err(OAuthError::request(
            "there is no acting for another here: leave actor_token out".to_owned(),
        ));
    }
    if form.get("resource").or(form.get("audience")).is_some() {
        // RFC 8693 § 2.2.2.
        return Err(OAuthError::new(
            "invalid_target",
            "tokens are for the hub alone: leave it out".to_owned(),
        ));
    }
    let request = ExchangeRequest {
        caller,
        subject: Zeroizing::new(subject.to_owned()),
        kind,
        scopes: form.get("scope").map(scopes).transpose()?,
        expires_in: expires_in(&form)?,
        client,
    };
    let issued = api.login.hub_tokens.exchange(request, &api.shutdown).await?;
    let json = TokenJson {
        access_token: &issued.token,
        issued_token_type: ACCESS_TOKEN,
        token_type: "Bearer",
        expires_in: issued.expires_in.as_secs(),
        scope: issued.scopes.join(" "),
    };
    let mut response = json_response(StatusCode::OK, &json);
    // RFC 6749 § 5.1; Cache-Control is on every response of this API.
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    issued.mark_delivered();
    Ok(response)
}
