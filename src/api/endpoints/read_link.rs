//! `GET /api/v1/links/{id}`: where a link of the app stands, never its token.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use jiff::SignedDuration;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

use crate::api::auth::{Authorized, ToRead};
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::LinkInPath;
use crate::api::response::{ApiResponse, json_response, rfc3339};
use crate::api::schema::{BodySchema, closed, flag, time, word};
use crate::api::shared_responses::{
    HUB_FAULT, HUB_TIMEOUT, NO_KEY, NO_SUCH_LINK, NOT_ALLOWED, STORE_UNAVAILABLE,
};
use crate::api::state::ApiState;
use crate::login::LoginServices;
use crate::store::{Link, LinkStatus};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::get("/api/v1/links/{id}", CallKind::Keyed, read, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("links", "readLink", "Where a link of this app stands, never its token (scope read)")
        .description("Readable until 10 minutes after the link's end.")
        .path_parameter("id", "The `id` of an issued link.")
        .answers(
            StatusCode::OK,
            ResponseDoc::new("The link.").json(BodySchema::of::<LinkJson>()).example(
                "used",
                json!({
                    "id": "7rU1cG0m6j1q0QfZ8pQ2Xw",
                    "username": "alice",
                    "next": "/hub/home",
                    "status": "used",
                    "issued_at": "2026-01-31T12:00:00.000Z",
                    "expires_at": "2026-01-31T12:00:30.000Z",
                    "used_at": "2026-01-31T12:00:02.250Z",
                    "confirm": false,
                    "note": null,
                    "session": {
                        "until": "2026-01-31T20:00:02.250Z",
                        "ended": false,
                    }
                }),
            ),
        )
        .fails([&NO_KEY, &NOT_ALLOWED, &NO_SUCH_LINK, &HUB_FAULT, &STORE_UNAVAILABLE, &HUB_TIMEOUT])
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
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Link)]
struct LinkJson<'a> {
    id: &'a str,
    username: &'a str,
    #[schema(required)]
    next: Option<&'a str>,
    #[schema(schema_with = statuses)]
    status: &'static str,
    #[schema(format = DateTime)]
    issued_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    #[schema(required, format = DateTime)]
    used_at: Option<String>,
    confirm: bool,
    #[schema(required)]
    note: Option<&'a str>,
    #[schema(required, schema_with = session_schema)]
    session: Option<SessionJson>,
}

/// The session that a link has begun, if it ends by itself.
#[derive(Serialize)]
struct SessionJson {
    until: String,
    ended: bool,
}

fn statuses() -> ObjectBuilder {
    word(["pending", "used", "expired", "revoked"])
}

fn session_schema() -> ObjectBuilder {
    let members = closed(["until", "ended"]).property("until", time()).property("ended", flag(""));
    members
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some("The session that the link has begun, if it ends by itself; null otherwise."))
}

impl SessionJson {
    fn of(login: &LoginServices, link: &Link) -> Option<Self> {
        let life = SignedDuration::try_from(login.policy().session_life(&link.grant)?).ok()?;
        let until = link.used_at?.checked_add(life).ok()?;
        let ended =
            login.clock().wall() >= until || login.session_ender.ended().contains_session_of(&link.id);
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
