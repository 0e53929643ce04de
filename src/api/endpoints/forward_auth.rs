//! `GET /api/v1/forward-auth`: whether a front proxy may let a request through.
//!
//! Speaks the language of nginx's `auth_request` and Traefik's `ForwardAuth`: 2xx with the identity in headers lets a request
//! through, 401 and 403 do not. No key of the caller's: who has a token may ask the hub itself, and is told the same.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use url::form_urlencoded;

use super::verify::OwnerJson;
use crate::api::auth;
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::response::{ApiResponse, json_response};
use crate::api::schema::{BodySchema, text};
use crate::api::shared_responses::{HUB_DOWN, HUB_FAULT, HUB_TIMEOUT, NO_SUCH_TOKEN};
use crate::api::state::ApiState;
use crate::hub::{OwnerKind, TokenOwner};
use crate::token::Username;

/// Where front proxies ask whom to let through. The one endpoint that takes what is left of a browser's request: it changes
/// nothing, and tells only who has a token whose that is.
pub(in crate::api) const FORWARD_AUTH: &str = "/api/v1/forward-auth";

/// Where a front proxy puts the token if `Authorization` belongs to the guarded application.
const TOKEN_HEADER: &str = "x-hublatch-token";
const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
const REMOTE_GROUPS: HeaderName = HeaderName::from_static("remote-groups");
/// Why an owner is not let in.
const NOT_AMONG: &str = "the token's owner is not among those who are let in here";
/// What a service is called by in `Remote-User`, so that it is not taken for the user of that name.
const SERVICE: &str = "service:";

pub(super) fn endpoint() -> Endpoint {
    Endpoint::get(FORWARD_AUTH, CallKind::Open, forward_auth, documentation)
}

fn documentation() -> Documentation {
    Documentation::new(
        "hub tokens",
        "forwardAuth",
        "Whether a front proxy may let a request through (nginx `auth_request`, Traefik `ForwardAuth`)",
    )
    .description(
        "The token comes in `Authorization: token T` or `Bearer T`, or in `X-Hublatch-Token`, \
        which goes before it. The query says who is let in: any of the users, groups and \
        services named (without a name: every user, and no service), and only with one of the \
        scopes, if any are named. Name a scope that stands for the guarded application, such as \
        `access:services!service=docs`: without one, a token that was made for something else \
        does as well. The request may be a browser's, as the front proxy passes it on.",
    )
    .query_list("user", "A user who is let in.")
    .query_list("group", "A hub group whose users are let in.")
    .query_list("service", "A hub service that is let in.")
    .query_list("scope", "A scope of which the token must have one.")
    .security(["key", "hubStyleKey", "tokenHeader"])
    .answers(
        StatusCode::OK,
        ResponseDoc::new("Let it through.")
            .json(BodySchema::of::<OwnerJson>())
            .example(
                "user",
                json!({
                    "name": "alice",
                    "kind": "user",
                    "groups": ["staff"],
                    "scopes": ["access:services!service=docs"],
                }),
            )
            .header("Remote-User", "The user's name; for a service, `service:` and its name.", text())
            .header("Remote-Groups", "The user's hub groups, with commas between them.", text()),
    )
    .answers(
        StatusCode::BAD_REQUEST,
        ResponseDoc::error("The query has another parameter, or one without a value (`invalid_parameter`).")
            .when("misspelt", Rule::parse("groups=staff").err()),
    )
    .answers(
        StatusCode::UNAUTHORIZED,
        ResponseDoc::error("No token, or one that the hub does not know (`unauthorized`).")
            .when("none", ApiError::Unauthenticated { key_given: false })
            .header("WWW-Authenticate", "", text()),
    )
    .answers(
        StatusCode::FORBIDDEN,
        ResponseDoc::error(
            "The hub knows whose the token is, and that one is not let in here, or not by this token \
            (`not_admitted`).",
        )
        .when("other", ApiError::NotAdmitted(NOT_AMONG)),
    )
    .fails([&NO_SUCH_TOKEN, &HUB_FAULT, &HUB_DOWN, &HUB_TIMEOUT])
}

async fn forward_auth(
    State(api): State<Arc<ApiState>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<ApiResponse, ApiError> {
    // Judged first: a misspelt rule must not be found out by somebody whom it lets in.
    let rule = Rule::parse(query.as_deref().unwrap_or_default())?;
    let policy = api.login.policy();
    let checks = policy.applications.token_checks().ok_or(ApiError::NoHubTokens)?;
    let owner = checks.owner(token(&headers)?).await.map_err(ApiError::Hub)?;
    let owner = owner.ok_or(ApiError::Unauthenticated { key_given: true })?;
    rule.admit(&owner)?;
    let mut response = json_response(StatusCode::OK, &OwnerJson::of(&owner));
    response.headers_mut().insert(REMOTE_USER, remote_user(&owner)?);
    response.headers_mut().insert(REMOTE_GROUPS, remote_groups(&owner));
    Ok(response)
}

fn token(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut lines = headers.get_all(TOKEN_HEADER).iter();
    match (lines.next(), lines.next()) {
        (None, _) => auth::key(headers),
        (Some(line), None) => line.to_str().map_err(|_| ApiError::Unauthenticated { key_given: true }),
        (Some(_), Some(_)) => Err(ApiError::Unauthenticated { key_given: true }),
    }
}

/// A name that front proxies and applications pass on unchanged.
fn remote_user(owner: &TokenOwner) -> Result<HeaderValue, ApiError> {
    let wrong = ApiError::NotAdmitted("the name of the token's owner cannot be sent in a header");
    let plain = Username::from_store(&owner.name).is_some() && !owner.name.starts_with(SERVICE);
    let name = match owner.kind {
        OwnerKind::User => owner.name.clone(),
        OwnerKind::Service => format!("{SERVICE}{}", owner.name),
    };
    HeaderValue::from_str(&name).ok().filter(|_| plain).ok_or(wrong)
}

/// The groups with commas between them. One whose name could be taken for another or for two is left out.
fn remote_groups(owner: &TokenOwner) -> HeaderValue {
    let plain = |group: &&String| {
        let inner = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b',';
        !group.is_empty() && group.bytes().all(inner) && group.trim() == group.as_str()
    };
    let groups: Vec<&str> = owner.groups.iter().filter(plain).map(String::as_str).collect();
    HeaderValue::from_str(&groups.join(",")).unwrap_or(HeaderValue::from_static(""))
}

/// Whom the query of the call lets in: `?group=staff&group=tutors&scope=access:services!service=docs`.
#[derive(Default)]
struct Rule<'a> {
    users: Vec<Cow<'a, str>>,
    groups: Vec<Cow<'a, str>>,
    services: Vec<Cow<'a, str>>,
    scopes: Vec<Cow<'a, str>>,
}

impl<'a> Rule<'a> {
    /// A name that is not known is an error: to pass over it would let in those whom it was to keep out.
    fn parse(query: &'a str) -> Result<Self, ApiError> {
        let mut rule = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let list = match &*name {
                "user" => &mut rule.users,
                "group" => &mut rule.groups,
                "service" => &mut rule.services,
                "scope" => &mut rule.scopes,
                _ => return Err(bad(&name, "is not known; there are user, group, service and scope")),
            };
            if value.is_empty() {
                return Err(bad(&name, "has no value"));
            }
            list.push(value);
        }
        Ok(rule)
    }

    /// Users: any, or those who are named or in a group that is named. Services: those that are named. Of both, with one
    /// of the scopes, if there are any.
    fn admit(&self, owner: &TokenOwner) -> Result<(), ApiError> {
        let named = |names: &[Cow<'_, str>]| names.iter().any(|name| *name == owner.name);
        let admitted = match owner.kind {
            OwnerKind::Service => named(&self.services),
            OwnerKind::User => {
                let anybody = self.users.is_empty() && self.groups.is_empty() && self.services.is_empty();
                anybody
                    || named(&self.users)
                    || owner.groups.iter().any(|group| self.groups.iter().any(|wanted| wanted == group))
            }
        };
        if !admitted {
            return Err(ApiError::NotAdmitted(NOT_AMONG));
        }
        if self.scopes.is_empty() || self.scopes.iter().any(|scope| has_scope(owner, scope)) {
            return Ok(());
        }
        Err(ApiError::NotAdmitted("the token has none of the scopes that let in here"))
    }
}

/// Whether the token has `scope`, or the same without its filter, which is more.
fn has_scope(owner: &TokenOwner, scope: &str) -> bool {
    let base = scope.split('!').next().unwrap_or(scope);
    owner.scopes.iter().any(|has| has == scope || has == base)
}

fn bad(name: &str, wrong: &'static str) -> ApiError {
    ApiError::BadParameter { name: name.chars().take(40).collect(), wrong }
}
