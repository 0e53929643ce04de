//! Servers at the hub: start and watch.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::response::HubResponse;
use super::users::NotebookServer;
use super::{Call, HubClient, HubError, unreachable};

/// What became of the start of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It is ready.
    Ready,
    /// It is being started: by this call, or by an earlier one.
    Pending,
    /// It was running before.
    Running,
}

/// What a server is started with. Up to JupyterHub 5 the body is the options themselves; 6 takes that too, unless there are
/// none, or one of them has the name of a field of its own.
#[derive(Serialize)]
#[serde(untagged)]
enum StartRequestJson<'a> {
    Plain(&'a Map<String, Value>),
    Named { user_options: &'a Map<String, Value> },
}

impl<'a> StartRequestJson<'a> {
    fn with(options: &'a Map<String, Value>) -> Self {
        let plain = !options.is_empty()
            && !options.contains_key("user_options")
            && !options.contains_key("display_name");
        if plain { Self::Plain(options) } else { Self::Named { user_options: options } }
    }
}

/// The server-sent events of a server that starts, as they come: `data: {"progress":50,"message":…}` and empty lines.
#[derive(Debug)]
pub struct SpawnEventStream {
    response: Response,
    stall: Duration,
}

impl HubClient {
    /// Starts the user's server of this name (empty: the default one) with these options, or else those of its last
    /// start. Takes the hub up to `slow_spawn_timeout` (10 s) to answer. Scope: `servers`, or from JupyterHub 6
    /// on `start:servers`.
    ///
    /// Refused with 400 for a bad name or while it stops, 403, 404 for a user whom the hub does not know, and 429 at a
    /// limit of the hub's.
    pub async fn start_server(
        &self,
        user: &str,
        server: &str,
        options: Option<&Map<String, Value>>,
    ) -> Result<Started, HubError> {
        let asking = self.ask_to_start(user, server, options);
        self.timed(Call::StartServer, self.in_turn(asking)).await
    }

    /// The same without a turn and without a limit of time: for whoever has both already.
    pub(super) async fn ask_to_start(
        &self,
        user: &str,
        server: &str,
        options: Option<&Map<String, Value>>,
    ) -> Result<Started, HubError> {
        let call = Call::StartServer;
        let mut request = self.authorized(call, Method::POST, &path_of(user, server))?;
        if let Some(options) = options {
            request = request.json(&StartRequestJson::with(options));
        }
        match self.whole(call, request).await {
            Ok(response) => match response.status {
                StatusCode::CREATED => Ok(Started::Ready),
                StatusCode::ACCEPTED => Ok(Started::Pending),
                _ => Err(response.unreadable()),
            },
            // The hub has no code of its own for it.
            Err(HubError::Refused { status: StatusCode::BAD_REQUEST, message, .. })
                if message.ends_with("is already running") =>
            {
                Ok(Started::Running)
            }
            Err(error) => Err(error),
        }
    }

    /// The user's server of this name as it is now, if it runs, starts or stops. Scope: `read:servers`.
    ///
    /// Read with the user, because a hub before 6.0 tells of no server by itself.
    pub async fn server(&self, user: &str, server: &str) -> Result<Option<NotebookServer>, HubError> {
        Ok(self.user(user).await?.and_then(|mut user| user.servers.remove(server)))
    }

    /// How the start of the server gets on. Scope: `read:servers`. Refused with 400 if it is not starting, and with 404 if
    /// it never was.
    pub async fn progress(&self, user: &str, server: &str) -> Result<SpawnEventStream, HubError> {
        let call = Call::ReadProgress;
        let mut path = path_of(user, server);
        path.push("progress");
        let request = self.authorized(call, Method::GET, &path)?.header(ACCEPT, "text/event-stream");
        let begun = async {
            let response = self.send(call, request).await?;
            let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let is_events = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
            if response.status() == StatusCode::OK && is_events {
                return Ok(response);
            }
            Err(HubResponse::read(call, response).await?.unreadable())
        };
        let response = self.timed(call, self.in_turn(begun)).await?;
        Ok(SpawnEventStream { response, stall: self.timeout })
    }
}

impl SpawnEventStream {
    /// The next bytes; none at the end. The hub sends an empty line every 8 s, so that a pause of
    /// `limits.hub_api_timeout` means that it is gone.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HubError> {
        let call = Call::ReadProgress;
        match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| unreachable(call, error)),
            Err(_elapsed) => Err(HubError::TimedOut { call }),
        }
    }
}

fn path_of<'a>(user: &'a str, server: &'a str) -> Vec<&'a str> {
    if server.is_empty() { vec!["users", user, "server"] } else { vec!["users", user, "servers", server] }
}
