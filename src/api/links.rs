//! Links: issue one or many, read, revoke.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, LOCATION};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::body::JsonBody;
use super::error::{ApiError, FaultPlace};
use super::json::Members;
use super::member_error::{MemberError, MemberFault};
use super::order::{LinkOrder, order};
use super::{ApiResponse, json_response, launch};
use crate::config::App;
use crate::hub::Launched;
use crate::login::issue_request::{IssueError, IssuedLink, RefusedRequest};
use crate::login::next::NextError;
use crate::login::{Caller, LoginServices};
use crate::store::{IdempotencyKey, Link, LinkStatus, Revoked};
use crate::token::{LinkId, Username};

/// The most links in one batch.
pub(super) const BATCH_MAX: usize = 1000;
/// Draft "The Idempotency-Key HTTP Header Field" of the IETF's httpapi working group.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest idempotency key, in bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Who issues links, and by what.
pub(super) struct IssueCall<'a> {
    pub(super) login: &'a LoginServices,
    pub(super) caller: &'a Caller,
    pub(super) client: Option<IpAddr>,
}

impl IssueCall<'_> {
    /// The links of `asked`, all or none: judged first, so that nothing is done at the hub for an order that is refused;
    /// then their servers are launched; then the links are stored.
    async fn issue(
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
        let (launched, done) =
            launch::launch(&self.login.hub(), &self.caller.app, &drafts, &options, &place).await?;
        match self.login.issuer.issue(self.caller, drafts, key, self.client).await {
            Ok(issued) => Ok(issued.into_iter().zip(launched).collect()),
            Err(error) => Err(done.told_with(refused(error))),
        }
    }
}

/// `POST /api/v1/links`
pub(super) async fn issue(
    by: &IssueCall<'_>,
    headers: &HeaderMap,
    body: JsonBody,
) -> Result<ApiResponse, ApiError> {
    let key = idempotency_key(&by.caller.app, headers, body.digest)?;
    let asked = order(body.members, by.login.hub().has_token());
    let asked = asked.map_err(|error| ApiError::member(FaultPlace::Body, error))?;
    let issued = by.issue(vec![asked], key, |_| FaultPlace::Body).await?;
    let Some((link, launched)) = issued.first() else { return Err(ApiError::NoSuchLink) };
    let mut response = json_response(StatusCode::CREATED, &IssuedJson::of(link, *launched));
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/links/{}", link.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// `POST /api/v1/links/batch`
pub(super) async fn issue_batch(
    by: &IssueCall<'_>,
    headers: &HeaderMap,
    body: JsonBody,
) -> Result<ApiResponse, ApiError> {
    // A key stands for one link. To ignore it here would promise what is not kept.
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(ApiError::IdempotencyKeyOnBatch);
    }
    let asked = batch(body.members, by.login.hub().has_token())?;
    // More at once than a burst would be refused at any time, so "try again later" would be untrue.
    let at_once_max = usize::try_from(by.caller.app.burst().get()).unwrap_or(usize::MAX);
    if asked.len() > at_once_max {
        return Err(ApiError::BatchAboveRate { at_once_max });
    }
    let issued = by.issue(asked, None, FaultPlace::Link).await?;
    let links = issued.iter().map(|(link, launched)| IssuedJson::of(link, *launched)).collect();
    Ok(json_response(StatusCode::CREATED, &BatchJson { links }))
}

/// `GET /api/v1/links/{id}`
pub(super) async fn read(login: &LoginServices, app: &App, id: &str) -> Result<ApiResponse, ApiError> {
    let id = LinkId::parse(id).ok_or(ApiError::NoSuchLink)?;
    let link = login.issuer.status(&id, app).await?.ok_or(ApiError::NoSuchLink)?;
    Ok(json_response(StatusCode::OK, &LinkJson::of(login, &link)))
}

/// `DELETE /api/v1/links/{id}`
pub(super) async fn revoke(
    login: &LoginServices,
    app: &App,
    id: &str,
    client: Option<IpAddr>,
) -> Result<ApiResponse, ApiError> {
    let id = LinkId::parse(id).ok_or(ApiError::NoSuchLink)?;
    match login.issuer.revoke(&id, app, client).await? {
        Revoked::Dead => {
            let mut response = ApiResponse::new(Full::new(Bytes::new()));
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
        Revoked::Used => Err(ApiError::LinkUsed),
        Revoked::NotFound => Err(ApiError::NoSuchLink),
    }
}

/// `DELETE /api/v1/users/{name}/links`
pub(super) async fn revoke_user(
    login: &LoginServices,
    app: &App,
    username: &Username,
    client: Option<IpAddr>,
) -> Result<ApiResponse, ApiError> {
    let revoked = login.issuer.revoke_user(username, app, client).await?;
    Ok(json_response(StatusCode::OK, &RevokedJson { revoked }))
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

/// A link, just issued: the only response that holds a token.
#[derive(Serialize)]
struct IssuedJson<'a> {
    id: &'a str,
    url: &'a str,
    login_token: &'a str,
    username: &'a str,
    next: Option<&'a str>,
    expires_in: u64,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerJson>,
}

/// The server of a launched link.
#[derive(Serialize)]
struct ServerJson {
    ready: bool,
    progress_url: String,
}

impl<'a> IssuedJson<'a> {
    fn of(link: &'a IssuedLink, launched: Option<Launched>) -> Self {
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

#[derive(Serialize)]
struct BatchJson<'a> {
    links: Vec<IssuedJson<'a>>,
}

#[derive(Serialize)]
struct RevokedJson {
    revoked: usize,
}

/// Where a link stands.
#[derive(Serialize)]
struct LinkJson<'a> {
    id: &'a str,
    username: &'a str,
    next: Option<&'a str>,
    status: &'static str,
    issued_at: String,
    expires_at: String,
    used_at: Option<String>,
    confirm: bool,
    note: Option<&'a str>,
    session: Option<SessionJson>,
}

/// The session that a link has begun, if it ends by itself.
#[derive(Serialize)]
struct SessionJson {
    until: String,
    ended: bool,
}

impl SessionJson {
    fn of(login: &LoginServices, link: &Link) -> Option<Self> {
        let life = SignedDuration::try_from(login.policy().session_life(&link.grant)?).ok()?;
        let until = link.used_at?.checked_add(life).ok()?;
        let ended =
            login.clock().now().wall >= until || login.session_ender.ended().contains_session_of(&link.id);
        Some(Self { until: rfc3339(until), ended })
    }
}

impl<'a> LinkJson<'a> {
    fn of(login: &LoginServices, link: &'a Link) -> Self {
        Self {
            id: link.id.as_str(),
            username: link.grant.username.as_str(),
            next: link.grant.next.as_deref(),
            status: match link.status {
                LinkStatus::Pending => "pending",
                LinkStatus::Used => "used",
                LinkStatus::Expired => "expired",
                LinkStatus::Revoked => "revoked",
            },
            issued_at: rfc3339(link.issued.wall),
            expires_at: rfc3339(link.expires.wall),
            used_at: link.used_at.map(rfc3339),
            confirm: link.grant.confirm,
            note: link.note.as_deref(),
            session: SessionJson::of(login, link),
        }
    }
}

/// RFC 3339 in UTC, to the millisecond: finer digits are beyond what many a language's parser takes.
fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}
