//! `GET /api/v1/links/{id}/progress`: how the server of a launched link starts, as server-sent events.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use crate::api::auth::{Authorized, ToRead};
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::{ApiError, FaultPlace};
use crate::api::extract::LinkInPath;
use crate::api::shared_responses::{
    NO_KEY, NO_LINK_HUB_ERROR, NO_LINK_HUB_TIMEOUT, NO_LINK_UNAVAILABLE, NOT_ALLOWED,
};
use crate::api::state::ApiState;
use crate::hub::{SpawnEvent, written};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::get("/api/v1/links/{id}/progress", CallKind::Keyed, follow, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("links", "followLaunch", "How the server of a launched link starts (scope read)")
        .description(
            "Server-sent events, each one line `data: {\"progress\": 0 to 100, \"message\": text, \
            \"ready\": boolean, \"failed\": boolean}`, from the beginning of the start. While the \
            start waits because the hub has no room, `\"position\": number` is its place in line, \
            each second. The last one has `ready` or `failed`; a stream that ends without was cut \
            off, and can be asked for again. Lines that begin with `:` are signs of life. Messages \
            are text, whatever they look like.",
        )
        .path_parameter("id", "The `id` of a link with `launch`.")
        .answers(StatusCode::OK, ResponseDoc::new("The events, as they happen.").text("text/event-stream"))
        .answers(
            StatusCode::NOT_FOUND,
            ResponseDoc::error(
                "This app has no such link (`link_not_found`), or one that launches nothing \
                (`not_launched`).",
            )
            .when("none", ApiError::NotLaunched),
        )
        .fails([&NO_KEY, &NOT_ALLOWED, &NO_LINK_HUB_ERROR, &NO_LINK_UNAVAILABLE, &NO_LINK_HUB_TIMEOUT])
}

async fn follow(
    State(api): State<Arc<ApiState>>,
    Authorized { caller, .. }: Authorized<ToRead>,
    LinkInPath(id): LinkInPath,
) -> Result<Response, ApiError> {
    let link = api.login.issuer.status(&id, &caller.app).await?.ok_or(ApiError::NoSuchLink)?;
    let server = link.grant.launch.ok_or(ApiError::NotLaunched)?;
    let body = match api.login.hub().launch_events(link.grant.username.as_str(), server.as_str()).await {
        Ok(events) => Body::from_stream(events),
        Err(error) => match error.refused_with() {
            // The hub's words for a server that is not starting, and for one that never was.
            Some(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) => {
                let message = "the server is not running, and nobody is starting it".to_owned();
                let event = SpawnEvent { progress: 100, message, failed: true, ..SpawnEvent::default() };
                Body::from(written(&event))
            }
            _ => return Err(ApiError::Launch { place: FaultPlace::Body, cause: error }),
        },
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx would hold the events back until there are some thousand bytes of them.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}
