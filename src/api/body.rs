//! A request's body, as JSON or as a form: its type, its size, its time, its members.

use std::pin::{Pin, pin};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderMap};

use super::error::ApiError;
use super::json::{self, Members};

/// The largest body of an ordinary call.
pub(super) const SMALL_BYTES_MAX: usize = 64 * 1024;
/// The largest body of a batch.
pub(super) const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How much of a body that nobody wants is read all the same.
const DISCARDED_BYTES_MAX: usize = 4 * BATCH_BYTES_MAX;
/// How long.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// A body that is a JSON object.
#[derive(Debug)]
pub(super) struct JsonBody {
    /// Its members.
    pub(super) members: Members,
    /// The SHA-256 of its bytes, by which a repeated request is known.
    pub(super) digest: [u8; 32],
}

/// Reads `body`, which must be JSON, within `limit`.
pub(super) async fn read<B>(
    headers: &HeaderMap,
    body: B,
    bytes_max: usize,
    limit: Duration,
) -> Result<JsonBody, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !is_json(headers) {
        return Err(ApiError::NotJson);
    }
    refuse_encoded(headers)?;
    let bytes = whole(body, bytes_max, limit).await?;
    let members = json::object(&bytes)?;
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, &bytes).as_ref());
    Ok(JsonBody { members, digest: sum })
}

/// Reads `body`, which must be a form, within `limit`.
pub(super) async fn form<B>(headers: &HeaderMap, body: B, limit: Duration) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !is_of_type(headers, "application/x-www-form-urlencoded") {
        return Err(ApiError::NotForm);
    }
    refuse_encoded(headers)?;
    whole(body, SMALL_BYTES_MAX, limit).await
}

async fn whole<B>(body: B, bytes_max: usize, limit: Duration) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large = ApiError::BodyTooLarge { bytes_max };
    // A declared length is judged before the first byte is asked for.
    if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        return Err(too_large);
    }
    match tokio::time::timeout(limit, pin!(Limited::new(body, bytes_max)).collect()).await {
        Err(_elapsed) => Err(ApiError::BodyTimeout),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(error)) => Err(ApiError::BodyBroken(error)),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Reads what is left of `body` and forgets it, within bounds. Many clients send all of a request before they look for
/// the response; if the connection were closed on them, they would see a broken pipe in place of 413 (RFC 9112 § 9.6).
pub(super) async fn discard<B>(headers: &HeaderMap, mut body: Pin<&mut B>, limit: Duration)
where
    B: Body<Data = Bytes>,
{
    // A client that waits for 100 (Continue) has sent nothing, and must not be asked to.
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    let mut left = DISCARDED_BYTES_MAX;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(1, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Either it was short enough, or the client is one that cannot be helped.
    let _outcome = tokio::time::timeout(limit.min(DISCARD_TIMEOUT), read).await;
}

/// Refuses a compressed body: what little is sent here is not worth it, and unpacked it could be of any size.
fn refuse_encoded(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let is_plain = codings.all(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"));
    if is_plain { Ok(()) } else { Err(ApiError::EncodedBody) }
}

/// Whether the body is said to be JSON, in UTF-8 if a charset is named (RFC 8259 § 8.1 knows no other).
fn is_json(headers: &HeaderMap) -> bool {
    is_of_type(headers, "application/json")
}

fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let Ok(line) = line.to_str() else { return false };
    let mut parts = line.split(';').map(str::trim);
    let is_wanted = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(wanted));
    is_wanted
        && parts.all(|parameter| {
            let charset = parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
            charset.is_none_or(|(_, value)| value.trim_matches('"').eq_ignore_ascii_case("utf-8"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_utf_8_is_json_and_nothing_else_is() {
        for kind in [
            "application/json",
            "Application/JSON",
            "application/json; charset=\"UTF-8\"",
            "application/json;",
        ] {
            assert!(verdict(&[kind]), "{kind}");
        }
        for kinds in
            [&["text/plain"] as &[_], &["application/jsonx"], &["application/json; charset=utf-16"], &[]]
        {
            assert!(!verdict(kinds), "{kinds:?}");
        }
        assert!(!verdict(&["application/json", "text/plain"]));
    }

    fn verdict(kinds: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for kind in kinds {
            headers.append(CONTENT_TYPE, kind.parse().unwrap());
        }
        is_json(&headers)
    }
}
