//! `GET /api/v1/links/{id}`: where a link of the app stands, never its token.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use jiff::SignedDuration;
use serde::Serialize;

use crate::api::auth::{Authorized, ToRead};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::LinkInPath;
use crate::api::response::{ApiResponse, json_response, rfc3339};
use crate::api::state::ApiState;
use crate::login::LoginServices;
use crate::store::{Link, LinkStatus};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::get("/api/v1/links/{id}", CallKind::Keyed, read)
}

async fn read(
    State(api): State<Arc<ApiState>>,
    Authorized { caller, .. }: Authorized<ToRead>,
    LinkInPath(id): LinkInPath,
) -> Result<ApiResponse, ApiError> {
    let link = api.login.issuer.status(&id, &caller.app).await?.ok_or(ApiError::NoSuchLink)?;
    Ok(json_response(StatusCode::OK, &LinkJson::of(&api.login, &link)))
}

/// Where a link stands.
#[derive(Serialize)]
struct LinkJson<'a> {
    id: &'a str,
    username: &'a str,
    next: Option<&'a str>,
    status: &'static str,
    issued_at: String,
    expires_at: String,
    used_at: Option<String>,
    confirm: bool,
    note: Option<&'a str>,
    session: Option<SessionJson>,
}

/// The session that a link has begun, if it ends by itself.
#[derive(Serialize)]
struct SessionJson {
    until: String,
    ended: bool,
}

impl SessionJson {
    fn of(login: &LoginServices, link: &Link) -> Option<Self> {
        let life = SignedDuration::try_from(login.policy().session_life(&link.grant)?).ok()?;
        let until = link.used_at?.checked_add(life).ok()?;
        let ended =
            login.clock().now().wall >= until || login.session_ender.ended().contains_session_of(&link.id);
        Some(Self { until: rfc3339(until), ended })
    }
}

impl<'a> LinkJson<'a> {
    fn of(login: &LoginServices, link: &'a Link) -> Self {
        Self {
            id: link.id.as_str(),
            username: link.grant.username.as_str(),
            next: link.grant.next.as_deref(),
            status: match link.status {
                LinkStatus::Pending => "pending",
                LinkStatus::Used => "used",
                LinkStatus::Expired => "expired",
                LinkStatus::Revoked => "revoked",
            },
            issued_at: rfc3339(link.issued.wall),
            expires_at: rfc3339(link.expires.wall),
            used_at: link.used_at.map(rfc3339),
            confirm: link.grant.confirm,
            note: link.note.as_deref(),
            session: SessionJson::of(login, link),
        }
    }
}
