//! `POST /api/v1/links`: issues a link.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, LOCATION};
use serde_json::{Value, json};

use crate::api::auth::{Authorized, ToIssue};
use crate::api::body::JsonBody;
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::{ApiError, FaultPlace};
use crate::api::extract::ClientAddress;
use crate::api::issuing::{IDEMPOTENCY_KEY, IssueCall, IssuedJson};
use crate::api::order::{self, order};
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::{BodySchema, text};
use crate::api::shared_responses::{
    BAD_FIELD, BAD_ORDER, NO_KEY, NO_LINK_HUB_ERROR, NO_LINK_HUB_TIMEOUT, NO_LINK_UNAVAILABLE, NOT_ALLOWED,
    NOT_JSON, TOO_FAST, TOO_LARGE, TOO_SLOW, server_refused,
};
use crate::api::state::ApiState;
use crate::config::App;
use crate::login::issue_request::IssueError;
use crate::store::IdempotencyKey;

/// The token in examples.
const TOKEN: &str = "hl_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
/// The longest idempotency key, in bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/api/v1/links", CallKind::Keyed, issue, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("links", "issueLink", "Issue a link (scope issue)")
        .header(
            "Idempotency-Key",
            "1 to 255 visible ASCII characters. A repeat with the same body revokes the first link if it is pending, \
            and answers with a new token under the same `id`. After the first link was used or revoked: 409. With \
            another body: 422.",
            text().min_length(Some(1)).max_length(Some(IDEMPOTENCY_KEY_BYTES_MAX)),
        )
        .takes_json(order::schema(), order_examples())
        .answers(
            StatusCode::CREATED,
            ResponseDoc::new("The link.")
                .json(BodySchema::of::<IssuedJson>())
                .example("link", issued_example())
                .example("launched", launched_example())
                .header("Location", "Where its status can be read.", text()),
        )
        .answers(
            StatusCode::CONFLICT,
            ResponseDoc::error(
                "The link of this Idempotency-Key was used or revoked (`idempotency_key_ended`), or the hub does not \
                start the server (`server_refused`).",
            )
            .when("stopping", server_refused(FaultPlace::Body))
            .when("used", ApiError::issue(FaultPlace::Body, IssueError::RepeatOfEnded, false)),
        )
        .fails([&BAD_ORDER, &NO_KEY, &NOT_ALLOWED, &TOO_SLOW, &TOO_LARGE, &NOT_JSON, &BAD_FIELD, &TOO_FAST])
        .fails([&NO_LINK_HUB_ERROR, &NO_LINK_UNAVAILABLE, &NO_LINK_HUB_TIMEOUT])
}

fn order_examples() -> [(&'static str, Value); 5] {
    [
        ("default_server", json!({"username": "alice", "path": "lab/tree/welcome.ipynb"})),
        ("named_server", json!({"username": "alice", "server": "project-1", "path": "lab"})),
        ("next", json!({"username": "alice", "next": "/hub/home", "expires_in": 60})),
        ("launch", json!({"username": "me", "server": "named", "path": "lab", "launch": {"cpu": 2}})),
        (
            "everything",
            json!({
                "username": "alice",
                "next": "/hub/home",
                "expires_in": 30,
                "confirm": true,
                "groups": ["course-7"],
                "claims": {"course": "7"},
                "note": "ticket 4711",
            }),
        ),
    ]
}

fn issued_example() -> Value {
    json!({
        "id": "7rU1cG0m6j1q0QfZ8pQ2Xw",
        "url": format!("http://127.0.0.1:8000/hub/login?login_token={TOKEN}&next=%2Fhub%2Fhome"),
        "login_token": TOKEN,
        "username": "alice",
        "next": "/hub/home",
        "expires_in": 30,
        "expires_at": "2026-01-31T12:00:30.000Z",
    })
}

fn launched_example() -> Value {
    let mut link = issued_example();
    link["url"] =
        format!("http://127.0.0.1:8000/hub/login?login_token={TOKEN}&next=%2Fuser%2Fme%2Fnamed%2Flab").into();
    link["username"] = "me".into();
    link["next"] = "/user/me/named/lab".into();
    let progress = "/api/v1/links/7rU1cG0m6j1q0QfZ8pQ2Xw/progress";
    link["server"] = json!({"ready": false, "progress_url": progress});
    link
}

async fn issue(
    State(api): State<Arc<ApiState>>,
    Authorized { caller, .. }: Authorized<ToIssue>,
    ClientAddress(client): ClientAddress,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<ApiResponse, ApiError> {
    let key = idempotency_key(&caller.app, &headers, body.digest)?;
    let asked = order(body.members, api.login.hub().has_token());
    let asked = asked.map_err(|error| ApiError::member(FaultPlace::Body, error))?;
    let call = IssueCall { login: &api.login, caller: &caller, client };
    let issued = call.issue(vec![asked], key, |_| FaultPlace::Body).await?;
    let Some((link, launched)) = issued.first() else { return Err(ApiError::NoSuchLink) };
    let mut response = json_response(StatusCode::CREATED, &IssuedJson::of(link, *launched));
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/links/{}", link.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

fn idempotency_key(
    app: &App,
    headers: &HeaderMap,
    body: [u8; 32],
) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let fits = |key: &&str| {
        (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let key = line.to_str().ok().filter(fits);
    match (key, lines.next()) {
        (Some(key), None) => Ok(Some(IdempotencyKey { app: app.name.clone(), key: key.to_owned(), body })),
        _ => Err(ApiError::BadIdempotencyKey),
    }
}
