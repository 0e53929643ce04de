//! `DELETE /api/v1/users/{name}/sessions`: all browser sessions of a user end now.

use std::net::IpAddr;

use hyper::StatusCode;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::error::ApiError;
use super::{Answer, json_answer};
use crate::config::App;
use crate::login::LoginServices;

#[derive(Serialize)]
struct EndedJson {
    ended: usize,
}

/// Ends them: at the hub, at the user's servers, in every replica; and revokes the app's links that wait.
pub(super) async fn end(
    login: &LoginServices,
    app: &App,
    name: &str,
    client: Option<IpAddr>,
) -> Result<Answer, ApiError> {
    let name = percent_decode_str(name).decode_utf8().map_err(|_| ApiError::NameNotUtf8)?;
    let username = login.rules().usernames.parse(&app.full_username(&name)).map_err(ApiError::Username)?;
    let ended = login.session_ender.end(&username, app, client).await.map_err(ApiError::End)?;
    Ok(json_answer(StatusCode::OK, &EndedJson { ended }))
}
