//! A request's body, as JSON or as a form: its type, its size, its time, its members.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Frame, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

use super::error::{ApiError, FaultPlace};
use super::json::{self, Members};
use super::member_error::{MemberError, MemberFault};
use super::state::ApiState;

/// The largest body of an ordinary call.
pub(super) const SMALL_BYTES_MAX: usize = 64 * 1024;
/// The largest body of a batch.
pub(super) const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How much of a body that nobody wants is read all the same.
const DISCARDED_BYTES_MAX: usize = 4 * BATCH_BYTES_MAX;
/// How long.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// A body that is a JSON object, of at most so many bytes.
#[derive(Debug)]
pub(super) struct JsonBody<const BYTES_MAX: usize = SMALL_BYTES_MAX> {
    /// Its members.
    pub(super) members: Members,
    /// The SHA-256 of its bytes, by which a repeated request is known.
    pub(super) digest: [u8; 32],
}

impl<const BYTES_MAX: usize> FromRequest<Arc<ApiState>> for JsonBody<BYTES_MAX> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<ApiState>) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::NotJson);
        }
        refuse_encoded(request.headers())?;
        let bytes = whole(request.into_body(), BYTES_MAX, api.body_timeout).await?;
        let members = json::object(&bytes)?;
        let mut sum = [0; 32];
        sum.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        Ok(Self { members, digest: sum })
    }
}

impl JsonBody {
    /// The text `token` of a body that holds nothing else.
    pub(super) fn token(mut self) -> Result<String, ApiError> {
        let at_body = |error| ApiError::member(FaultPlace::Body, error);
        let text = self.members.text("token").map_err(at_body)?;
        let text = text.ok_or_else(|| at_body(MemberError::new("token", MemberFault::Missing)))?;
        self.members.end().map_err(at_body)?;
        Ok(text)
    }
}

/// The bytes of `request`'s body, which must be a form.
pub(super) async fn form(request: Request, api: &ApiState) -> Result<Bytes, ApiError> {
    // A secret in an address ends in somebody's log.
    if request.uri().query().is_some() || !is_of_type(request.headers(), "application/x-www-form-urlencoded")
    {
        return Err(ApiError::NotForm);
    }
    refuse_encoded(request.headers())?;
    whole(request.into_body(), SMALL_BYTES_MAX, api.body_timeout).await
}

async fn whole(body: Body, bytes_max: usize, limit: Duration) -> Result<Bytes, ApiError> {
    let too_large = ApiError::BodyTooLarge { bytes_max };
    // A declared length is judged before the first byte is asked for.
    if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        return Err(too_large);
    }
    match tokio::time::timeout(limit, Limited::new(body, bytes_max).collect()).await {
        Err(_elapsed) => Err(ApiError::BodyTimeout),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(error)) => Err(ApiError::BodyBroken(error)),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// A body on loan to whoever takes the request: dropped, it is where [`Unread`] finds it.
struct LentBody {
    body: Option<Body>,
    home: Arc<Mutex<Option<Body>>>,
}

/// What is left of a lent body.
pub(super) struct Unread(Arc<Mutex<Option<Body>>>);

/// `body`, and what will be left of it.
pub(super) fn lend(body: Body) -> (Body, Unread) {
    let home = Arc::new(Mutex::new(None));
    let lent = LentBody { body: Some(body), home: Arc::clone(&home) };
    (Body::new(lent), Unread(home))
}

impl Drop for LentBody {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
    }
}

impl HttpBody for LentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Unread {
    /// Reads what is left and forgets it, within bounds. Many clients send all of a request before they look for the
    /// response; if the connection were closed on them, they would see a broken pipe in place of 413 (RFC 9112 § 9.6).
    pub(super) async fn discard(self, limit: Duration) {
        let Some(mut body) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if body.is_end_stream() {
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
