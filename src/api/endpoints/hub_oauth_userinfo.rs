//! `GET /hub-oauth/userinfo`: who is logged in, by the access token that the hub got for its code.

use std::future::ready;

use hyper::StatusCode;
use hyper::header::HeaderMap;

use crate::api::auth;
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::HubOAuthProvider;
use crate::api::response::{ApiResponse, json_response};
use crate::login::hub_oauth::HubOAuth;

pub(super) fn endpoint() -> Endpoint {
    let handler = |HubOAuthProvider(provider): HubOAuthProvider, headers: HeaderMap| {
        ready(userinfo(&provider, &headers))
    };
    Endpoint::get("/hub-oauth/userinfo", CallKind::Open, handler)
}

fn userinfo(provider: &HubOAuth, headers: &HeaderMap) -> Result<ApiResponse, ApiError> {
    // RFC 6750 § 3.1: the session is over, and the hub sends its user to the login.
    let over = ApiError::Unauthenticated { key_given: true };
    let info = provider.userinfo(auth::key(headers)?).ok_or(over)?;
    Ok(json_response(StatusCode::OK, &info))
}
