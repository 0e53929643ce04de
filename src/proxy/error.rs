//! Everything that can go wrong with a request, where it came from, and the answer that tells it.

use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Response, StatusCode};

use super::target::Rejection;
use super::upstream::{ResponseBody, UpstreamError};
use crate::body::CollectError;
use crate::login::assertion::AssertionError;
use crate::pages::{Format, Page, Pages};

/// Why a request is not answered by the hub.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Downstream: the request is malformed or not allowed.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Downstream: a body that must be held whole cannot be.
    #[error(transparent)]
    Body(#[from] CollectError),
    /// Upstream: no answer of the hub.
    #[error(transparent)]
    Upstream(UpstreamError),
    /// Upstream: it switched to a protocol that was not asked for.
    #[error("the upstream switched protocols unasked")]
    UnaskedUpgrade,
    /// Internal: the proof to the hub cannot be made.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// Internal: a part of the outgoing request cannot be put together.
    #[error("put the outgoing request together: {0}")]
    Assembly(#[from] hyper::http::Error),
}

impl From<UpstreamError> for ProxyError {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::RequestStalled => Self::Body(CollectError::Stalled),
            UpstreamError::Connect { .. } | UpstreamError::Exchange(_) | UpstreamError::Timeout => {
                Self::Upstream(error)
            }
        }
    }
}

impl ProxyError {
    /// Whether the connection can carry another request.
    fn closes(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::Body(_) => true,
            Self::Upstream(_) | Self::UnaskedUpgrade | Self::Assertion(_) | Self::Assembly(_) => false,
        }
    }

    /// The answer to the client.
    pub fn answer(&self, pages: &Pages, format: Format) -> Response<ResponseBody> {
        let page = match self {
            Self::Rejected(rejection) => Page::Rejected {
                status: rejection.status(),
                code: rejection.code(),
                message: rejection.message(),
            },
            Self::Body(CollectError::TooLarge { .. }) => Page::Rejected {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                code: "body_too_large",
                message: "The body of this request is too large.",
            },
            Self::Body(CollectError::Stalled) | Self::Upstream(UpstreamError::RequestStalled) => {
                Page::Rejected {
                    status: StatusCode::REQUEST_TIMEOUT,
                    code: "body_stalled",
                    message: "Nothing of the body of this request came for too long.",
                }
            }
            Self::Body(CollectError::Broken(_)) => Page::Rejected {
                status: StatusCode::BAD_REQUEST,
                code: "body_incomplete",
                message: "The body of this request broke off.",
            },
            Self::Upstream(UpstreamError::Timeout) => Page::GatewayTimeout,
            Self::Upstream(UpstreamError::Connect { .. } | UpstreamError::Exchange(_))
            | Self::UnaskedUpgrade
            | Self::Assertion(_)
            | Self::Assembly(_) => Page::BadGateway,
        };
        let mut answer = pages.answer(&page, format).map(ResponseBody::Whole);
        if self.closes() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}
