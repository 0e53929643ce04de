//! Everything that can go wrong with a request, where it came from, and the response that tells it.

use std::fmt::Display;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Response, StatusCode};

use super::upstream::{ResponseBody, RouteError, UpstreamError};
use super::validate::Rejection;
use crate::body::CollectError;
use crate::login::assertion::AssertionError;
use crate::login::hub_oauth::HubOAuthError;
use crate::pages::{Format, Page, Pages};

/// Where an error comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Downstream,
    /// The hub, or a server of a user.
    Upstream,
    /// hublatch itself, its limits or its configuration.
    Internal,
}

impl Side {
    /// The same in one word, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
            Self::Internal => "internal",
        }
    }
}

/// What becomes of a request: a response, the hub's or ours, or why there is none yet.
pub type ProxyResponse = Result<Response<ResponseBody>, ProxyError>;

/// Why a request is not answered by the hub.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Downstream: the request is malformed or not allowed.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Downstream: a body that must be held whole cannot be.
    #[error(transparent)]
    Body(#[from] CollectError),
    /// Upstream: no response.
    #[error("{error}")]
    Upstream {
        /// Why.
        #[source]
        error: UpstreamError,
        /// Of which server; empty: of the hub, or it is not known.
        server: Box<str>,
    },
    /// Upstream: it switched to a protocol that was not asked for.
    #[error("the upstream switched protocols unasked")]
    UnaskedUpgrade {
        /// Which server; empty: the hub.
        server: Box<str>,
    },
    /// Downstream: the client has all that one client may have.
    #[error("the client has too much at once (limits.{0})")]
    OverShare(&'static str),
    /// Upstream: the routing table has none for the request.
    #[error(transparent)]
    Unrouted(#[from] RouteError),
    /// Internal: there are as many tunnels as there may be.
    #[error("there are too many tunnels ({limit})")]
    TooManyTunnels {
        /// The key of the limit.
        limit: &'static str,
        /// To which server; empty: in all.
        server: Box<str>,
    },
    /// Internal: the proof to the hub cannot be made.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// Internal: the code by which the hub learns of its user cannot be made.
    #[error(transparent)]
    HubOAuth(#[from] HubOAuthError),
    /// Internal: a part of the outgoing request cannot be put together.
    #[error("put the outgoing request together: {0}")]
    Assembly(#[from] hyper::http::Error),
}

impl From<UpstreamError> for ProxyError {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::RequestStalled => Self::Body(CollectError::Stalled),
            UpstreamError::RequestBroken(error) => Self::Body(CollectError::Broken(error.into())),
            UpstreamError::Connect { .. }
            | UpstreamError::Exchange(_)
            | UpstreamError::Interim(_)
            | UpstreamError::Unsent
            | UpstreamError::TaskLost(_)
            | UpstreamError::Busy
            | UpstreamError::NoHub
            | UpstreamError::Timeout => Self::Upstream { error, server: Box::default() },
        }
    }
}

/// On whose side the fault of `error` is.
fn side_of(error: &UpstreamError) -> Side {
    match error {
        UpstreamError::RequestStalled | UpstreamError::RequestBroken(_) => Side::Downstream,
        UpstreamError::Busy | UpstreamError::TaskLost(_) => Side::Internal,
        UpstreamError::Connect { .. }
        | UpstreamError::Exchange(_)
        | UpstreamError::Interim(_)
        | UpstreamError::Unsent
        | UpstreamError::NoHub
        | UpstreamError::Timeout => Side::Upstream,
    }
}

impl ProxyError {
    /// `error`, of a server at `address`.
    pub fn of_server(error: UpstreamError, address: impl Display) -> Self {
        let mut failure = Self::from(error);
        if let Self::Upstream { server, .. } = &mut failure {
            *server = address.to_string().into();
        }
        failure
    }

    /// Of which server it tells; empty where that is the hub, or not known.
    pub fn server(&self) -> &str {
        match self {
            Self::Upstream { error: UpstreamError::Connect { address, .. }, .. } => address,
            Self::Upstream { server, .. }
            | Self::UnaskedUpgrade { server }
            | Self::TooManyTunnels { server, .. } => server,
            Self::Rejected(_)
            | Self::Body(_)
            | Self::OverShare(_)
            | Self::Unrouted(_)
            | Self::Assertion(_)
            | Self::HubOAuth(_)
            | Self::Assembly(_) => "",
        }
    }

    /// On whose side the fault is.
    pub fn side(&self) -> Side {
        match self {
            Self::Rejected(_)
            | Self::Body(_)
            | Self::OverShare(_)
            | Self::Unrouted(RouteError::BadEscape(_)) => Side::Downstream,
            Self::Upstream { error, .. } => side_of(error),
            Self::TooManyTunnels { .. } | Self::Assertion(_) | Self::HubOAuth(_) | Self::Assembly(_) => {
                Side::Internal
            }
            Self::Unrouted(RouteError::NoRoute | RouteError::BadTarget) | Self::UnaskedUpgrade { .. } => {
                Side::Upstream
            }
        }
    }

    /// Whether the connection must be closed after the response: the rest of its request was not read, or cannot be told from
    /// the next one.
    fn closes(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::Body(_) => true,
            Self::Upstream { .. }
            | Self::OverShare(_)
            | Self::Unrouted(_)
            | Self::UnaskedUpgrade { .. }
            | Self::TooManyTunnels { .. }
            | Self::Assertion(_)
            | Self::HubOAuth(_)
            | Self::Assembly(_) => false,
        }
    }

    /// Whether there was nobody to answer: with which status that is told where a routing table says who should.
    pub fn finds_nobody(&self) -> Option<StatusCode> {
        match self {
            Self::Unrouted(RouteError::NoRoute) => Some(StatusCode::NOT_FOUND),
            Self::Unrouted(RouteError::BadTarget) => Some(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Upstream { error, .. } if !matches!(error, UpstreamError::NoHub) => {
                (side_of(error) == Side::Upstream).then_some(StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Upstream { .. }
            | Self::OverShare(_)
            | Self::Unrouted(RouteError::BadEscape(_))
            | Self::Rejected(_)
            | Self::Body(_)
            | Self::UnaskedUpgrade { .. }
            | Self::TooManyTunnels { .. }
            | Self::Assertion(_)
            | Self::HubOAuth(_)
            | Self::Assembly(_) => None,
        }
    }

    /// The response to the client.
    pub fn response(&self, pages: &Pages, format: Format) -> Response<ResponseBody> {
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
            Self::Body(CollectError::Stalled)
            | Self::Upstream { error: UpstreamError::RequestStalled, .. } => Page::Rejected {
                status: StatusCode::REQUEST_TIMEOUT,
                code: "body_stalled",
                message: "Nothing of the body of this request came for too long.",
            },
            Self::Body(CollectError::Broken(_))
            | Self::Upstream { error: UpstreamError::RequestBroken(_), .. } => Page::Rejected {
                status: StatusCode::BAD_REQUEST,
                code: "body_incomplete",
                message: "The body of this request broke off.",
            },
            Self::TooManyTunnels { .. }
            | Self::OverShare(_)
            | Self::Body(CollectError::NoRoom)
            | Self::Upstream { error: UpstreamError::Busy, .. } => Page::Unavailable,
            Self::Upstream { error: UpstreamError::NoHub, .. } => Page::HubDown { retries: false },
            Self::Unrouted(RouteError::NoRoute) => Page::NotFound,
            Self::Unrouted(RouteError::BadEscape(_)) => Page::Rejected {
                status: Rejection::Path.status(),
                code: Rejection::Path.code(),
                message: Rejection::Path.message(),
            },
            Self::Upstream { error: UpstreamError::Timeout, .. } => Page::GatewayTimeout,
            Self::Upstream {
                error:
                    UpstreamError::Connect { .. }
                    | UpstreamError::Exchange(_)
                    | UpstreamError::Interim(_)
                    | UpstreamError::Unsent
                    | UpstreamError::TaskLost(_),
                ..
            }
            | Self::UnaskedUpgrade { .. }
            | Self::Unrouted(RouteError::BadTarget)
            | Self::Assertion(_)
            | Self::HubOAuth(_)
            | Self::Assembly(_) => Page::BadGateway,
        };
        let mut response = pages.response(&page, format).map(ResponseBody::Whole);
        if self.closes() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Language, load_str};

    const CONFIG: &str = "public.url = \"http://127.0.0.1:8000\"\nhub.url = \"http://127.0.0.1:8400\"\n[[apps]]\n\
                          name = \"portal\"\nkeys = [\"sha256:6f2c1a5e7b9d3f8046c2e1a9b8d7f6053142536475869708192a3b4c5d6e7f80\"]";

    /// The one after `rejection`, so that none is forgotten; none after the last.
    fn next(rejection: Rejection) -> Option<Rejection> {
        match rejection {
            Rejection::Method => Some(Rejection::Host),
            Rejection::Host => Some(Rejection::Authority),
            Rejection::Authority => Some(Rejection::Form),
            Rejection::Form => Some(Rejection::Path),
            Rejection::Path => Some(Rejection::TokenInPath),
            Rejection::TokenInPath => Some(Rejection::EscapedLink),
            Rejection::EscapedLink => Some(Rejection::LoginQuery),
            Rejection::LoginQuery => Some(Rejection::Next),
            Rejection::Next => Some(Rejection::NotANavigation),
            Rejection::NotANavigation => Some(Rejection::LoginUpgrade),
            Rejection::LoginUpgrade => Some(Rejection::LoginForm),
            Rejection::LoginForm => Some(Rejection::Misdirected),
            Rejection::Misdirected => Some(Rejection::TooManyCookies),
            Rejection::TooManyCookies => Some(Rejection::Framing),
            Rejection::Framing => None,
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said_in_the_language_of_its_reader() {
        let config = load_str(CONFIG, std::path::Path::new("hublatch.toml"), []).expect("valid");
        let pages = Pages::new(&config).expect("ours");
        let rejections = std::iter::successors(Some(Rejection::Method), |last| next(*last));
        let bodies = [
            CollectError::TooLarge { limit: 1 },
            CollectError::Stalled,
            CollectError::Broken(Box::new(std::io::Error::other("gone"))),
        ];
        let errors = rejections.map(ProxyError::from).chain(bodies.map(ProxyError::from));
        let mut count = 0;
        for error in errors {
            let [english, german, french] = [Language::English, Language::German, Language::French]
                .map(|language| detail(error.response(&pages, Format::Html(language))));
            assert!(english != german && english != french && german != french, "{error}: {german}");
            count += 1;
        }
        assert_eq!(count, 18);
    }

    fn detail(response: Response<ResponseBody>) -> String {
        let ResponseBody::Whole(page) = response.into_body() else { panic!("a page is whole") };
        let page = String::from_utf8(page.to_vec()).expect("UTF-8");
        let (_, rest) = page
            .split_once("<p class=\"detail\" dir=\"auto\">")
            .unwrap_or_else(|| panic!("no sentence in {page}"));
        rest.split_once("</p>").expect("its end").0.to_owned()
    }
}
