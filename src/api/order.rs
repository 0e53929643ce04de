//! From the fields of a request to an [`IssueRequest`].

use std::time::Duration;

use serde_json::{Map, Value};

use super::json::Members;
use super::member_error::{MemberError, MemberFault};
use crate::login::issue_request::{IssueRequest, LinkDestination};
use crate::token::{ServerName, State};

/// The longest remark of an app, in bytes.
const NOTE_BYTES_MAX: usize = 1024;

/// What an order asks for, and what its server is to be started with, if it is.
#[derive(Debug)]
pub(super) struct LinkOrder {
    /// The order itself.
    pub(super) request: IssueRequest,
    /// The spawner's user options; none: those of the last start.
    pub(super) options: Option<Map<String, Value>>,
}

impl LinkOrder {
    /// Whether the order names a path or a server instead of `next`.
    pub(super) fn is_by_path(&self) -> bool {
        matches!(self.request.destination, LinkDestination::Path { .. })
    }

    /// Whether the order names a server as only hubs before `JupyterHub` 6 have them.
    pub(super) fn has_odd_server(&self) -> bool {
        if let LinkDestination::Path { server: Some(name), .. } = &self.request.destination {
            ServerName::parse(name).is_some_and(|name| !name.is_slug())
        } else {
            false
        }
    }
}

/// The order that `members` spell. `launches`: whether servers can be launched here.
pub(super) fn order(mut members: Members, launches: bool) -> Result<LinkOrder, MemberError> {
    let username =
        members.text("username")?.ok_or_else(|| MemberError::new("username", MemberFault::Missing))?;
    let destination = destination(&mut members)?;
    let (launch, options) = match members.take("launch") {
        None | Some(Value::Bool(false)) => (false, None),
        Some(Value::Bool(true)) => (true, None),
        Some(Value::Object(options)) => (true, Some(options)),
        Some(_) => {
            return Err(MemberError::new(
                "launch",
                MemberFault::Invalid("true, false, or an object of user options"),
            ));
        }
    };
    if launch && !launches {
        return Err(MemberError::new("launch", MemberFault::Unavailable("hub.api_token_file")));
    }
    // `next` may lead anywhere, and says nothing of which server to start.
    if launch && matches!(destination, LinkDestination::Next(_)) {
        return Err(MemberError::new("launch", MemberFault::Conflict("next; send path and server")));
    }
    let expires_in = life(&mut members, "expires_in", "a whole number of seconds, at least 1")?;
    let session_expires_in =
        life(&mut members, "session_expires_in", "a whole number of seconds, at least 60")?;
    let confirm = members.flag("confirm")?.unwrap_or(false);
    let groups = members.texts("groups")?;
    let claims = match members.take("claims") {
        None => None,
        Some(Value::Object(claims)) => Some(claims),
        Some(_) => return Err(MemberError::new("claims", MemberFault::Invalid("an object"))),
    };
    let note = members.text("note")?;
    if note.as_ref().is_some_and(|note| note.len() > NOTE_BYTES_MAX) {
        return Err(MemberError::new("note", MemberFault::Invalid("at most 1024 bytes long")));
    }
    let state = match members.text("state")? {
        None => None,
        Some(text) => Some(State::parse(&text).ok_or_else(|| {
            MemberError::new(
                "state",
                MemberFault::Invalid("the state that came to the app's page, unchanged"),
            )
        })?),
    };
    members.end()?;
    let request = IssueRequest {
        username,
        destination,
        expires_in,
        confirm,
        groups,
        claims,
        note,
        state,
        session_expires_in,
        launch,
    };
    Ok(LinkOrder { request, options })
}

/// The member `name`: how long something lasts, which has to be what is `wanted`.
fn life(
    members: &mut Members,
    name: &'static str,
    wanted: &'static str,
) -> Result<Option<Duration>, MemberError> {
    let Some(value) = members.take(name) else { return Ok(None) };
    seconds(&value).map(Some).ok_or_else(|| MemberError::new(name, MemberFault::Invalid(wanted)))
}

/// `next` is a path on the public origin; `path` one inside the user's server, and `server` alone opens that server's
/// own first page. An empty `next` is none, as in a link's query, and an empty `server` is the default one.
fn destination(members: &mut Members) -> Result<LinkDestination, MemberError> {
    let (next, path, server) = (members.text("next")?, members.text("path")?, members.text("server")?);
    match (next, path, server) {
        (Some(_), Some(_), _) => Err(MemberError::new("path", MemberFault::Conflict("next"))),
        (Some(_), None, Some(_)) => Err(MemberError::new("server", MemberFault::Conflict("next"))),
        (Some(next), None, None) if next.is_empty() => Ok(LinkDestination::HubDecides),
        (Some(next), None, None) => Ok(LinkDestination::Next(next)),
        (None, None, None) => Ok(LinkDestination::HubDecides),
        (None, path, server) => Ok(LinkDestination::Path { path: path.unwrap_or_default(), server }),
    }
}

/// Whole seconds, at least one. Languages with one type of number write 30 as 30.0.
fn seconds(value: &Value) -> Option<Duration> {
    let whole = value.as_u64().map(Duration::from_secs);
    let written = || value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    whole.or_else(written).filter(|life| !life.is_zero() && life.subsec_nanos() == 0)
}
