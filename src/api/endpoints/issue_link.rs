//! `POST /api/v1/links`: issues a link.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, LOCATION};

use crate::api::auth::{Authorized, ToIssue};
use crate::api::body::JsonBody;
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::{ApiError, FaultPlace};
use crate::api::extract::ClientAddress;
use crate::api::issuing::{IDEMPOTENCY_KEY, IssueCall, IssuedJson};
use crate::api::order::order;
use crate::api::response::{ApiResponse, json_response};
use crate::api::state::ApiState;
use crate::config::App;
use crate::store::IdempotencyKey;

/// The longest idempotency key, in bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/api/v1/links", CallKind::Keyed, issue)
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
