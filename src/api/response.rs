//! A response of the management API: whole, or piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::body::{PieceError, Pieces};

/// A response of the API that is there as a whole.
pub type ApiResponse = Response<Full<Bytes>>;

/// The body of any response.
#[derive(Debug)]
pub enum ApiBody {
    /// There as a whole.
    Whole(Full<Bytes>),
    /// Events, as they happen.
    Pieces(Pieces),
}

impl From<Bytes> for ApiBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl Body for ApiBody {
    type Data = Bytes;
    type Error = PieceError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PieceError>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx).map_err(|never| match never {}),
            Self::Pieces(pieces) => Pin::new(pieces).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Pieces(pieces) => pieces.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Pieces(pieces) => pieces.size_hint(),
        }
    }
}

pub(super) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> ApiResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response with `value` as JSON. A value that cannot be written becomes 500; ours all can.
pub(super) fn json_response(status: StatusCode, value: &impl Serialize) -> ApiResponse {
    match serde_json::to_vec(value) {
        Ok(json) => response(status, "application/json", json),
        Err(error) => {
            tracing::error!(%error, "write an answer as JSON");
            response(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}")
        }
    }
}

/// The same head, with the length that the body would have (RFC 9110 § 9.3.2).
pub(super) fn without_body(response: Response<ApiBody>) -> Response<ApiBody> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, ApiBody::from(Bytes::new()))
}

pub(super) fn allow(response: &mut ApiResponse, methods: &str) {
    if let Ok(value) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(ALLOW, value);
    }
}
