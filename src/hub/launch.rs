//! A server for a user: there, on its way, or not; and how its start stands.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};

use reqwest::StatusCode;
use serde_json::{Map, Value};

use super::start_queue::{AcceptedStart, StartEnd, StartStanding, Starter, Starting, start_key};
use super::{Call, Created, HubClient, HubError, NotebookServer, SpawnEvent, Started, written};
use crate::turns::line::Group;

/// The hub keeps whoever starts a server waiting, up to ten seconds, in case it is ready by then. What it refuses, it
/// refuses at once; after this long it is asked whether the server is on its way.
const ANSWERED_AT_ONCE: Duration = Duration::from_millis(700);
/// How long the hub may take to repeat the events of a start so far.
const TOLD_AT_ONCE: Duration = Duration::from_millis(300);

/// How often whoever watches a start that waits is told its place.
const PLACE_TOLD_EVERY: Duration = Duration::from_secs(1);

/// Which server is to be started for whom.
#[derive(Debug, Clone, Copy)]
pub struct LaunchOrder<'a> {
    /// The app that orders it: when starts have to wait it goes round between the apps.
    pub app: &'a str,
    /// Whose server.
    pub user: &'a str,
    /// Which; empty: the default one.
    pub server: &'a str,
    /// What it is started with; none: what it was started with last.
    pub options: Option<&'a Map<String, Value>>,
}

/// Whether an order is still allowed: asked when it has waited for its turn.
pub type StillAllowed = Arc<dyn Fn() -> bool + Send + Sync>;

/// A server that is there, or on its way: starting, or in line for a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launched {
    /// Whether the hub did not know the user before.
    pub user_created: bool,
    /// Whether it answers already.
    pub ready: bool,
}

/// There is no server: the hub has refused to start it, or failed.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct LaunchError {
    /// Whether the user was created before it came to this.
    pub user_created: bool,
    /// Why.
    #[source]
    pub cause: HubError,
}

/// How the start of a server stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    /// It answers.
    Ready,
    /// The server is starting.
    Starting {
        /// From 0 to 100.
        percent: u8,
        /// What the hub says.
        message: String,
    },
    /// The last start has failed.
    Failed {
        /// What the hub says.
        message: String,
    },
    /// It is not running, and nobody is starting it.
    Stopped,
}

impl HubClient {
    /// Sees to it that the user is there and that their server runs, is on its way, or waits for its turn to be started: a hub
    /// that has no room for a moment is no error. Options are for a start; a server that runs keeps its own. Scopes: `servers`
    /// (or from JupyterHub 6 on `read:servers` and `start:servers`), and `admin:users` for users whom the hub does not know.
    pub async fn launch(
        self: &Arc<Self>,
        order: LaunchOrder<'_>,
        still_allowed: StillAllowed,
    ) -> Result<Launched, LaunchError> {
        let LaunchOrder { app, user, server, options } = order;
        let failed = |user_created| move |cause| LaunchError { user_created, cause };
        let (user_created, running) = match self.user(user).await.map_err(failed(false))? {
            Some(mut known) => (false, known.servers.remove(server)),
            None => (self.create_user(user).await.map_err(failed(false))? == Created::New, None),
        };
        if let Some(ready) = running.as_ref().and_then(on_its_way) {
            return Ok(Launched { user_created, ready });
        }
        let (key, group) = (start_key(user, server), Group::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), app));
        let starter = Arc::new(ApiStart {
            ordered_by: Arc::clone(self),
            user: user.to_owned(),
            server: server.to_owned(),
            options: options.cloned(),
            still_allowed,
        });
        // Nobody overtakes those who wait, and the hub is not asked in vain.
        if !self.starts.is_idle() && self.starts.join(&key, group.clone(), starter.clone(), None) {
            return Ok(Launched { user_created, ready: false });
        }
        self.starts.forget_failure(&key);
        match self.start(user, server, options).await {
            Ok(ready) => {
                if !ready {
                    self.starts.accepted(starter.accepted());
                }
                Ok(Launched { user_created, ready })
            }
            Err(error) if error.is_want_of_room() && self.starts.join(&key, group, starter, Some(&error)) => {
                Ok(Launched { user_created, ready: false })
            }
            Err(error) => Err(failed(user_created)(error)),
        }
    }

    /// How a start stands that the hub has refused before; none: it does not wait here.
    pub fn standing(&self, user: &str, server: &str) -> Option<StartStanding> {
        self.starts.standing(&start_key(user, server))
    }

    /// The events of the server's start, as they are passed to the client, with its place in the queue. Refused as
    /// [`HubClient::progress`] is.
    pub async fn launch_events(self: &Arc<Self>, user: &str, server: &str) -> Result<LaunchEvents, HubError> {
        match self.standing(user, server) {
            None => Ok(Box::pin(self.events(user, server).await?.into_stream())),
            Some(StartStanding::Failed(error)) => {
                Ok(Box::pin(stream::once(async move { Ok(failure(&error)) })))
            }
            Some(StartStanding::Waiting { .. }) => {
                let (user, server) = (user.to_owned(), server.to_owned());
                let watch = StartWatch { hub: Arc::clone(self), user, server, told: false };
                let then = stream::once(watch.clone().after_the_line()).flatten();
                Ok(Box::pin(stream::unfold(watch, StartWatch::next_place).chain(then)))
            }
        }
    }

    /// Starts the server, and does not wait for it: whether it is ready.
    async fn start(
        &self,
        user: &str,
        server: &str,
        options: Option<&Map<String, Value>>,
    ) -> Result<bool, HubError> {
        // One turn for the start and the looks at it: with hundreds of starts at once there would be none left for a look.
        let in_turn = self.in_turn(async {
            let mut starting = pin!(self.ask_to_start(user, server, options));
            loop {
                let look = async {
                    tokio::time::sleep(ANSWERED_AT_ONCE).await;
                    self.user_in_turn(user).await
                };
                tokio::select! {
                    started = &mut starting => return started.map(|started| started != Started::Pending),
                    // A hub that does not tell this either is given all the time that a call has.
                    known = look => {
                        let server = known.ok().flatten().and_then(|mut user| user.servers.remove(server));
                        if let Some(ready) = server.as_ref().and_then(on_its_way) {
                            return Ok(ready);
                        }
                    }
                }
            }
        });
        self.timed(Call::StartServer, in_turn).await
    }

    /// How the server's start stands. Scope: `read:servers`.
    pub async fn server_state(&self, user: &str, server: &str) -> Result<ServerState, HubError> {
        let now = self.server(user, server).await?;
        if now.as_ref().and_then(on_its_way) == Some(true) {
            return Ok(ServerState::Ready);
        }
        let mut events = match self.events(user, server).await {
            Ok(events) => events,
            // The hub's words for a server that is not starting, and for one that never was started.
            Err(error)
                if matches!(error.refused_with(), Some(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND)) =>
            {
                return Ok(ServerState::Stopped);
            }
            Err(error) => return Err(error),
        };
        let mut state = ServerState::Starting { percent: 0, message: String::new() };
        let told = async {
            while let Some(event) = events.next_event().await? {
                state = if event.ready {
                    ServerState::Ready
                } else if event.failed {
                    ServerState::Failed { message: event.message }
                } else {
                    ServerState::Starting { percent: event.progress, message: event.message }
                };
            }
            Ok::<_, HubError>(())
        };
        match tokio::time::timeout(TOLD_AT_ONCE, told).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Ok(state),
        }
    }
}

/// The events of a launch as they are sent on.
pub type LaunchEvents = Pin<Box<dyn Stream<Item = Result<Bytes, HubError>> + Send>>;

/// Whoever watches a start that waits for room.
#[derive(Clone)]
struct StartWatch {
    hub: Arc<HubClient>,
    user: String,
    server: String,
    /// Whether its place was told before.
    told: bool,
}

impl StartWatch {
    /// The start's place in line, for as long as it is in line.
    async fn next_place(mut self) -> Option<(Result<Bytes, HubError>, Self)> {
        if self.told {
            tokio::time::sleep(PLACE_TOLD_EVERY).await;
        }
        let Some(StartStanding::Waiting { number, .. }) = self.hub.standing(&self.user, &self.server) else {
            return None;
        };
        let event = SpawnEvent {
            position: u64::try_from(number).ok(),
            message: format!("Number {number} in line for a start"),
            ..SpawnEvent::default()
        };
        self.told = true;
        Some((Ok(written(&event)), self))
    }

    /// The events of the start when it is in line no longer.
    async fn after_the_line(self) -> LaunchEvents {
        let failed =
            |error: HubError| -> LaunchEvents { Box::pin(stream::once(async move { Ok(failure(&error)) })) };
        if let Some(StartStanding::Failed(error)) = self.hub.standing(&self.user, &self.server) {
            return failed(error);
        }
        match self.hub.events(&self.user, &self.server).await {
            Ok(events) => Box::pin(events.into_stream()),
            Err(error) => failed(error),
        }
    }
}

/// The last event of a start that came to nothing.
fn failure(error: &HubError) -> Bytes {
    let message = error.message().unwrap_or("The server is not starting.").to_owned();
    written(&SpawnEvent { progress: 100, message, failed: true, ..SpawnEvent::default() })
}

/// A start through the Hub API.
struct ApiStart {
    /// The client through which it was ordered. The start may wait longer than the token of this client is valid.
    ordered_by: Arc<HubClient>,
    user: String,
    server: String,
    options: Option<Map<String, Value>>,
    /// By the rules in force.
    still_allowed: StillAllowed,
}

impl ApiStart {
    /// The client of the configuration in force.
    fn hub(&self) -> Arc<HubClient> {
        self.ordered_by.starts.hub_in_force().unwrap_or_else(|| Arc::clone(&self.ordered_by))
    }

    /// The hub has accepted it.
    fn accepted(&self) -> AcceptedStart {
        let (hub, user, server) = (self.hub(), self.user.clone(), self.server.clone());
        let server_key = start_key(&user, &server);
        let over = async move {
            let mut events = match hub.events(&user, &server).await {
                Ok(events) => events,
                // The hub's words for a server that is not starting any more.
                Err(error) if error.refused_with() == Some(StatusCode::BAD_REQUEST) => {
                    return StartEnd::Before;
                }
                Err(_) => return StartEnd::Unknown,
            };
            // Once a start is over, the hub sends only its last event.
            let mut end = StartEnd::Before;
            loop {
                match events.next_event().await {
                    Ok(Some(event)) if !event.ready && !event.failed => end = StartEnd::Seen,
                    Ok(_) => return end,
                    Err(_) => return StartEnd::Unknown,
                }
            }
        };
        AcceptedStart { server: server_key, over: Box::pin(over) }
    }
}

impl Starter for ApiStart {
    fn start(&self) -> Starting<'_, Result<Option<AcceptedStart>, HubError>> {
        Box::pin(async {
            if !(self.still_allowed)() {
                return Err(HubError::Refused {
                    call: Call::StartServer,
                    status: StatusCode::FORBIDDEN,
                    message: "Whoever ordered this start may not do so any more.".to_owned(),
                    retry_after: None,
                });
            }
            match self.hub().start(&self.user, &self.server, self.options.as_ref()).await {
                Ok(_) => Ok(Some(self.accepted())),
                // Another request has started it meanwhile, or the response to our first call was lost.
                Err(HubError::Refused { status: StatusCode::BAD_REQUEST, message, .. })
                    if message.ends_with("is pending spawn") =>
                {
                    Ok(Some(self.accepted()))
                }
                Err(error) => Err(error),
            }
        })
    }
}

/// Whether a server is ready; none: it is neither that nor on its way there.
fn on_its_way(server: &NotebookServer) -> Option<bool> {
    match server.pending.as_deref() {
        None | Some("check") => server.ready.then_some(true),
        Some("spawn") => Some(false),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_stops_is_not_on_its_way() {
        let server = |ready: bool, pending: Option<&str>| {
            let json = serde_json::json!({ "ready": ready, "pending": pending });
            serde_json::from_value::<NotebookServer>(json).unwrap()
        };
        assert_eq!(on_its_way(&server(true, None)), Some(true));
        assert_eq!(on_its_way(&server(true, Some("check"))), Some(true));
        assert_eq!(on_its_way(&server(false, Some("spawn"))), Some(false));
        assert_eq!(on_its_way(&server(true, Some("stop"))), None);
        assert_eq!(on_its_way(&server(false, None)), None);
    }
}
