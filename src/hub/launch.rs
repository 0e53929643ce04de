//! A server for a user: there, on its way, or not; and how its start stands.

use std::pin::pin;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Map, Value};

use super::{Created, HubClient, HubError, NotebookServer, Started};

/// The hub keeps whoever starts a server waiting, up to ten seconds, in case it is ready by then. What it refuses, it
/// refuses at once; after this long it is asked whether the server is on its way.
const ANSWERED_AT_ONCE: Duration = Duration::from_millis(700);
/// How long the hub may take to tell again what has happened so far.
const TOLD_AT_ONCE: Duration = Duration::from_millis(300);

/// A server that is there, or on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launched {
    /// Whether the hub did not know the user before.
    pub user_created: bool,
    /// Whether it answers already.
    pub ready: bool,
}

/// No server: the hub did not want, or could not.
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
    /// On its way.
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
    /// Sees to it that `user` is there and that their server (empty: the default one) runs or is on its way. Options are for
    /// a start; a server that runs keeps its own. Scopes: `servers` (or from JupyterHub 6 on `read:servers` and
    /// `start:servers`), and `admin:users` for users
    /// whom the hub does not know.
    pub async fn launch(
        &self,
        user: &str,
        server: &str,
        options: Option<&Map<String, Value>>,
    ) -> Result<Launched, LaunchError> {
        let failed = |user_created| move |cause| LaunchError { user_created, cause };
        let (user_created, running) = match self.user(user).await.map_err(failed(false))? {
            Some(mut known) => (false, known.servers.remove(server)),
            None => (self.create_user(user).await.map_err(failed(false))? == Created::New, None),
        };
        if let Some(ready) = running.as_ref().and_then(on_its_way) {
            return Ok(Launched { user_created, ready });
        }
        let ready = self.start(user, server, options).await.map_err(failed(user_created))?;
        Ok(Launched { user_created, ready })
    }

    /// Starts the server, and does not wait for it: whether it is ready.
    async fn start(
        &self,
        user: &str,
        server: &str,
        options: Option<&Map<String, Value>>,
    ) -> Result<bool, HubError> {
        let mut starting = pin!(self.start_server(user, server, options));
        loop {
            match tokio::time::timeout(ANSWERED_AT_ONCE, &mut starting).await {
                Ok(started) => return started.map(|started| started != Started::Pending),
                Err(_elapsed) => {
                    // A hub that does not tell this either is given all the time that a call has.
                    let now = self.server(user, server).await;
                    if let Some(ready) = now.ok().flatten().as_ref().and_then(on_its_way) {
                        return Ok(ready);
                    }
                }
            }
        }
    }

    /// How the server's start stands. Scope: `read:servers`.
    pub async fn server_state(&self, user: &str, server: &str) -> Result<ServerState, HubError> {
        let now = self.server(user, server).await?;
        if now.as_ref().and_then(on_its_way) == Some(true) {
            return Ok(ServerState::Ready);
        }
        let mut events = match self.events(user, server).await {
            Ok(events) => events,
            // Its words for a server that is not starting, and for one that never was.
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
