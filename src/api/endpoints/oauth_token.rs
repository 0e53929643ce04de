//! `POST /oauth2/token`: a hub API token for a token of the app's own (RFC 8693).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use hyper::StatusCode;
use hyper::header::{HeaderValue, PRAGMA};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::ObjectBuilder;
use zeroize::Zeroizing;

use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::extract::ClientAddress;
use crate::api::oauth::{AppForm, Form, OAuthError, expires_in, scopes};
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::{BodySchema, integer, open, text, text_of, word};
use crate::api::shared_responses::{NOT_ALLOWED, OAUTH_BODY, OAUTH_HUB, OAUTH_NO_CLIENT, OAUTH_REFUSED};
use crate::api::state::ApiState;
use crate::login::hub_token_exchange::{ExchangeError, ExchangeRequest, SubjectTokenType};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// RFC 8693 § 3 leaves other types to URIs of one's own.
const LOGIN_TOKEN: &str = "urn:hublatch:params:oauth:token-type:login_token";

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/oauth2/token", CallKind::OAuth, exchange, documentation)
}

fn documentation() -> Documentation {
    Documentation::new(
        "hub tokens",
        "exchangeForHubToken",
        "A hub API token for a token of the app's own (RFC 8693)",
    )
    .description(
        "For apps with `[apps.hub_tokens]`. The app proves itself by its key: as the password of \
        HTTP Basic with its name, as `client_secret` in the form, or as a Bearer token. \
        `subject_token` is a JWT that the app has signed, or the login token of a link of its \
        own, and is consumed; if there is no 200, it is not, unless it was before. A link that \
        is bound to a browser (`state`), or that asks its user first (`confirm`), is refused.",
    )
    .security(["basic", "key", "hubStyleKey"])
    .takes_form(
        open(["grant_type", "subject_token", "subject_token_type"])
            .property("grant_type", word([TOKEN_EXCHANGE]))
            .property("subject_token", text())
            .property("subject_token_type", word([JWT, LOGIN_TOKEN]))
            .property("requested_token_type", word([ACCESS_TOKEN]))
            .property(
                "scope",
                text_of(
                    "Hub scopes with spaces between them, each within one of the app's; without it, all of \
                    the app's. `!user` stands for the token's user.",
                ),
            )
            .property(
                "expires_in",
                integer()
                    .minimum(Some(1))
                    .description(Some("Seconds; at most the app's `max_lifetime`, which is the default.")),
            )
            .property("client_id", text_of("The app's name."))
            .property("client_secret", text_of("The app's key, unless it comes in a header.")),
    )
    .answers(
        StatusCode::OK,
        ResponseDoc::new("The token. It is shown this once.").json(BodySchema::of::<TokenJson>()).example(
            "token",
            json!({
                "access_token": "0123456789abcdef0123456789abcdef",
                "issued_token_type": ACCESS_TOKEN,
                "token_type": "Bearer",
                "expires_in": 3600,
                "scope": "access:servers!user=alice",
            }),
        ),
    )
    .answers(
        StatusCode::TOO_MANY_REQUESTS,
        ResponseDoc::oauth_error("The app asks faster than its rate (`rate_limited`).")
            .when_oauth("fast", &ExchangeError::RateLimited { retry_after: Duration::from_secs(1) }.into())
            .header("Retry-After", "Seconds.", integer()),
    )
    .fails([&OAUTH_REFUSED, &OAUTH_NO_CLIENT, &NOT_ALLOWED])
    .fails(&OAUTH_BODY)
    .fails(&OAUTH_HUB)
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IssuedHubToken)]
struct TokenJson<'a> {
    /// A hub API token: `Authorization: Bearer` or `token` at the hub and its servers.
    access_token: &'a str,
    #[schema(schema_with = access_token_type)]
    issued_token_type: &'static str,
    #[schema(schema_with = bearer)]
    token_type: &'static str,
    #[schema(minimum = 1)]
    expires_in: u64,
    /// What it may do, with spaces in between.
    scope: String,
}

fn access_token_type() -> ObjectBuilder {
    word([ACCESS_TOKEN])
}

fn bearer() -> ObjectBuilder {
    word(["Bearer"])
}

async fn exchange(
    State(api): State<Arc<ApiState>>,
    ClientAddress(client): ClientAddress,
    AppForm { caller, form }: AppForm,
) -> Result<ApiResponse, OAuthError> {
    demand_token_exchange(&form)?;
    let subject = form.get("subject_token").ok_or_else(|| OAuthError::missing("subject_token"))?;
    let kind = subject_token_type(&form)?;
    refuse_unsupported(&form)?;
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

fn demand_token_exchange(form: &Form) -> Result<(), OAuthError> {
    match form.get("grant_type") {
        Some(TOKEN_EXCHANGE) => Ok(()),
        Some(_) => {
            let wrong = format!("grant_type must be {TOKEN_EXCHANGE}");
            Err(OAuthError::new("unsupported_grant_type", wrong))
        }
        None => Err(OAuthError::missing("grant_type")),
    }
}

fn subject_token_type(form: &Form) -> Result<SubjectTokenType, OAuthError> {
    match form.get("subject_token_type") {
        Some(JWT) => Ok(SubjectTokenType::Jwt),
        Some(LOGIN_TOKEN) => Ok(SubjectTokenType::OpaqueToken),
        Some(_) => Err(OAuthError::request(format!("subject_token_type must be {JWT} or {LOGIN_TOKEN}"))),
        None => Err(OAuthError::missing("subject_token_type")),
    }
}

/// What RFC 8693 knows and hublatch does not.
fn refuse_unsupported(form: &Form) -> Result<(), OAuthError> {
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
    Ok(())
}
