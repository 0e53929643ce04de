//! `POST /oauth2/token` (RFC 8693) and `POST /oauth2/revoke` (RFC 7009): hub API tokens for an app's own, and their end.
//!
//! The app proves itself by its key (RFC 6749 § 2.3.1): as the password of HTTP Basic with its name, as `client_secret` in
//! the form, or as a Bearer token as everywhere in this API; one way at a time. Errors are those of RFC 6749 § 5.2, with
//! the members of this API's other errors beside them.

mod error;
mod form;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, PRAGMA};
use serde::Serialize;
use zeroize::Zeroizing;

use super::trace::CallTrace;
use super::{ApiResponse, json_response};
use crate::login::LoginServices;
use crate::login::hub_token_exchange::{ExchangeRequest, RevokedToken, SubjectTokenType};
use crate::shutdown::Shutdown;

pub(super) use error::OAuthError;
pub(super) use form::{Form, basic_credentials};
use form::{authenticate, expires_in, scopes};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// RFC 8693 § 3 leaves other types to URIs of one's own.
const LOGIN_TOKEN: &str = "urn:hublatch:params:oauth:token-type:login_token";

#[derive(Serialize)]
struct TokenJson<'a> {
    access_token: &'a str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
    scope: String,
}

/// `POST /oauth2/token`
pub(super) async fn token(
    login: &Arc<LoginServices>,
    shutdown: &Shutdown,
    (headers, form): (&HeaderMap, Form),
    client: Option<IpAddr>,
    trace: &CallTrace,
) -> Result<ApiResponse, OAuthError> {
    let caller = authenticate(login, headers, &form)?;
    trace.authenticated(&caller);
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
    let issued = login.hub_tokens.exchange(request, shutdown).await?;
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

/// `POST /oauth2/revoke`
pub(super) async fn revoke(
    login: &LoginServices,
    (headers, form): (&HeaderMap, Form),
    client: Option<IpAddr>,
    trace: &CallTrace,
) -> Result<ApiResponse, OAuthError> {
    let caller = authenticate(login, headers, &form)?;
    trace.authenticated(&caller);
    let token = form.get("token").ok_or_else(|| OAuthError::missing("token"))?;
    if !login.hub().has_token() {
        let wrong = "there are no hub tokens here: hub.api_token_file is not configured".to_owned();
        return Err(OAuthError::new("unauthorized_client", wrong));
    }
    match login
        .hub_tokens
        .revoke(&caller.app, token, client)
        .await
        .map_err(|error| OAuthError::hub(&error))?
    {
        // RFC 7009 § 2.2: a token that is worth nothing is no error.
        RevokedToken::Dead => Ok(ApiResponse::new(Full::new(Bytes::new()))),
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
