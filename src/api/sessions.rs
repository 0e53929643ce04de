//! `DELETE /api/v1/users/{name}/sessions`: all browser sessions of a user end now. `POST /oidc/backchannel-logout`: the same,
//! at the word of whoever signs the app's tokens.

use std::net::IpAddr;

use hyper::StatusCode;
use serde::Serialize;

use super::error::ApiError;
use super::oauth::{Form, OAuthError};
use super::{ApiResponse, json_response};
use crate::audit::AuditReason;
use crate::config::App;
use crate::login::{EndError, LoginServices, LogoutTokenError};
use crate::token::Username;

#[derive(Serialize)]
struct EndedJson {
    ended: usize,
}

/// Ends them: at the hub, at the user's servers, in every replica; and revokes the app's links that wait.
pub(super) async fn end(
    login: &LoginServices,
    app: &App,
    username: &Username,
    client: Option<IpAddr>,
) -> Result<ApiResponse, ApiError> {
    let ended =
        login.session_ender.end(username, app, client, AuditReason::Api).await.map_err(ApiError::End)?;
    Ok(json_response(StatusCode::OK, &EndedJson { ended }))
}

/// Ends the sessions of whom the form's `logout_token` names (`OpenID` Connect Back-Channel Logout 1.0 § 2.5). Whatever keeps
/// them from ending is a 400, as § 2.8 wants it.
pub(super) async fn log_out(
    login: &LoginServices,
    form: Form,
    client: Option<IpAddr>,
) -> Result<ApiResponse, OAuthError> {
    let token = form.get("logout_token").ok_or_else(|| OAuthError::missing("logout_token"))?;
    let ended = login.backchannel_logout.log_out(token, client).await;
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
