//! How links are issued, one or many: judged, their servers launched, stored.

use std::net::IpAddr;

use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema as _, ToSchema};

use super::error::{ApiError, FaultPlace};
use super::launch;
use super::order::LinkOrder;
use super::response::rfc3339;
use crate::hub::Launched;
use crate::login::issue_request::{IssueError, IssuedLink, RefusedRequest};
use crate::login::next::NextError;
use crate::login::{Caller, LoginServices};
use crate::store::IdempotencyKey;

/// Draft "The Idempotency-Key HTTP Header Field" of the IETF's httpapi working group.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Who issues links, and by what.
pub(super) struct IssueCall<'a> {
    pub(super) login: &'a LoginServices,
    pub(super) caller: &'a Caller,
    pub(super) client: Option<IpAddr>,
}

impl IssueCall<'_> {
    /// The links of `asked`, all or none: judged first, so that nothing is done at the hub for an order that is refused;
    /// then their servers are launched; then the links are stored.
    pub(super) async fn issue(
        &self,
        asked: Vec<LinkOrder>,
        key: Option<IdempotencyKey>,
        place: impl Fn(usize) -> FaultPlace,
    ) -> Result<Vec<(IssuedLink, Option<Launched>)>, ApiError> {
        let by_path: Vec<bool> = asked.iter().map(LinkOrder::is_by_path).collect();
        let refused = |error: RefusedRequest| {
            let (index, by_path) = (error.index, error.index.and_then(|index| by_path.get(index)));
            ApiError::issue(
                index.map_or(FaultPlace::Body, &place),
                error.cause,
                by_path.copied().unwrap_or(false),
            )
        };
        let odd_server = asked.iter().position(LinkOrder::has_odd_server);
        let (requests, options): (Vec<_>, Vec<_>) =
            asked.into_iter().map(|LinkOrder { request, options }| (request, options)).unzip();
        let drafts = self.login.issuer.prepare(self.caller, requests).map_err(&refused)?;
        if let Some(index) = odd_server
            && self.login.hub().takes_only_slugs().await.map_err(ApiError::Hub)?
        {
            let cause = IssueError::Next(NextError::ServerSlug);
            return Err(refused(RefusedRequest { index: Some(index), cause }));
        }
        let (launched, done) = launch::launch(self.login, self.caller, &drafts, &options, &place).await?;
        match self.login.issuer.issue(self.caller, drafts, key, self.client).await {
            Ok(issued) => Ok(issued.into_iter().zip(launched).collect()),
            Err(error) => Err(done.told_with(refused(error))),
        }
    }
}

/// A link, just issued: the only response that holds a token.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IssuedLink)]
pub(super) struct IssuedJson<'a> {
    /// The link's public name, no part of its token.
    id: &'a str,
    /// Where to send the browser. A credential until it is used.
    url: &'a str,
    /// The secret in `url`.
    login_token: &'a str,
    username: &'a str,
    /// Where the browser goes after the login.
    #[schema(required)]
    next: Option<&'a str>,
    #[schema(minimum = 1)]
    expires_in: u64,
    #[schema(format = DateTime)]
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = server_schema)]
    server: Option<ServerJson>,
}

/// The server of a launched link.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(description = "With `launch`.")]
struct ServerJson {
    /// Whether the server answers already.
    ready: bool,
    /// Where its start can be followed: a path of this API.
    progress_url: String,
}

/// Not null: it is there or not.
fn server_schema() -> RefOr<Schema> {
    ServerJson::schema()
}

impl<'a> IssuedJson<'a> {
    pub(super) fn of(link: &'a IssuedLink, launched: Option<Launched>) -> Self {
        let server = launched.map(|launched| ServerJson {
            ready: launched.ready,
            progress_url: format!("/api/v1/links/{}/progress", link.id),
        });
        Self {
            id: link.id.as_str(),
            url: &link.url,
            login_token: link.login_token.expose(),
            username: link.username.as_str(),
            next: link.next.as_deref(),
            expires_in: link.expires_in.as_secs(),
            expires_at: rfc3339(link.expires_at),
            server,
        }
    }
}
