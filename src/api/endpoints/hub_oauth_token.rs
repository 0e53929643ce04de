//! `POST /hub-oauth/token`: what the hub gets for the code that hublatch has given it at a login.
//!
//! For the hub alone: it proves itself by the client's secret (RFC 6749 § 2.3.1), and there is nothing here for a browser.
//! Unknown parameters are ignored, as RFC 6749 § 3.2 asks (oauthenticator 16 sends `data=None`).

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, PRAGMA};

use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::HubOAuthProvider;
use crate::api::oauth::{Form, OAuthError, basic_credentials};
use crate::api::response::{ApiResponse, json_response};
use crate::login::hub_oauth::{HubOAuth, HubOAuthError};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/hub-oauth/token", CallKind::Open, token)
}

async fn token(
    HubOAuthProvider(provider): HubOAuthProvider,
    headers: HeaderMap,
    form: Form,
) -> Result<ApiResponse, OAuthError> {
    authenticate(&provider, &headers, &form)?;
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
