//! `GET /hub-oauth/userinfo`: who is logged in, by the access token that the hub got for its code.

use std::future::ready;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use utoipa::openapi::schema::ObjectBuilder;

use crate::api::auth;
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::HubOAuthProvider;
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::{BodySchema, closed, text, texts};
use crate::api::shared_responses::{NO_HUB_OAUTH, NO_KEY, NOT_ALLOWED};
use crate::login::hub_oauth::HubOAuth;

pub(super) fn endpoint() -> Endpoint {
    let handler = |HubOAuthProvider(provider): HubOAuthProvider, headers: HeaderMap| {
        ready(userinfo(&provider, &headers))
    };
    Endpoint::get("/hub-oauth/userinfo", CallKind::Open, handler, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("hub oauth", "hubOAuthUserinfo", "Who is logged in, by the access token")
        .description(
            "401 once the token is over, which sends its user to the login where the hub keeps auth \
            state.",
        )
        .security(["key"])
        .answers(
            StatusCode::OK,
            ResponseDoc::new("The user.").json(BodySchema::named("HubOAuthUser", user_schema())),
        )
        .fails([&NO_KEY, &NOT_ALLOWED, &NO_HUB_OAUTH])
}

fn userinfo(provider: &HubOAuth, headers: &HeaderMap) -> Result<ApiResponse, ApiError> {
    // RFC 6750 § 3.1: the session is over, and the hub sends its user to the login.
    let over = ApiError::Unauthenticated { key_given: true };
    let info = provider.userinfo(auth::key(headers)?).ok_or(over)?;
    Ok(json_response(StatusCode::OK, &info))
}

fn user_schema() -> ObjectBuilder {
    closed(["sub", "username", "preferred_username", "name"])
        .property("sub", text())
        .property("username", text())
        .property("preferred_username", text())
        .property("name", text())
        .property("groups", texts().description(Some("As the link names them.")))
        .property("claims", ObjectBuilder::new().description(Some("As the link names them.")))
}
