//! `POST /api/v1/verify`: whose a hub token is, for other programs.
//!
//! No key of the caller's: who has a token may ask the hub itself, and is told the same.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::ObjectBuilder;

use crate::api::body::JsonBody;
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::{BodySchema, word};
use crate::api::shared_responses::{
    BAD_FIELD, HUB_DOWN, HUB_FAULT, HUB_TIMEOUT, NO_SUCH_TOKEN, NOT_ALLOWED, NOT_JSON, TOO_LARGE, TOO_SLOW,
};
use crate::api::state::ApiState;
use crate::api::{json, schema};
use crate::hub::{OwnerKind, TokenOwner};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post("/api/v1/verify", CallKind::Open, verify, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("hub tokens", "verifyHubToken", "Whose a hub API token is")
        .description(
            "The check of JupyterHub's `HubAuth` for any program: the hub's word, believed for \
            `hub_tokens.cache_max_age`. No key: who has a token may ask the hub itself. Needs \
            `[hub_tokens]` in the configuration.",
        )
        .security([])
        .takes_json(schema::token(), [("token", json!({"token": "0123456789abcdef0123456789abcdef"}))])
        .answers(
            StatusCode::OK,
            ResponseDoc::new("Its owner, and what the token may do.")
                .json(BodySchema::of::<OwnerJson>())
                .example(
                    "user",
                    json!({
                        "name": "alice",
                        "kind": "user",
                        "groups": ["staff"],
                        "scopes": ["access:servers!user=alice"],
                    }),
                ),
        )
        .answers(
            StatusCode::BAD_REQUEST,
            ResponseDoc::error("The body is not JSON (`invalid_json`) or broke off (`body_broken`).")
                .when("broken", json::object(b"{").err()),
        )
        .fails([
            &NOT_ALLOWED,
            &NO_SUCH_TOKEN,
            &TOO_SLOW,
            &TOO_LARGE,
            &NOT_JSON,
            &BAD_FIELD,
            &HUB_FAULT,
            &HUB_DOWN,
            &HUB_TIMEOUT,
        ])
}

/// Whose a token is.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Owner)]
pub(super) struct OwnerJson<'a> {
    name: &'a str,
    #[schema(schema_with = kinds)]
    kind: OwnerKind,
    /// The user's hub groups.
    groups: &'a [String],
    /// What the token may do, as the hub spells it out.
    scopes: &'a [String],
}

fn kinds() -> ObjectBuilder {
    word(["user", "service"])
}

impl<'a> OwnerJson<'a> {
    pub(super) fn of(owner: &'a TokenOwner) -> Self {
        Self { name: &owner.name, kind: owner.kind, groups: &owner.groups, scopes: &owner.scopes }
    }
}

async fn verify(State(api): State<Arc<ApiState>>, body: JsonBody) -> Result<ApiResponse, ApiError> {
    let token = body.token()?;
    let policy = api.login.policy();
    let checks = policy.applications.token_checks().ok_or(ApiError::NoHubTokens)?;
    let owner = checks.owner(&token).await.map_err(ApiError::Hub)?.ok_or(ApiError::NoSuchToken)?;
    Ok(json_response(StatusCode::OK, &OwnerJson::of(&owner)))
}
