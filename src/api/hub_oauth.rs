//! `/hub-oauth/…`: where the hub's own OAuth login asks, with the code that hublatch has given it, who is logged in.
//!
//! For the hub alone: it proves itself by the client's secret (RFC 6749 § 2.3.1), and there is nothing here for a browser.
//! Unknown parameters are ignored, as RFC 6749 § 3.2 asks (oauthenticator 16 sends `data=None`).

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, PRAGMA, WWW_AUTHENTICATE};
use serde_json::Value;

use super::auth;
use super::error::ApiError;
use super::oauth::{Form, OAuthError, basic_credentials};
use super::response::{ApiResponse, json_response};
use crate::login::hub_oauth::{HubOAuth, HubOAuthError};

/// `POST /hub-oauth/token`
pub(super) async fn token(
    provider: &HubOAuth,
    headers: &HeaderMap,
    form: Form,
) -> Result<ApiResponse, OAuthError> {
    authenticate(provider, headers, &form)?;
    match form.get("grant_type") {
        Some("authorization_code") => {}
        Some(_) => {
            let wrong = "grant_type must be authorization_code".to_owned();
            return Err(OAuthError::new("unsupported_grant_type", wrong));
        }
        None => return Err(OAuthError::missing("grant_type")),
    }
    let code = form.get("code").ok_or_else(|| OAuthError::missing("code"))?;
    let redirect_uri = form.get("redirect_uri").ok_or_else(|| OAuthError::missing("redirect_uri"))?;
    let tokens = provider.redeem_code(code, redirect_uri, form.get("code_verifier")).await?;
    let mut response = json_response(StatusCode::OK, &tokens);
    // RFC 6749 § 5.1; Cache-Control is on every response of this API.
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// `GET /hub-oauth/userinfo`
pub(super) fn userinfo(provider: &HubOAuth, headers: &HeaderMap) -> Result<ApiResponse, ApiError> {
    let token = auth::key(headers)?;
    let Some(info) = provider.userinfo(token) else {
        // RFC 6750 § 3.1: the session is over, and the hub sends its user to the login.
        let mut response = ApiError::Unauthenticated { key_given: true }.into_response();
        let challenge = HeaderValue::from_static("Bearer realm=\"hublatch\", error=\"invalid_token\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return Ok(response);
    };
    Ok(json_response(StatusCode::OK, &info))
}

/// `GET /hub-oauth/jwks`
pub(super) fn jwks(provider: &HubOAuth) -> Result<ApiResponse, ApiError> {
    let keys: Value = provider.jwks().map_err(|_| ApiError::NoSuchPath)?;
    Ok(json_response(StatusCode::OK, &keys))
}

/// `GET /.well-known/openid-configuration`
pub(super) fn discovery(provider: &HubOAuth) -> ApiResponse {
    json_response(StatusCode::OK, &provider.discovery())
}

/// The client's id and secret, in the form or as HTTP Basic; one way at a time.
fn authenticate(provider: &HubOAuth, headers: &HeaderMap, form: &Form) -> Result<(), OAuthError> {
    let challenge = "Basic realm=\"hublatch\"";
    let (id, secret) = match (form.get("client_secret"), basic_credentials(headers)) {
        (Some(_), Some(_)) => {
            let twice = "the secret is there twice: in the header and in the form".to_owned();
            return Err(OAuthError::request(twice));
        }
        (Some(secret), None) => {
            (form.get("client_id").unwrap_or_default().to_owned(), secret.to_owned().into())
        }
        (None, Some(credentials)) => credentials,
        (None, None) => return Err(OAuthError::no_client(challenge)),
    };
    provider.authenticate(&id, &secret).map_err(|_| OAuthError::no_client(challenge))
}

impl From<HubOAuthError> for OAuthError {
    fn from(error: HubOAuthError) -> Self {
        match error {
            HubOAuthError::InvalidGrant => Self::new("invalid_grant", error.to_string()),
            HubOAuthError::InvalidClient => Self::no_client("Basic realm=\"hublatch\""),
            HubOAuthError::Store(error) => ApiError::from(error).into(),
            HubOAuthError::Misconfigured(_)
            | HubOAuthError::NoRandomness(_)
            | HubOAuthError::Sign(_)
            | HubOAuthError::Key => Self::unavailable(error.to_string()),
        }
    }
}
