//! Asks the services of apps: one question each, bounded in time and size, over a connection of its own.
//!
//! Nothing is kept open between two questions: they are rare, and each public thread has a runtime of its own.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use url::Url;

/// How long a service may take for its whole answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A service has not answered, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// No answer, or not all of it, in time.
    #[error("{0}")]
    NoAnswer(String),
    /// More than anybody would have to say.
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
}

impl From<reqwest::Error> for ServiceError {
    fn from(error: reqwest::Error) -> Self {
        // Without the URL, which an operator may have put a secret into; with the cause, which says what is wrong.
        let error = error.without_url();
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::NoAnswer(format!("{error}{cause}"))
    }
}

/// Asks.
#[derive(Debug, Default)]
pub struct Services {
    // Made when it is first wanted: it reads the system's certificates.
    client: OnceLock<Client>,
}

impl Services {
    /// What a GET of `url` answers.
    pub async fn get(&self, url: &Url) -> Result<(StatusCode, BytesMut), ServiceError> {
        whole(self.client()?.get(url.clone())).await
    }

    /// What a POST of `json` to `url` answers.
    pub async fn post_json(
        &self,
        url: &Url,
        json: &(impl serde::Serialize + Sync),
    ) -> Result<(StatusCode, BytesMut), ServiceError> {
        whole(self.client()?.post(url.clone()).json(json)).await
    }

    fn client(&self) -> Result<&Client, ServiceError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // No redirects: the operator has named the address. No proxy of the environment's: neither.
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("hublatch/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(self.client.get_or_init(|| client))
    }
}

async fn whole(request: RequestBuilder) -> Result<(StatusCode, BytesMut), ServiceError> {
    let mut answer = request.send().await?;
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ServiceError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok((answer.status(), body))
}
