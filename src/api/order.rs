//! From the fields of a request to an [`Order`].

use std::time::Duration;

use serde_json::Value;

use super::json::{Fault, MemberError, Members};
use crate::login::link::{Destination, Order};
use crate::token::State;

/// The longest remark of an app, in bytes.
const NOTE_BYTES_MAX: usize = 1024;
/// Fields that a later version understands. To ignore one would drop a protection or a service that was asked for.
const UNSUPPORTED: [&str; 1] = ["launch"];

/// The order that `members` spell.
pub(super) fn order(mut members: Members) -> Result<Order, MemberError> {
    for name in UNSUPPORTED {
        if members.take(name).is_some() {
            return Err(MemberError::new(name, Fault::Unsupported));
        }
    }
    let username = members.text("username")?.ok_or_else(|| MemberError::new("username", Fault::Missing))?;
    let destination = destination(&mut members)?;
    let expires_in = match members.take("expires_in") {
        None => None,
        Some(value) => Some(seconds(&value).ok_or_else(|| {
            MemberError::new("expires_in", Fault::Invalid("a whole number of seconds, at least 1"))
        })?),
    };
    let confirm = members.flag("confirm")?.unwrap_or(false);
    let groups = members.texts("groups")?;
    let claims = match members.take("claims") {
        None => None,
        Some(Value::Object(claims)) => Some(claims),
        Some(_) => return Err(MemberError::new("claims", Fault::Invalid("an object"))),
    };
    let note = members.text("note")?;
    if note.as_ref().is_some_and(|note| note.len() > NOTE_BYTES_MAX) {
        return Err(MemberError::new("note", Fault::Invalid("at most 1024 bytes long")));
    }
    let state = match members.text("state")? {
        None => None,
        Some(text) => Some(State::parse(&text).ok_or_else(|| {
            MemberError::new("state", Fault::Invalid("the state that came to the app's page, unchanged"))
        })?),
    };
    members.end()?;
    Ok(Order { username, destination, expires_in, confirm, groups, claims, note, state })
}

/// `next` is a path on the public origin; `path` one inside the user's server, and `server` alone opens that server's
/// own first page. An empty `next` is none, as in a link's query, and an empty `server` is the default one.
fn destination(members: &mut Members) -> Result<Destination, MemberError> {
    let (next, path, server) = (members.text("next")?, members.text("path")?, members.text("server")?);
    match (next, path, server) {
        (Some(_), Some(_), _) => Err(MemberError::new("path", Fault::Conflict("next"))),
        (Some(_), None, Some(_)) => Err(MemberError::new("server", Fault::Conflict("next"))),
        (Some(next), None, None) if next.is_empty() => Ok(Destination::HubDecides),
        (Some(next), None, None) => Ok(Destination::Next(next)),
        (None, None, None) => Ok(Destination::HubDecides),
        (None, path, server) => Ok(Destination::Path { path: path.unwrap_or_default(), server }),
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    value.as_u64().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}
