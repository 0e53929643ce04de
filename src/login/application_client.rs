//! Asks the services of apps: one question each, bounded in time and size, over a connection of its own.
//!
//! Nothing is kept open between two questions: they are rare, and each public thread has a runtime of its own.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use url::Url;

/// How long a service may take for its whole response.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The largest response that is read.
const RESPONSE_BYTES_MAX: usize = 256 * 1024;

/// A service has not answered, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// No response, or not all of it, in time.
    #[error("{0}")]
    NoResponse(String),
    /// The response is too long.
    #[error("the answer is larger than {RESPONSE_BYTES_MAX} bytes")]
    TooLarge,
}

impl From<reqwest::Error> for ApplicationError {
    fn from(error: reqwest::Error) -> Self {
        // Without the URL, which an operator may have put a secret into; with the cause, which says what is wrong.
        let error = error.without_url();
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::NoResponse(format!("{error}{cause}"))
    }
}

/// Asks the services of apps.
#[derive(Debug, Default)]
pub struct ApplicationClient {
    // Made when it is first wanted: it reads the system's certificates.
    client: OnceLock<Client>,
}

impl ApplicationClient {
    /// What a GET of `url` answers.
    pub async fn get(&self, url: &Url) -> Result<(StatusCode, BytesMut), ApplicationError> {
        send(self.client()?.get(url.clone())).await
    }

    /// What a POST of `json` to `url` answers.
    pub async fn post_json(
        &self,
        url: &Url,
        json: &(impl serde::Serialize + Sync),
    ) -> Result<(StatusCode, BytesMut), ApplicationError> {
        send(self.client()?.post(url.clone()).json(json)).await
    }

    fn client(&self) -> Result<&Client, ApplicationError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // No redirects and no proxy of the environment: the operator has named the address.
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("hublatch/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(self.client.get_or_init(|| client))
    }
}

async fn send(request: RequestBuilder) -> Result<(StatusCode, BytesMut), ApplicationError> {
    let mut response = request.send().await?;
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
            return Err(ApplicationError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}
