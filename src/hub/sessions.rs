//! The end of a user's sessions at the hub, by the handler that our authenticator adds.

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::{Call, HubClient, HubError};

/// What the hub answers.
#[derive(Deserialize)]
struct EndedSessionsJson {
    sessions: Vec<String>,
}

impl HubClient {
    /// Ends all browser sessions of the user whom `assertion` names; answers their ids. A user whom the hub does not know
    /// has none.
    pub async fn end_sessions(
        &self,
        header: &HeaderName,
        assertion: HeaderValue,
    ) -> Result<Vec<String>, HubError> {
        let call = Call::EndSessions;
        let mut url = self.url.clone();
        // Beside the Hub API, not below it: `{base}hub/hublatch/sessions`.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().pop().extend(["hublatch", "sessions"]);
        }
        let request = self.client.request(Method::POST, url).header(header, assertion);
        match self.call(call, request).await {
            Ok(response) => response.json::<EndedSessionsJson>().map(|json| json.sessions),
            Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
