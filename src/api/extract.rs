//! What a request's address and connection say, as handlers take it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use hyper::http::request::Parts;

use super::error::ApiError;
use super::state::ApiState;
use crate::config::App;
use crate::login::hub_oauth::HubOAuth;
use crate::token::{LinkId, Username};

/// The client's address; none where there is no address.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(pub(super) Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(head.extensions.get().copied().unwrap_or(Self(None)))
    }
}

/// The `{id}` of a path, if it can be one.
#[derive(Debug)]
pub(super) struct LinkInPath(pub(super) LinkId);

impl FromRequestParts<Arc<ApiState>> for LinkInPath {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, api: &Arc<ApiState>) -> Result<Self, ApiError> {
        // A link has one address: what is percent-encoded is none.
        if head.uri.path().contains('%') {
            return Err(ApiError::NoSuchLink);
        }
        let id = segment(head, api).await.ok_or(ApiError::NoSuchLink)?;
        LinkId::parse(&id).map(Self).ok_or(ApiError::NoSuchLink)
    }
}

/// The `{name}` of a path, percent-decoded; a slash in it is `%2F` there.
#[derive(Debug)]
pub(super) struct NameInPath(String);

impl FromRequestParts<Arc<ApiState>> for NameInPath {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, api: &Arc<ApiState>) -> Result<Self, ApiError> {
        segment(head, api).await.map(Self).ok_or(ApiError::NameNotUtf8)
    }
}

impl NameInPath {
    /// The user whom `app` calls by it.
    pub(super) fn of(&self, app: &App, api: &ApiState) -> Result<Username, ApiError> {
        api.login.rules().usernames.parse(&app.full_username(&self.0)).map_err(ApiError::Username)
    }
}

/// What the braces of the path stand for, percent-decoded; none if that is not UTF-8.
async fn segment(head: &mut Parts, api: &Arc<ApiState>) -> Option<String> {
    let found = RawPathParams::from_request_parts(head, api).await.ok()?;
    found.iter().next().map(|(_, value)| value.to_owned())
}

/// The provider of the hub's own OAuth login; without `[hub_oauth]` there is no such path.
pub(super) struct HubOAuthProvider(pub(super) Arc<HubOAuth>);

impl FromRequestParts<Arc<ApiState>> for HubOAuthProvider {
    type Rejection = ApiError;

    async fn from_request_parts(_: &mut Parts, api: &Arc<ApiState>) -> Result<Self, ApiError> {
        api.hub_oauth().map(Self).ok_or(ApiError::NoSuchPath)
    }
}
