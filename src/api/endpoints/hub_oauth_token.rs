//! `POST /hub-oauth/token`: what the hub gets for the code that hublatch has given it at a login.
//!
//! For the hub alone: it proves itself by the client's secret (RFC 6749 § 2.3.1), and there is nothing here for a browser.
//! Unknown parameters are ignored, as RFC 6749 § 3.2 asks (oauthenticator 16 sends `data=None`).

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, PRAGMA};
use utoipa::openapi::schema::ObjectBuilder;

use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::HubOAuthProvider;
use crate::api::oauth::{BASIC_CHALLENGE, Form, OAuthError, basic_credentials};
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::{BodySchema, closed, integer, open, text, text_of, word};
use crate::api::shared_responses::{NO_HUB_OAUTH, NOT_ALLOWED, OAUTH_BODY, OAUTH_HUB, OAUTH_NO_CLIENT};
use crate::login::hub_oauth::{HubOAuth, HubOAuthError};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/hub-oauth/token", CallKind::Open, token, documentation)
}

fn documentation() -> Documentation {
    Documentation::new(
        "hub oauth",
        "hubOAuthToken",
        "Tokens for the code that the hub was given (RFC 6749 § 4.1.3)",
    )
    .description(
        "For the hub's own `GenericOAuthenticator`; only with `[hub_oauth]`, else 404. The hub \
        proves itself by the client's id and secret, in the form or as HTTP Basic. A code works \
        once, for ten seconds, and only with the redirect URI and the PKCE verifier of its \
        login.",
    )
    .security(["basic"])
    .or_in_the_body()
    .takes_form(
        open(["grant_type", "code", "redirect_uri"])
            .property("grant_type", word(["authorization_code"]))
            .property("code", text())
            .property("redirect_uri", text())
            .property("code_verifier", text())
            .property("client_id", text())
            .property("client_secret", text()),
    )
    .answers(
        StatusCode::OK,
        ResponseDoc::new("The tokens.").json(BodySchema::named("HubOAuthTokens", tokens_schema())),
    )
    .answers(
        StatusCode::BAD_REQUEST,
        ResponseDoc::oauth_error(
            "The code is unknown, used, over, or was made for another request (`invalid_grant`), \
            another grant is asked for (`unsupported_grant_type`), or the request is malformed \
            (`invalid_request`).",
        )
        .when_oauth("used", &HubOAuthError::InvalidGrant.into()),
    )
    .fails([&OAUTH_NO_CLIENT, &NOT_ALLOWED, &NO_HUB_OAUTH])
    .fails(&OAUTH_BODY)
    .fails([&OAUTH_HUB[1]])
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
    let (id, secret) = match (form.get("client_secret"), basic_credentials(headers)) {
        (Some(_), Some(_)) => {
            let twice = "the secret is there twice: in the header and in the form".to_owned();
            return Err(OAuthError::request(twice));
        }
        (Some(secret), None) => {
            (form.get("client_id").unwrap_or_default().to_owned(), secret.to_owned().into())
        }
        (None, Some(credentials)) => credentials,
        (None, None) => return Err(OAuthError::no_client(BASIC_CHALLENGE)),
    };
    provider.authenticate(&id, &secret).map_err(|_| OAuthError::no_client(BASIC_CHALLENGE))
}

impl From<HubOAuthError> for OAuthError {
    fn from(error: HubOAuthError) -> Self {
        match error {
            HubOAuthError::InvalidGrant => Self::new("invalid_grant", error.to_string()),
            HubOAuthError::InvalidClient => Self::no_client(BASIC_CHALLENGE),
            HubOAuthError::Store(error) => ApiError::from(error).into(),
            HubOAuthError::Misconfigured(_)
            | HubOAuthError::NoRandomness(_)
            | HubOAuthError::Sign(_)
            | HubOAuthError::Key => Self::unavailable(error.to_string()),
        }
    }
}

fn tokens_schema() -> ObjectBuilder {
    closed(["access_token", "token_type", "expires_in", "id_token", "scope"])
        .property("access_token", text())
        .property("token_type", word(["Bearer"]))
        .property(
            "expires_in",
            integer().description(Some("Seconds; where the hub keeps auth state, the life of its session.")),
        )
        .property("id_token", text_of("A JWT by RS256."))
        .property("scope", word(["openid"]))
}
