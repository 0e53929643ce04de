//! `POST /oidc/backchannel-logout`: a user's sessions end at the word of whoever signs the app's tokens.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;

use super::end_sessions_of_user::EndedJson;
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::extract::ClientAddress;
use crate::api::oauth::{Form, OAuthError};
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::{BodySchema, open, text};
use crate::api::shared_responses::{NOT_ALLOWED, OAUTH_BODY};
use crate::api::state::ApiState;
use crate::login::{EndError, LogoutTokenError};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/oidc/backchannel-logout", CallKind::Open, log_out, documentation)
}

fn documentation() -> Documentation {
    Documentation::new(
        "sessions",
        "backchannelLogout",
        "End all browser sessions of a user who has logged out at the app's identity provider",
    )
    .description(
        "OpenID Connect Back-Channel Logout 1.0. The logout token is verified as the app's own \
        login tokens are (`jwt` of an app with the scope `end`): `iss`, `aud`, `iat`, `exp` (two \
        minutes at most), `jti` (good once), `sub`, the event of a logout, and no `nonce`. \
        Whatever keeps the sessions from ending is a 400, as the specification wants it.",
    )
    .security([])
    .takes_form(open(["logout_token"]).property("logout_token", text()))
    .answers(StatusCode::OK, ResponseDoc::new("How many there were.").json(BodySchema::inline::<EndedJson>()))
    .answers(
        StatusCode::BAD_REQUEST,
        ResponseDoc::oauth_error(
            "The token does not count, or the sessions could not be ended \
            (`temporarily_unavailable`).",
        )
        .when_oauth("used", &OAuthError::request("the logout token was used already".to_owned())),
    )
    .fails([&NOT_ALLOWED])
    .fails(&OAUTH_BODY)
}

/// Ends the sessions of whom the form's `logout_token` names (`OpenID` Connect Back-Channel Logout 1.0 § 2.5). Whatever keeps
/// them from ending is a 400, as § 2.8 wants it.
async fn log_out(
    State(api): State<Arc<ApiState>>,
    ClientAddress(client): ClientAddress,
    form: Form,
) -> Result<ApiResponse, OAuthError> {
    let token = form.get("logout_token").ok_or_else(|| OAuthError::missing("logout_token"))?;
    let ended = api.login.backchannel_logout.log_out(token, client, &api.shutdown).await;
    let ended = ended.map_err(|error| {
        tracing::warn!(%error, "sessions: a logout token has ended nothing");
        let kind = match error {
            LogoutTokenError::Unverified(_)
            | LogoutTokenError::Used { .. }
            | LogoutTokenError::Scope(_)
            | LogoutTokenError::Username(_)
            | LogoutTokenError::End(EndError::UserNotAllowed { .. } | EndError::NoAssertion) => {
                "invalid_request"
            }
            LogoutTokenError::Keys(_)
            | LogoutTokenError::Store(_)
            | LogoutTokenError::NoRandomness(_)
            | LogoutTokenError::End(_) => "temporarily_unavailable",
        };
        OAuthError::new(kind, error.to_string())
    })?;
    Ok(json_response(StatusCode::OK, &EndedJson { ended: ended.ended }))
}
