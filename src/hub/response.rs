//! A response of the hub: read whole, told from what is not the hub's, and a refusal put into its own words.

use std::time::Duration;

use bytes::BytesMut;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{Call, HubError};
use super::unreachable;

/// The largest response that is read: a user with some thousand servers.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;
/// The most characters of the hub's words that are passed on.
const MESSAGE_CHARS_MAX: usize = 500;
/// The longest wait that is passed on.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// A successful response.
#[derive(Debug)]
pub(super) struct HubResponse {
    call: Call,
    /// 2xx.
    pub(super) status: StatusCode,
    body: BytesMut,
}

/// What the hub answers in place of what was asked for.
#[derive(Deserialize)]
struct HubErrorJson {
    status: u16,
    message: Option<String>,
}

impl HubResponse {
    /// All of `response`, if it is a success.
    pub(super) async fn read(call: Call, mut response: Response) -> Result<Self, HubError> {
        let status = response.status();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(call, error))? {
            if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
                return Err(HubError::Unreadable { call, status, what: "more than 1 MiB" });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(Self { call, status, body });
        }
        Err(refusal(call, status, response.headers(), &body))
    }

    /// The body as JSON of this shape.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, HubError> {
        serde_json::from_slice(&self.body).map_err(|_| self.unreadable())
    }

    /// The error that the response is a success, but none that the hub would give.
    pub(super) fn unreadable(&self) -> HubError {
        HubError::Unreadable { call: self.call, status: self.status, what: kind_of(&self.body) }
    }
}

/// Why the hub did not do it. A refusal (4xx) is believed only in the hub's own form: `{"status":404,"message":…}`.
fn refusal(call: Call, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> HubError {
    let said: Option<HubErrorJson> = serde_json::from_slice(body).ok();
    let said = said.filter(|said| said.status == status.as_u16());
    let retry_after = retry_after(headers);
    let message = said.as_ref().and_then(|said| said.message.as_deref());
    let message = message.filter(|message| !message.is_empty()).map(excerpt);
    if status.is_server_error() {
        return HubError::Failed { call, status, message, retry_after };
    }
    match said {
        Some(_) if status.is_client_error() => {
            let message =
                message.unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason").to_owned());
            HubError::Refused { call, status, message, retry_after }
        }
        Some(_) | None => HubError::Unreadable { call, status, what: kind_of(body) },
    }
}

/// The seconds of `Retry-After` (RFC 9110 § 10.2.3). The hub sends no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// What stands in the place of a response, in words of our own: the page of a proxy is nobody's business.
fn kind_of(body: &[u8]) -> &'static str {
    let begin = body.trim_ascii_start();
    if begin.is_empty() {
        "no body"
    } else if begin.starts_with(b"<") {
        "a page (HTML)"
    } else if begin.starts_with(b"{") || begin.starts_with(b"[") {
        "JSON of another kind"
    } else {
        "another text"
    }
}

/// The beginning of `message`, on one line.
fn excerpt(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
