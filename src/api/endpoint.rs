//! An endpoint of the management API: what calls it, what answers, what the document says of it, and what is told of its calls.
//!
//! Knows nothing of the endpoints themselves: each is a file in `endpoints/`.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use hyper::{Method, StatusCode};

use super::document::Documentation;
use super::state::ApiState;

/// What calls an endpoint.
#[derive(Debug)]
pub struct ApiRoute {
    /// The method; `GET` stands for `HEAD` too.
    pub method: Method,
    /// The path; a segment in braces stands for any one segment.
    pub path: &'static str,
    pub(super) kind: CallKind,
}

/// Whose calls an endpoint takes; it decides what is told of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallKind {
    /// Of apps, by their key: refusals are in the audit.
    Keyed,
    /// The same in OAuth's words, where 400 is an answer.
    OAuth,
    /// Of anybody who has a token, or wants to read: refusals of tokens are told where tokens are judged.
    Open,
    /// Of probes and scrapers, which come every few seconds and are nobody's call.
    Probe,
}

impl CallKind {
    /// Whether a refusal belongs into the audit: that of a call which needs a key. What is not there, or was done before,
    /// is an answer.
    pub(super) fn audits(self, status: StatusCode) -> bool {
        let is_answer = matches!(
            status,
            StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::CONFLICT
                | StatusCode::REQUEST_TIMEOUT
        );
        let needs_key = match self {
            Self::Keyed => true,
            Self::OAuth => status != StatusCode::BAD_REQUEST,
            Self::Open | Self::Probe => false,
        };
        needs_key && !is_answer
    }
}

/// One endpoint.
pub(super) struct Endpoint {
    pub(super) route: ApiRoute,
    pub(super) handler: MethodRouter<Arc<ApiState>>,
    /// What the document says of it.
    pub(super) documentation: fn() -> Documentation,
}

impl Endpoint {
    /// What answers `GET`, and `HEAD` without the body.
    pub(super) fn get<H, T>(
        path: &'static str,
        kind: CallKind,
        handler: H,
        documentation: fn() -> Documentation,
    ) -> Self
    where
        H: Handler<T, Arc<ApiState>>,
        T: 'static,
    {
        let route = ApiRoute { method: Method::GET, path, kind };
        Self { route, handler: routing::get(handler), documentation }
    }

    /// What answers `POST`.
    pub(super) fn post<H, T>(
        path: &'static str,
        kind: CallKind,
        handler: H,
        documentation: fn() -> Documentation,
    ) -> Self
    where
        H: Handler<T, Arc<ApiState>>,
        T: 'static,
    {
        let route = ApiRoute { method: Method::POST, path, kind };
        Self { route, handler: routing::post(handler), documentation }
    }

    /// What answers `DELETE`.
    pub(super) fn delete<H, T>(
        path: &'static str,
        kind: CallKind,
        handler: H,
        documentation: fn() -> Documentation,
    ) -> Self
    where
        H: Handler<T, Arc<ApiState>>,
        T: 'static,
    {
        let route = ApiRoute { method: Method::DELETE, path, kind };
        Self { route, handler: routing::delete(handler), documentation }
    }
}
