//! `POST /api/v1/verify` and `GET /api/v1/forward-auth`: whose a hub token is, for other programs.
//!
//! The second speaks the language of nginx's `auth_request` and Traefik's `ForwardAuth`: 2xx with the identity in headers
//! lets a request through, 401 and 403 do not. Both need no key of the caller's: who has a token may ask the hub itself,
//! and is told the same.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use url::form_urlencoded;

use super::auth;
use super::body::JsonBody;
use super::error::{ApiError, FaultPlace};
use super::member_error::{MemberError, MemberFault};
use super::{ApiResponse, json_response};
use crate::hub::{OwnerKind, TokenOwner};
use crate::login::LoginServices;
use crate::token::Username;

/// Where a front proxy puts the token if `Authorization` belongs to the guarded application.
const TOKEN_HEADER: &str = "x-hublatch-token";
const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
const REMOTE_GROUPS: HeaderName = HeaderName::from_static("remote-groups");
/// What a service is called by in `Remote-User`, so that it is not taken for the user of that name.
const SERVICE: &str = "service:";

/// Whose a token is.
#[derive(Serialize)]
struct OwnerJson<'a> {
    name: &'a str,
    kind: OwnerKind,
    groups: &'a [String],
    scopes: &'a [String],
}

impl<'a> OwnerJson<'a> {
    fn of(owner: &'a TokenOwner) -> Self {
        Self { name: &owner.name, kind: owner.kind, groups: &owner.groups, scopes: &owner.scopes }
    }
}

/// `POST /api/v1/verify`
pub(super) async fn verify(login: &LoginServices, mut body: JsonBody) -> Result<ApiResponse, ApiError> {
    let at_body = |error| ApiError::member(FaultPlace::Body, error);
    let text = body.members.text("token").map_err(at_body)?;
    let token = text.ok_or_else(|| at_body(MemberError::new("token", MemberFault::Missing)))?;
    body.members.end().map_err(at_body)?;
    let policy = login.policy();
    let checks = policy.applications.token_checks().ok_or(ApiError::NoHubTokens)?;
    let owner = checks.owner(&token).await.map_err(ApiError::Hub)?.ok_or(ApiError::NoSuchToken)?;
    Ok(json_response(StatusCode::OK, &OwnerJson::of(&owner)))
}

/// `GET /api/v1/forward-auth`
pub(super) async fn forward_auth(
    login: &LoginServices,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<ApiResponse, ApiError> {
    // Judged first: a misspelt rule must not be found out by somebody whom it lets in.
    let rule = Rule::parse(query.unwrap_or_default())?;
    let policy = login.policy();
    let checks = policy.applications.token_checks().ok_or(ApiError::NoHubTokens)?;
    let owner = checks.owner(token(headers)?).await.map_err(ApiError::Hub)?;
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
            return Err(ApiError::NotAdmitted("the token's owner is not among those who are let in here"));
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
