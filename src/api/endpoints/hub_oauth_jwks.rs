//! `GET /hub-oauth/jwks`: the keys by which ID tokens can be verified.

use std::future::ready;

use hyper::StatusCode;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder};

use crate::api::auth::KnownHost;
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::HubOAuthProvider;
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::open;
use crate::api::shared_responses::{NO_HUB_OAUTH, NOT_ALLOWED};
use crate::login::hub_oauth::HubOAuth;

pub(super) fn endpoint() -> Endpoint {
    let handler = |_: KnownHost, HubOAuthProvider(provider): HubOAuthProvider| ready(jwks(&provider));
    Endpoint::get("/hub-oauth/jwks", CallKind::Open, handler, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("hub oauth", "hubOAuthKeys", "The keys by which ID tokens can be verified (RFC 7517)")
        .security([])
        .answers(
            StatusCode::OK,
            ResponseDoc::new("A JWK Set.")
                .json(open(["keys"]).property("keys", ArrayBuilder::new().items(ObjectBuilder::new()))),
        )
        .fails([&NOT_ALLOWED, &NO_HUB_OAUTH])
}

fn jwks(provider: &HubOAuth) -> Result<ApiResponse, ApiError> {
    let keys = provider.jwks().map_err(|_| ApiError::NoSuchPath)?;
    Ok(json_response(StatusCode::OK, &keys))
}
