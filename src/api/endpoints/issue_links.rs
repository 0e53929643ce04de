//! `POST /api/v1/links/batch`: issues 1 to 1000 links, all or none.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::auth::{Authorized, ToIssue};
use crate::api::body::{BATCH_BYTES_MAX, JsonBody};
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::{ApiError, FaultPlace};
use crate::api::extract::ClientAddress;
use crate::api::issuing::{IDEMPOTENCY_KEY, IssueCall, IssuedJson};
use crate::api::json::Members;
use crate::api::member_error::{MemberError, MemberFault};
use crate::api::order;
use crate::api::order::{LinkOrder, order};
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::{BodySchema, closed};
use crate::api::shared_responses::{
    BAD_FIELD, BAD_ORDER, NO_KEY, NO_LINK_HUB_ERROR, NO_LINK_HUB_TIMEOUT, NO_LINK_UNAVAILABLE, NOT_ALLOWED,
    NOT_JSON, SERVER_REFUSED, TOO_FAST, TOO_LARGE, TOO_SLOW,
};
use crate::api::state::ApiState;

/// The most links in one batch.
pub(super) const BATCH_MAX: usize = 1000;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/api/v1/links/batch", CallKind::Keyed, issue, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("links", "issueLinks", "Issue many links, all or none (scope issue)")
        .description(
            "An error names the order that it is about: `links[3].username: …`. A batch cannot be \
            larger than ten times what the app's rate allows in a second (422, `batch_above_rate`), \
            and takes no `Idempotency-Key` (422). Servers are launched a few at a time; if one \
            cannot be, no link is issued, and the error says what was done.",
        )
        .takes_json(
            closed(["links"]).property("links", order::list(BATCH_MAX)),
            [(
                "class",
                json!({
                    "links": [
                        {
                            "username": "alice",
                            "path": "lab",
                        },
                        {
                            "username": "bob",
                            "path": "lab",
                        }
                    ],
                }),
            )],
        )
        .answers(
            StatusCode::CREATED,
            ResponseDoc::new("The links, in the order of the batch.")
                .json(BodySchema::inline::<BatchJson<'_>>()),
        )
        .fails([
            &BAD_ORDER,
            &NO_KEY,
            &NOT_ALLOWED,
            &TOO_SLOW,
            &SERVER_REFUSED,
            &TOO_LARGE,
            &NOT_JSON,
            &BAD_FIELD,
            &TOO_FAST,
            &NO_LINK_HUB_ERROR,
            &NO_LINK_UNAVAILABLE,
            &NO_LINK_HUB_TIMEOUT,
        ])
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BatchJson<'a> {
    links: Vec<IssuedJson<'a>>,
}

async fn issue(
    State(api): State<Arc<ApiState>>,
    Authorized { caller, .. }: Authorized<ToIssue>,
    ClientAddress(client): ClientAddress,
    headers: HeaderMap,
    body: JsonBody<BATCH_BYTES_MAX>,
) -> Result<ApiResponse, ApiError> {
    // A key stands for one link. To ignore it here would promise what is not kept.
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(ApiError::IdempotencyKeyOnBatch);
    }
    let asked = batch(body.members, api.login.hub().has_token())?;
    // More at once than a burst would be refused at any time, so "try again later" would be untrue.
    let at_once_max = usize::try_from(caller.app.burst().get()).unwrap_or(usize::MAX);
    if asked.len() > at_once_max {
        return Err(ApiError::BatchAboveRate { at_once_max });
    }
    let call = IssueCall { login: &api.login, caller: &caller, client };
    let issued = call.issue(asked, None, FaultPlace::Link).await?;
    let links = issued.iter().map(|(link, launched)| IssuedJson::of(link, *launched)).collect();
    Ok(json_response(StatusCode::CREATED, &BatchJson { links }))
}

fn batch(mut members: Members, launches: bool) -> Result<Vec<LinkOrder>, ApiError> {
    let whole = |fault| ApiError::member(FaultPlace::Body, MemberError::new("links", fault));
    let expected = MemberFault::Invalid("a list of 1 to 1000 orders");
    let links = members.take("links").ok_or_else(|| whole(MemberFault::Missing))?;
    members.end().map_err(|error| ApiError::member(FaultPlace::Body, error))?;
    let Value::Array(links) = links else { return Err(whole(expected)) };
    if links.is_empty() || links.len() > BATCH_MAX {
        return Err(whole(expected));
    }
    let one = |(index, value)| {
        let members = Members::of(value).ok_or(ApiError::NotAnOrder { index })?;
        order(members, launches).map_err(|error| ApiError::member(FaultPlace::Link(index), error))
    };
    links.into_iter().enumerate().map(one).collect()
}
