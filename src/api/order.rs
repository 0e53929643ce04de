//! From the fields of a request to an [`IssueRequest`].

use std::time::Duration;

use serde_json::{Map, Value};
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};

use super::json::Members;
use super::member_error::{MemberError, MemberFault};
use super::schema::{BodySchema, any_of, closed, flag, integer, text, text_of, texts};
use crate::login::issue_request::{IssueRequest, LinkDestination};
use crate::token::{ServerName, State};

/// The longest remark of an app, in bytes.
const NOTE_BYTES_MAX: usize = 1024;

/// What the document calls an order.
const NAME: &str = "Order";

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
    let (launch, options) = launch(&mut members)?;
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
    let claims = claims(&mut members)?;
    let note = members.text("note")?;
    if note.as_ref().is_some_and(|note| note.len() > NOTE_BYTES_MAX) {
        return Err(MemberError::new("note", MemberFault::Invalid("at most 1024 bytes long")));
    }
    let state = state(&mut members)?;
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

/// Whether the server is started, and with which options.
fn launch(members: &mut Members) -> Result<(bool, Option<Map<String, Value>>), MemberError> {
    match members.take("launch") {
        None | Some(Value::Bool(false)) => Ok((false, None)),
        Some(Value::Bool(true)) => Ok((true, None)),
        Some(Value::Object(options)) => Ok((true, Some(options))),
        Some(_) => {
            let wanted = MemberFault::Invalid("true, false, or an object of user options");
            Err(MemberError::new("launch", wanted))
        }
    }
}

fn claims(members: &mut Members) -> Result<Option<Map<String, Value>>, MemberError> {
    match members.take("claims") {
        None => Ok(None),
        Some(Value::Object(claims)) => Ok(Some(claims)),
        Some(_) => Err(MemberError::new("claims", MemberFault::Invalid("an object"))),
    }
}

fn state(members: &mut Members) -> Result<Option<State>, MemberError> {
    let Some(text) = members.text("state")? else { return Ok(None) };
    let wanted = MemberFault::Invalid("the state that came to the app's page, unchanged");
    State::parse(&text).map(Some).ok_or_else(|| MemberError::new("state", wanted))
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

/// The schema of an order, by which the document names it.
pub(super) fn schema() -> BodySchema {
    let members = closed(["username"])
        .property(
            "username",
            text_of("Who is to be logged in. It must fit `login.usernames` and the app's rules."),
        )
        .property(
            "next",
            text_of(
                "Where the browser goes, of at most 8192 bytes without percent-encoding: a path on the public \
                address, inside the hub's base URL. Empty or absent: the `next` in the link's own query, or else \
                the hub, decides. Excludes `path` and `server`.",
            ),
        )
        .property(
            "path",
            text_of(
                "A path inside the user's server, with its query: `lab/tree/x.ipynb?reset`. At most 8192 \
                bytes with `/user/alice/` before it and without percent-encoding; letters outside ASCII, which are \
                escaped three times on their way, must also fit `hub.head_bytes` (about 500 of them by default). \
                The server is started if need be. Escapes such as `%2F` are kept; a space may be sent raw. No \
                whole address, and no `/user/alice/` at its beginning.",
            ),
        )
        .property(
            "server",
            text_of(
                "Name of a named server; empty: the default one; absent: `hub.default_server_name`, \
                which is the default one unless it is configured. With `path`, or alone: then that \
                server's own first page. JupyterHub 6 takes 1 to 30 of a-z, 0-9 and -; older hubs \
                whatever can be a segment of a path (`GPU`, `my_server`): the running hub's version \
                decides.",
            ),
        )
        .property(
            "expires_in",
            integer()
                .minimum(Some(1))
                .description(Some("Life in whole seconds (30.0 is 30); at most the app's `max_lifetime`.")),
        )
        .property(
            "session_expires_in",
            integer().minimum(Some(60)).description(Some(
                "Seconds after which the session is over that the link begins; at most the app's \
                `max_session`. Needs `[assertion]`.",
            )),
        )
        .property("confirm", flag("Whether the link always asks \"Continue as …?\" first."))
        .property("groups", texts().description(Some("Hub groups of the user (`manage_groups`).")))
        .property(
            "claims",
            ObjectBuilder::new().description(Some(
                "Further claims for the hub's `auth_state`; with `groups` at most 4096 bytes.",
            )),
        )
        .property(
            "state",
            text().min_length(Some(43)).max_length(Some(43)).description(Some(
                "Binds the link to one browser: the `state` with which hublatch has sent that browser to \
                the app (`login.without_token = \"redirect\"`), unchanged. Required with \
                `login.require_state`.",
            )),
        )
        .property(
            "note",
            text()
                .max_length(Some(1024))
                .description(Some("The app's own remark, shown with the link's status.")),
        )
        .property(
            "launch",
            any_of([Type::Boolean, Type::Object]).description(Some(
                "true, or the spawner's user options: the user is created and the server (`server`, or \
                else the default one) is started at once, if need be, and the browser waits for it on \
                hublatch's own page. Excludes `next`. true starts with the options of the last start. \
                Needs `hub.api_token_file` (else `unsupported_field`).",
            )),
        );
    BodySchema::named(NAME, members)
}

/// The schema of a list of 1 to `most` orders.
pub(super) fn list(most: usize) -> ArrayBuilder {
    ArrayBuilder::new().items(Ref::from_schema_name(NAME)).min_items(Some(1)).max_items(Some(most))
}
