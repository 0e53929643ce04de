//! Users and servers for the links that are about to be issued, and how their starts get on.
//!
//! The servers come first: a link that was given away cannot be taken back unseen, a server that was started too early
//! does no harm. What was done for a call that fails all the same is said in its error.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value};

use super::error::{ApiError, FaultPlace};
use super::{ApiBody, ApiResponse};
use crate::body::Pieces;
use crate::config::App;
use crate::hub::{HubClient, LaunchOrder, Launched, SpawnEvent, written};
use crate::login::LoginServices;
use crate::login::issue_request::PreparedLink;
use crate::token::LinkId;

/// How many servers of one batch are begun at a time: the hub is one process, and each begin takes it some time.
const AT_ONCE: usize = 8;
/// The most names of created users that an error tells.
const NAMES_TOLD: usize = 10;

/// What was done at the hub for a call.
#[derive(Debug, Default)]
pub(super) struct Done {
    created: Vec<String>,
    launched: usize,
}

impl Done {
    /// `error`, and what was done before it: nothing may be half done without a word.
    pub(super) fn told_with(self, error: ApiError) -> ApiError {
        let mut parts = Vec::new();
        if !self.created.is_empty() {
            let more = self.created.len().saturating_sub(NAMES_TOLD);
            let names = self.created[..self.created.len() - more].join(", ");
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            parts.push(format!("created at the hub: {names}{more}"));
        }
        if self.launched > 0 {
            parts.push(format!("servers running or starting: {}", self.launched));
        }
        if parts.is_empty() {
            return error;
        }
        ApiError::HalfDone {
            error: Box::new(error),
            done: format!("no link was issued; {}", parts.join("; ")),
        }
    }
}

/// Launches what `drafts` want, each with its `options`. In their order: what came of it, for those that want something.
pub(super) async fn launch(
    hub: &Arc<HubClient>,
    app: &App,
    drafts: &[PreparedLink],
    options: &[Option<Map<String, Value>>],
    place: impl Fn(usize) -> FaultPlace,
) -> Result<(Vec<Option<Launched>>, Done), ApiError> {
    let mut done = Done::default();
    let mut outcomes = Vec::with_capacity(drafts.len());
    let one = |(index, draft): (usize, &PreparedLink)| {
        let user = draft.username().as_str().to_owned();
        let server = draft.launch().map(|server| server.as_str().to_owned());
        let options = options.get(index).and_then(Option::as_ref);
        async move {
            match server {
                None => (user, None),
                Some(server) => {
                    let order = LaunchOrder { app: &app.name, user: &user, server: &server, options };
                    let launched = hub.launch(order).await;
                    (user, Some(launched))
                }
            }
        }
    };
    let mut launches = stream::iter(drafts.iter().enumerate().map(one)).buffered(AT_ONCE);
    while let Some((user, outcome)) = launches.next().await {
        match outcome {
            None => outcomes.push(None),
            Some(Ok(one)) => {
                done.launched += 1;
                if one.user_created {
                    done.created.push(user);
                }
                outcomes.push(Some(one));
            }
            Some(Err(error)) => {
                if error.user_created {
                    done.created.push(user);
                }
                let place = place(outcomes.len());
                return Err(done.told_with(ApiError::Launch { place, cause: error.cause }));
            }
        }
    }
    drop(launches);
    Ok((outcomes, done))
}

/// `GET /api/v1/links/{id}/progress`
pub(super) async fn progress(
    login: &LoginServices,
    app: &App,
    id: &str,
) -> Result<hyper::Response<ApiBody>, ApiError> {
    let id = LinkId::parse(id).ok_or(ApiError::NoSuchLink)?;
    let link = login.issuer.status(&id, app).await?.ok_or(ApiError::NoSuchLink)?;
    let server = link.grant.launch.ok_or(ApiError::NotLaunched)?;
    let body = match login.hub().launch_events(link.grant.username.as_str(), server.as_str()).await {
        Ok(events) => ApiBody::Pieces(Pieces::of(events)),
        Err(error) => match error.refused_with() {
            // The hub's words for a server that is not starting, and for one that never was.
            Some(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) => {
                let message = "the server is not running, and nobody is starting it".to_owned();
                let event = SpawnEvent { progress: 100, message, failed: true, ..SpawnEvent::default() };
                ApiBody::from(written(&event))
            }
            _ => return Err(ApiError::Launch { place: FaultPlace::Body, cause: error }),
        },
    };
    let mut response = ApiResponse::default().map(|_| body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx would hold the events back until there are some thousand bytes of them.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}
