//! Users and servers for the links that are about to be issued.
//!
//! The servers come first: a link that was given away cannot be taken back unseen, a server that was started too early
//! does no harm. What was done for a call that fails all the same is said in its error.

use futures_util::{StreamExt as _, stream};
use serde_json::{Map, Value};

use super::error::{ApiError, FaultPlace};
use crate::hub::{LaunchOrder, Launched};
use crate::login::issue_request::PreparedLink;
use crate::login::{Caller, LoginServices};

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
    login: &LoginServices,
    caller: &Caller,
    drafts: &[PreparedLink],
    options: &[Option<Map<String, Value>>],
    place: impl Fn(usize) -> FaultPlace,
) -> Result<(Vec<Option<Launched>>, Done), ApiError> {
    let hub = &login.hub();
    let mut done = Done::default();
    let mut outcomes = Vec::with_capacity(drafts.len());
    let one = |(index, draft): (usize, &PreparedLink)| {
        let user = draft.username().as_str().to_owned();
        let server = draft.launch().map(|server| server.as_str().to_owned());
        let options = options.get(index).and_then(Option::as_ref);
        let rule = draft.launch().map(|_| login.issuer.start_rule(caller, draft.username()));
        async move {
            match server.zip(rule) {
                None => (user, None),
                Some((server, rule)) => {
                    let order = LaunchOrder { app: &caller.app.name, user: &user, server: &server, options };
                    let launched = hub.launch(order, rule).await;
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
